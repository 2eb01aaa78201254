//! What goes wrong, and under which code.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use targets::{
    http::CallError,
    image::{build::Changes, registry::Access},
};
use tests::{guard::free_port, registry::Registry, scratch::Scratch};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{LARGE, Unpacked, access, base_image, image, layer, noise, push};

/// Passes connections on to a port. Of the first `cuts` ones on which more than `most` bytes are sent, no more is passed on: both sides are closed.
async fn cutting(port: u16, most: usize, cuts: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let left = Arc::new(AtomicUsize::new(cuts));
    let count = Arc::clone(&left);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((mut asks, mut hears), (mut says, mut takes)) = (client.into_split(), server.into_split());
                let back = tokio::spawn(async move {
                    drop(tokio::io::copy(&mut says, &mut hears).await);
                });
                let (mut piece, mut passed) = (vec![0; 64 << 10], 0);
                while let Ok(read) = asks.read(&mut piece).await
                    && read > 0
                {
                    passed += read;
                    let cut = |left: usize| left.checked_sub(1);
                    if passed > most && count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut).is_ok() {
                        break;
                    }
                    if takes.write_all(&piece[..read]).await.is_err() {
                        break;
                    }
                }
                drop(takes);
                back.abort();
            });
        }
    });
    (own, left)
}

#[tokio::test]
async fn an_upload_goes_on_where_it_broke_off() {
    let (registry, scratch) = (Registry::launch(false).await, Scratch::new("images"));
    let filler = noise(LARGE, 6);
    registry.skopeo(&base_image(&scratch, &filler), &format!("docker://{}/base:1", registry.host()));
    // Two uploads break off in their parts, one of the small ones in the middle of its piece.
    for (most, size) in [(3 << 20, LARGE), (30_000, 100_000)] {
        let (port, left) = cutting(registry.port(), most, 2).await;
        let mut target = image(&registry, "x");
        target.reference = format!("127.0.0.1:{port}/cut/s{size}").parse().unwrap();
        let package = noise(size, 7);
        let layers = [layer(package.clone(), &scratch).await];
        let before = registry.requests().len();
        let pushed = push(&image(&registry, "base:1"), &target, &layers, &Changes::default()).await.unwrap();
        assert_eq!(left.load(Ordering::SeqCst), 0, "both cuts were made");
        let requests = registry.requests().split_off(before);
        let looks = requests.iter().filter(|line| line.starts_with("GET /v2/cut/") && line.contains("/blobs/uploads/"));
        assert!(looks.count() >= 1, "{requests:?}");
        let fresh = Scratch::new("unpacked");
        let reference = format!("{}/cut/s{size}@{}", registry.host(), pushed.digest);
        let unpacked = Unpacked::of(&registry, &reference, &fresh);
        assert!(unpacked.read("/opt/slipway/service/v1.zip") == package);
        assert!(unpacked.read("/opt/node/filler") == filler);
    }
}

#[tokio::test]
async fn each_trouble_has_its_code() {
    let (plain, tls) = (Registry::launch(false).await, Registry::launch(true).await);
    let scratch = Scratch::new("images");
    plain.skopeo(&base_image(&scratch, b"small"), &format!("docker://{}/base:1", plain.host()));
    let layers = [layer(noise(10, 8), &scratch).await];
    let base = image(&plain, "base:1");
    let wrong = |mut access: Access| {
        access.login.as_mut().unwrap().password = "another-password".to_owned().into();
        access
    };
    let (mut stranger, mut nobody, mut untrusted, mut away, mut other, mut http_to_https) =
        (base.clone(), base.clone(), image(&tls, "x"), base.clone(), base.clone(), image(&tls, "x"));
    stranger.access = wrong(access(&plain));
    nobody.access.login = None;
    untrusted.access.authorities = None;
    away.reference = format!("127.0.0.1:{}/x", free_port()).parse().unwrap();
    other.reference = format!("{}/nothing:1", plain.host()).parse().unwrap();
    http_to_https.access.plain_http = true;
    let mut metadata = base.clone();
    metadata.reference = "169.254.169.254/x/y:1".parse().unwrap();
    for (base, target, code, again) in [
        (&stranger, &image(&plain, "t"), "REGISTRY_KEY_REJECTED", false),
        (&nobody, &image(&plain, "t"), "REGISTRY_KEY_REJECTED", false),
        (&base, &untrusted, "REGISTRY_TLS_FAILED", false),
        (&away, &image(&plain, "t"), "REGISTRY_UNREACHABLE", true),
        (&base, &away, "REGISTRY_UNREACHABLE", true),
        (&other, &image(&plain, "t"), "IMAGE_BASE_NOT_FOUND", false),
        (&metadata, &image(&plain, "t"), "REGISTRY_ADDRESS_FORBIDDEN", false),
        (&base, &http_to_https, "REGISTRY_REFUSED", false),
    ] {
        let error: CallError = push(base, target, &layers, &Changes::default()).await.unwrap_err();
        assert_eq!((error.failure.code.as_str(), error.retryable), (code, again), "{error:?}");
        assert!(!format!("{error:?}").contains("another-password"));
    }
}
