//! The admin API, call by call.

use super::client::{ADMIN, builder, read, scene};
use reqwest::{Method, StatusCode};
use sandbox::{KeyKind, ServiceSpec};
use serde_json::{Value, json};

const S: &str = "/admin/api/services/fraud";

#[tokio::test]
async fn a_service_from_nothing_to_answering_and_back() {
    let scene = scene().await;
    let client = &scene.client;
    assert_eq!(client.get("/admin/api/services").await, json!([]));
    assert_eq!(client.post("/admin/api/services/", Some(&json!({"serviceId": "fraud"}))).await, json!({"ok": true}));
    assert_eq!(client.get("/admin/api/services").await, json!([{"serviceId": "fraud", "enabled": false}]));
    let (status, error) = client.send(Method::POST, "/admin/api/services/", Some(&json!({"serviceId": "fraud"}))).await;
    assert_eq!((status, &error["errorType"]), (StatusCode::BAD_REQUEST, &json!("IllegalArgumentException")));

    for generation in ["v1", "v2"] {
        scene.import(&ServiceSpec::new("fraud", generation)).await;
    }
    let listed = client.get(&format!("{S}/generations")).await;
    let of = |field: &str| {
        let all = listed["generations"].as_array().unwrap().iter();
        Value::Array(all.map(|one| one[field].clone()).collect())
    };
    assert_eq!(of("generation"), json!(["v1", "v2"]));
    assert_eq!((of("active"), of("preloaded")), (json!([false, false]), json!([false, false])));
    let features = json!({"features": {"amount": 2}});
    assert_eq!(client.query("fraud/score/predict", &features).await.0, StatusCode::NOT_FOUND, "available, not active");
    assert_eq!(client.send(Method::POST, &format!("{S}/actions/enable"), None).await.0, StatusCode::BAD_REQUEST);

    assert_eq!(client.post(&format!("{S}/generations/v1/preload"), None).await, "");
    assert_eq!(client.post(&format!("{S}/actions/switchTo/v1"), None).await, "");
    assert_eq!(client.get("/admin/api/services").await, json!([{"serviceId": "fraud", "enabled": true}]));
    assert_eq!(client.query("fraud/score/predict", &features).await.1["result"]["generation"], "v1");
    assert_eq!(client.post(&format!("{S}/actions/switchToNewest"), None).await["generation"], "v2");
    assert_eq!(client.query("fraud/score/predict", &features).await.1["apiContext"]["serviceGeneration"], "v2");

    client.post(&format!("{S}/actions/disable"), None).await;
    assert_eq!(client.query("fraud/score/predict", &features).await.0, StatusCode::NOT_FOUND);
    client.post(&format!("{S}/actions/enable"), None).await;
    assert_eq!(client.query("fraud/score/predict", &features).await.0, StatusCode::OK);

    let metrics = client.get("/admin/api/metrics").await;
    assert_eq!(metrics["services"]["fraud"]["endpoints"]["score"], json!({"answered": 3, "refused": 0}));
    let end = scene.node.snapshot()["services"]["fraud"].clone();
    assert_eq!(end["mapping"], json!([{"generation": "v2", "proba": 1.0}]));
    assert_eq!(end["generations"][0]["preloaded"], true);
    assert_eq!(scene.node.snapshot()["codeEnvs"], json!({"py_sample": "python"}), "preloading makes it");

    client.send(Method::DELETE, S, None).await;
    assert_eq!(client.get("/admin/api/services").await, json!([]));
    assert_eq!(client.query("fraud/score/predict", &features).await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.send(Method::DELETE, S, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn mappings_that_make_no_sense_change_nothing() {
    let scene = scene().await;
    scene.serve(&[ServiceSpec::new("fraud", "v1"), ServiceSpec::new("fraud", "v2")]).await;
    let call = format!("{S}/actions/setMapping");
    let entry = |generation: &str, proba: Value| json!({"generation": generation, "proba": proba});
    for (entries, wanted, says) in [
        (json!([]), 400, "entries is empty"),
        (json!({}), 400, "entries is no list"),
        (json!([entry("v1", json!(0.5))]), 400, "sum to 0.5"),
        (json!([entry("v1", json!(0.5)), entry("v1", json!(0.5))]), 400, "v1 twice"),
        (json!([entry("v1", json!(1.5)), entry("v2", json!(-0.5))]), 400, "proba is not from 0 to 1"),
        (json!([entry("v1", json!("1"))]), 400, "proba is no number"),
        (json!([{"proba": 1}]), 400, "entries[].generation is needed"),
        (json!([entry("v9", json!(1))]), 404, "no generation v9"),
    ] {
        let (status, error) = scene.client.send(Method::POST, &call, Some(&json!({"entries": entries}))).await;
        assert_eq!(status.as_u16(), wanted, "{entries}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{entries}: {error}");
    }
    // The client sends no body at all when the mapping is empty.
    assert_eq!(scene.client.send(Method::POST, &call, None).await.0, StatusCode::BAD_REQUEST);
    let mapping = &scene.node.snapshot()["services"]["fraud"]["mapping"];
    assert_eq!(mapping, &json!([{"generation": "v2", "proba": 1.0}]));
    let thirds = json!([entry("v1", json!(0.333)), entry("v2", json!(0.667))]);
    scene.client.post(&call, Some(&json!({"entries": thirds}))).await;
    for call in ["actions/switchTo/v9", "generations/v9/preload"] {
        assert_eq!(scene.client.send(Method::POST, &format!("{S}/{call}"), None).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn keys_are_made_shown_once_and_deleted() {
    let scene = scene().await;
    let client = &scene.client;
    let made = client.post("/admin/api/keys", Some(&json!({"label": "ci", "description": null, "expiry": null}))).await;
    let secret = made["key"].as_str().unwrap().to_owned();
    let other = client.with_key(Some(&secret));
    let listed = other.get("/admin/api/keys").await;
    assert_eq!(listed[1]["label"], "ci");
    assert!(!listed.to_string().contains(&secret) && !listed.to_string().contains(ADMIN));
    assert_eq!(client.send(Method::DELETE, &format!("/admin/api/keys/{secret}"), None).await.0, StatusCode::OK);
    assert_eq!(other.send(Method::GET, "/admin/api/keys", None).await.0, StatusCode::UNAUTHORIZED);

    let past = client.post("/admin/api/keys", Some(&json!({"label": "old", "expiry": 1}))).await;
    let expired = client.with_key(past["key"].as_str());
    assert_eq!(expired.send(Method::GET, "/admin/api/keys", None).await.0, StatusCode::UNAUTHORIZED);
    let by_id = format!("/admin/api/keys/{}/key", past["id"].as_str().unwrap());
    assert_eq!(client.send(Method::DELETE, &by_id, None).await.0, StatusCode::OK);
    assert_eq!(client.send(Method::DELETE, &by_id, None).await.0, StatusCode::NOT_FOUND);

    let bearer = client.with_key(None).request(Method::GET, "/admin/api/keys").bearer_auth(ADMIN);
    assert_eq!(read(bearer).await.0, StatusCode::UNAUTHORIZED, "the admin API takes keys as basic authentication");
    assert_eq!(client.with_key(None).send(Method::GET, "/admin/api/services", None).await.0, StatusCode::UNAUTHORIZED);
    let log = serde_json::to_string(&scene.node.calls()).unwrap();
    scene.node.revoke_key(ADMIN);
    assert_eq!(client.send(Method::GET, "/admin/api/services", None).await.0, StatusCode::UNAUTHORIZED);
    assert!(!log.contains(&secret) && !log.contains(ADMIN), "{log}");
    assert_eq!(scene.node.calls()[0].key, KeyKind::Admin);
}

#[tokio::test]
async fn caches_and_cleaning_up() {
    let scene = scene().await;
    let client = &scene.client;
    scene.serve(&[ServiceSpec::new("fraud", "v1"), ServiceSpec::new("fraud", "v2")]).await;
    scene.import(&ServiceSpec::new("idle", "v1")).await;
    client.post(&format!("{S}/generations/v2/preload"), None).await;
    let env = scene.folder.path().join("py_old");
    std::fs::create_dir(&env).unwrap();
    let with = |call: &str, pairs: &[(&str, &str)]| read(client.request(Method::POST, call).query(pairs));
    let (folder, here) = (env.to_str().unwrap(), scene.folder.path().to_str().unwrap());
    let cached = "/admin/api/cached-code-envs";
    assert_eq!(with(cached, &[("fileDir", folder), ("language", "python")]).await.1["codeEnv"], "py_old");
    assert_eq!(with(cached, &[("fileDir", folder), ("language", "cobol")]).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(with(cached, &[("fileDir", "/etc"), ("language", "R")]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(with(cached, &[("language", "R")]).await.0, StatusCode::BAD_REQUEST);
    let both = [("exportedEnvDir", folder), ("builtEnvDir", here), ("language", "R")];
    assert_eq!(with("/admin/api/register-global-code-env", &both).await.0, StatusCode::OK);
    let (_, deleted) = client.send(Method::DELETE, cached, None).await;
    assert_eq!(deleted, json!({"deletedCodeEnvs": ["py_old"]}), "a generation uses py_sample");

    let model = scene.write("model.zip", b"anything");
    let kept = with("/admin/api/model-cache", &[("modelArchivePath", model.to_str().unwrap())]).await;
    assert_eq!(kept.0, StatusCode::OK, "{}", kept.1);
    assert_eq!(scene.node.snapshot()["models"].as_array().unwrap().len(), 1);
    client.send(Method::DELETE, "/admin/api/model-cache", None).await;
    assert_eq!(scene.node.snapshot()["models"], json!([]));

    let (_, cleaned) = client.send(Method::DELETE, "/admin/api/services-clean-unused", None).await;
    assert_eq!(cleaned["deletedServices"], json!(["idle"]), "it is disabled");
    assert_eq!(cleaned["deletedGenerations"], json!([{"serviceId": "fraud", "generation": "v1"}]));
    let (_, again) = client.send(Method::DELETE, "/admin/api/services-clean-unused", None).await;
    assert_eq!(again, json!({"deletedServices": [], "deletedGenerations": [], "deletedCodeEnvs": []}));
}

#[tokio::test]
async fn the_probe_and_what_is_no_call() {
    let scene = scene().await;
    let nobody = scene.client.with_key(None);
    for path in ["/isAlive/", "/isAlive"] {
        assert_eq!(nobody.send(Method::GET, path, None).await.0, StatusCode::OK);
    }
    scene.client.post("/sandbox/alive", Some(&json!({"alive": false}))).await;
    assert_eq!(nobody.send(Method::GET, "/isAlive/", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    scene.node.set_alive(true);
    assert_eq!(nobody.send(Method::GET, "/isAlive/", None).await.0, StatusCode::OK);
    assert_eq!(nobody.send(Method::POST, "/sandbox/alive", None).await.0, StatusCode::UNAUTHORIZED);

    for (method, path) in [(Method::GET, S.to_owned()), (Method::PUT, format!("{S}/actions/enable"))] {
        let (status, error) = scene.client.send(method, &path, None).await;
        assert_eq!((status, &error["errorType"]), (StatusCode::NOT_FOUND, &json!("NotFoundException")));
    }
    for id in ["a/b", "", "x?y", ".."] {
        let made = scene.client.send(Method::POST, "/admin/api/services/", Some(&json!({"serviceId": id}))).await;
        assert_eq!(made.0, StatusCode::BAD_REQUEST, "{id}");
    }
    let page = nobody.send(Method::GET, "/", None).await.1;
    assert!(page.as_str().unwrap().contains("practice API node"));
    let response = nobody.request(Method::GET, "/isAlive/").send().await.unwrap();
    assert_eq!(response.headers()["dss-version"], "14.2.0");
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(vec![1; 10]));
    let upload = scene.client.request(Method::POST, "/admin/api/services/").multipart(form);
    assert_eq!(read(upload).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(builder().packages("/nowhere/at/all").build().is_err());
}

#[tokio::test]
async fn a_stopped_node_comes_back_with_what_it_knew() {
    let scene = scene().await;
    scene.serve(&[ServiceSpec::new("fraud", "v1")]).await;
    let (before, addr) = (scene.node.snapshot(), scene.node.addr());
    let node = scene.node.stop().await;
    assert!(scene.client.request(Method::GET, "/isAlive/").send().await.is_err());
    let node = node.start(addr).await.unwrap();
    assert_eq!(node.snapshot(), before);
    assert_eq!(scene.client.get("/sandbox/state").await, before);
}
