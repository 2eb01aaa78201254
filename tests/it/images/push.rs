//! What is pushed is what was meant, and only what is missing is sent.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use targets::{
    http::{Http, HttpSettings},
    image::{build::Changes, contract::ServedDeployment, registry},
};
use tests::{
    registry::{PASSWORD, Registry, USER},
    scratch::Scratch,
};

use super::{LARGE, Unpacked, base_image, image, layer, noise, push};

fn changes() -> Changes {
    Changes {
        environment: [("ADDED".to_owned(), "1".to_owned())].into(),
        labels: [("io.slipway.deployment".to_owned(), "churn-prod".to_owned())].into(),
        around_command: Some((vec!["/front".to_owned()], vec![";".to_owned()])),
        ports: vec![8080],
    }
}

#[tokio::test]
async fn an_image_holds_base_and_service_and_is_sent_once() {
    let (registry, scratch) = (Registry::launch(false).await, Scratch::new("images"));
    registry.skopeo(&base_image(&scratch, &noise(50_000, 1)), &format!("docker://{}/base:1", registry.host()));
    let package = noise(LARGE, 2);
    let layers = [layer(package.clone(), &scratch).await];
    let (base, target) = (image(&registry, "base:1"), image(&registry, "team/churn"));
    let pushed = push(&base, &target, &layers, &changes()).await.unwrap();
    let sent = pushed.sent - layers[0].size;
    assert!(sent < 10_000, "beside the layer only the configuration was sent: {sent} bytes");

    let unpacked = Unpacked::of(&registry, &pushed.reference.to_string(), &scratch);
    assert!(unpacked.read("/opt/slipway/service/v1.zip") == package);
    let document = ServedDeployment::parse(&unpacked.read("/opt/slipway/service/deployment.json")).unwrap();
    assert_eq!(document, ServedDeployment::single("churn", "v1"));
    assert!(unpacked.read("/opt/node/filler") == noise(50_000, 1));
    let mode = std::fs::metadata(format!("{}/opt/slipway/service/v1.zip", unpacked.root)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(unpacked.words("args"), ["/front", "python3", "/opt/node/node.py", ";"]);
    let variables = unpacked.variables();
    assert_eq!((variables["KEPT"].as_str(), variables["ADDED"].as_str()), ("yes", "1"));
    assert_eq!(unpacked.process["user"]["uid"], 10_001);

    // Again, from the same parts made anew: nothing is sent.
    let before = registry.requests().len();
    let layers = [layer(package, &scratch).await];
    let again = push(&base, &target, &layers, &changes()).await.unwrap();
    assert_eq!((again.sent, &again.digest, &again.tag), (0, &pushed.digest, &pushed.tag));
    let requests = registry.requests().split_off(before);
    assert!(requests.iter().all(|line| line.starts_with("GET") || line.starts_with("HEAD")), "{requests:?}");
    // Under another name: the name alone. In another repository: all of it is taken over.
    for (name, own) in [("team/churn:live", 0), ("team/other", sent)] {
        let named = push(&base, &image(&registry, name), &layers, &changes()).await.unwrap();
        assert_eq!(&named.digest, &pushed.digest);
        assert!(named.sent == own || name == "team/other", "{name}: {}", named.sent);
    }
    let other = push(&base, &target, &layers, &Changes::default()).await.unwrap();
    assert!(other.digest != pushed.digest && other.sent < 10_000, "another configuration, no layer");

    let http = Http::new(HttpSettings::default()).unwrap();
    let client = registry::Registry::of(&http, &target.reference, target.access.clone()).unwrap();
    client.check().await.unwrap();
    assert_eq!(client.digest_of("live").await.unwrap().as_ref(), Some(&pushed.digest));
    for _ in 0..2 {
        client.delete(&pushed.digest).await.unwrap();
        assert_eq!(client.digest_of(pushed.digest.as_str()).await.unwrap(), None);
        assert_eq!(client.digest_of("live").await.unwrap(), None);
    }
    assert_eq!(client.digest_of(&other.tag).await.unwrap(), Some(other.digest));
}

#[tokio::test]
async fn a_base_image_of_another_registry_is_copied_over_tls() {
    let (from, to) = (Registry::launch(false).await, Registry::launch(true).await);
    let scratch = Scratch::new("images");
    let filler = noise(LARGE, 3);
    from.skopeo(&base_image(&scratch, &filler), &format!("docker://{}/bases/node:1", from.host()));
    let layers = [layer(noise(1_000, 4), &scratch).await];
    let target = image(&to, "team/churn:v1");
    let pushed = push(&image(&from, "bases/node:1"), &target, &layers, &Changes::default()).await.unwrap();
    assert_eq!((pushed.sent, pushed.tag.as_str()), (pushed.size, "v1"), "there was nothing");
    let unpacked = Unpacked::of(&to, &pushed.reference.to_string(), &scratch);
    assert!(unpacked.read("/opt/node/filler") == filler);
    assert!(unpacked.read("/opt/slipway/service/v1.zip") == noise(1_000, 4));
    let again = push(&image(&from, "bases/node:1"), &target, &layers, &Changes::default()).await.unwrap();
    assert_eq!(again.sent, 0);
}

#[tokio::test]
async fn the_wanted_platform_is_taken_from_an_index() {
    let (registry, scratch) = (Registry::launch(false).await, Scratch::new("images"));
    registry.skopeo(&base_image(&scratch, b"small"), &format!("docker://{}/base:amd64", registry.host()));
    let http = reqwest::Client::new();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let at = |name: &str| format!("http://{}/v2/base/manifests/{name}", registry.host());
    let asked = http.get(at("amd64")).header("accept", kind).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
    let digest = asked.headers()["docker-content-digest"].to_str().unwrap().to_owned();
    let size = asked.bytes().await.unwrap().len();
    let entry = |architecture: &str| json!({"mediaType": kind, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": architecture}});
    for (name, first, fine) in [("both", "arm64", true), ("lies", "s390x", false)] {
        let second = if fine { "amd64" } else { "riscv64" };
        let index = "application/vnd.oci.image.index.v1+json";
        let body = json!({"schemaVersion": 2, "mediaType": index, "manifests": [entry(first), entry(second)]});
        let put = http.put(at(name)).header("content-type", index).body(body.to_string());
        let put = put.basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.text().await.unwrap());
        let base = image(&registry, &format!("base:{name}"));
        let layers = [layer(noise(10, 5), &scratch).await];
        let pushed = push(&base, &image(&registry, "team/x"), &layers, &Changes::default()).await;
        match pushed {
            Ok(pushed) => {
                assert!(fine);
                let unpacked = Unpacked::of(&registry, &pushed.reference.to_string(), &scratch);
                assert_eq!(unpacked.read("/opt/node/filler"), b"small");
            }
            Err(error) => {
                assert!(!fine, "{error:?}");
                assert_eq!(error.failure.code.as_str(), "IMAGE_PLATFORM_MISSING");
                assert!(error.failure.message.contains("linux/s390x, linux/riscv64"), "{}", error.failure.message);
            }
        }
    }
}
