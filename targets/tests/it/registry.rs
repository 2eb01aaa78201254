//! Registries that lie: what they send, where they send us, what they want of us.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use targets::{
    http::{BlockList, CallError, Http, HttpSettings},
    image::{
        Digest, Platform,
        build::{Build, Changes, Image, Pushed},
        layer::{Content, LayerPlan, Mode},
        registry::{Access, Login},
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PASSWORD: &str = "pa55word";
const TOKEN: &str = "t0ken";

/// A request, as it came.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Asked {
    fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }

    fn key(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }
}

#[derive(Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The body goes on and on.
    endless: bool,
}

fn reply(status: u16, headers: &[(&'static str, &str)]) -> Reply {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Reply { status, headers, ..Reply::default() }
}

type Lie = dyn Fn(&Asked) -> Option<Reply> + Send + Sync;

/// A registry with one image; `lie` answers instead of it.
struct Registry {
    host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Registry {
    async fn start(lie: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, lie): (_, Arc<Lie>) = (Arc::clone(&asked), Arc::new(lie));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&seen), Arc::clone(&lie)));
            }
        });
        Self { host, asked }
    }

    fn image(&self, name: &str) -> Image {
        let login = Login { user: "user".to_owned(), password: PASSWORD.to_owned().into() };
        let access = Access { login: Some(login), plain_http: true, ..Access::default() };
        Image { reference: format!("{}/{name}", self.host).parse().unwrap(), access }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(stream: TcpStream, seen: Arc<Mutex<Vec<Asked>>>, lie: Arc<Lie>) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut first = lines[0].split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        body.clear();
    }
    let asked = Asked { method, target, headers, body };
    seen.lock().unwrap().push(asked.clone());
    let reply = lie(&asked).unwrap_or_else(|| honest(&asked));
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !reply.endless {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).await.is_err() || asked.method == "HEAD" {
        return;
    }
    let mut sent = stream.write_all(&reply.body).await;
    while reply.endless && sent.is_ok() {
        sent = stream.write_all(&[b' '; 64 << 10]).await;
    }
}

fn config() -> Vec<u8> {
    let layer = Digest::of(b"the archive inside").to_string();
    json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [layer]}})
        .to_string()
        .into()
}

const LAYER: &[u8] = b"a layer";

fn manifest() -> Vec<u8> {
    let part = |kind: &str, body: &[u8]| json!({"mediaType": kind, "size": body.len(), "digest": Digest::of(body)});
    let layers = json!([part("application/vnd.oci.image.layer.v1.tar+gzip", LAYER)]);
    let config = part("application/vnd.oci.image.config.v1+json", &config());
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).to_string().into()
}

/// What a registry with one image `base:1` answers; it takes every upload.
fn honest(asked: &Asked) -> Reply {
    let path = asked.target.split('?').next().unwrap();
    let with = |body: Vec<u8>, kind: &str| Reply { body, ..reply(200, &[("Content-Type", kind)]) };
    let blob = |digest: &str| {
        let all = [config(), LAYER.to_vec()];
        all.into_iter().find(|body| Digest::of(body).as_str() == digest)
    };
    match (asked.method.as_str(), path) {
        ("GET", "/v2/") => reply(200, &[]),
        ("GET", "/v2/base/manifests/1") => with(manifest(), MANIFEST),
        ("GET", _) if path.starts_with("/v2/base/blobs/") => blob(&path["/v2/base/blobs/".len()..])
            .map_or(reply(404, &[]), |body| with(body, "application/octet-stream")),
        ("POST", _) => reply(202, &[("Location", "/v2/up/1?state=x")]),
        ("PUT", _) => reply(201, &[]),
        _ => reply(404, &[]),
    }
}

async fn push(base: &Registry, target: &Registry) -> Result<Pushed, CallError> {
    let settings = HttpSettings { answer_limit: 1 << 20, ..HttpSettings::default() };
    push_with(&base.image("base:1"), &target.image("t"), settings).await
}

async fn push_with(base: &Image, target: &Image, settings: HttpSettings) -> Result<Pushed, CallError> {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = LayerPlan::default();
    plan.add("/opt/slipway/service/x", Mode::Data, Content::Bytes("x".into())).unwrap();
    let layers = [plan.make(folder.path()).await.unwrap()];
    let http = Http::new(settings).unwrap();
    let (changes, platform) = (Changes::default(), Platform::default());
    let build = Build { base, target, layers: &layers, changes: &changes, platform: &platform };
    build.push(&http, &|_| {}).await
}

/// What comes of a base image in a registry that lies.
async fn code(lie: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> (String, Registry) {
    let (base, target) = (Registry::start(lie).await, Registry::start(|_| None).await);
    let error = push(&base, &target).await.unwrap_err();
    let told = format!("{error:?}");
    assert!(!told.contains(PASSWORD) && !told.contains(TOKEN), "{told}");
    assert!(!target.asked().iter().any(|asked| asked.is("PUT", "/manifests/")), "nothing was made of it");
    (error.failure.code.as_str().to_owned(), base)
}

#[tokio::test]
async fn an_honest_one_is_believed() {
    let (base, target) = (Registry::start(|_| None).await, Registry::start(|_| None).await);
    let pushed = push(&base, &target).await.unwrap();
    let put = target.asked().into_iter().find(|asked| asked.is("PUT", "/v2/t/manifests/")).unwrap();
    assert_eq!(Digest::of(&put.body), pushed.digest);
    let manifest: Value = serde_json::from_slice(&put.body).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    let layer = target.asked().into_iter().find(|asked| asked.body == LAYER).unwrap();
    assert!(layer.target.contains("state=x&digest=sha256%3A"), "{}", layer.target);
}

#[tokio::test]
async fn what_is_sent_is_hashed() {
    let other = |path: &'static str, body: &'static [u8]| {
        move |asked: &Asked| asked.is("GET", path).then(|| Reply { body: body.to_vec(), ..reply(200, &[]) })
    };
    let config = format!("/blobs/{}", Digest::of(&config()));
    let layer = format!("/blobs/{}", Digest::of(LAYER));
    // As long as the right one, shorter, longer.
    assert_eq!(code(other(layer.clone().leak(), b"a lawyr")).await.0, "IMAGE_DIGEST_MISMATCH");
    assert_eq!(code(other(layer.clone().leak(), b"a layer and more")).await.0, "IMAGE_DIGEST_MISMATCH");
    assert_eq!(code(other(layer.leak(), b"a lay")).await.0, "IMAGE_LAYER_FAILED");
    assert_eq!(code(other(config.leak(), b"{}")).await.0, "IMAGE_DIGEST_MISMATCH");
    let said = Digest::of(b"another").to_string();
    let lie = move |asked: &Asked| {
        let lied = || Reply { body: manifest(), ..reply(200, &[("Docker-Content-Digest", said.as_str())]) };
        asked.is("GET", "/manifests/1").then(lied)
    };
    assert_eq!(code(lie).await.0, "IMAGE_DIGEST_MISMATCH");
    // Behind an index, by a digest.
    let digest = Digest::of(b"another").to_string();
    let lie = move |asked: &Asked| {
        let entry = json!({"mediaType": MANIFEST, "size": 9, "digest": digest, "platform": {"os": "linux", "architecture": "amd64"}});
        let index =
            json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]});
        let body = |body: String| Some(Reply { body: body.into(), ..reply(200, &[]) });
        if asked.is("GET", "/manifests/1") {
            body(index.to_string())
        } else if asked.is("GET", "/manifests/sha256") {
            body(String::from_utf8(manifest()).unwrap())
        } else {
            None
        }
    };
    assert_eq!(code(lie).await.0, "IMAGE_DIGEST_MISMATCH");
}

#[tokio::test]
async fn nothing_is_read_without_end() {
    for path in ["/manifests/1", "/v2/base/blobs/", "/v2/"] {
        let lie = move |asked: &Asked| asked.is("GET", path).then(|| Reply { endless: true, ..reply(200, &[]) });
        let code = code(lie).await.0;
        assert!(["IMAGE_TOO_LARGE", "IMAGE_DIGEST_MISMATCH"].contains(&code.as_str()), "{path}: {code}");
    }
    let huge = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
        "config": {"mediaType": "x", "size": 1_u64 << 40, "digest": Digest::of(b"")}});
    let lie = move |asked: &Asked| {
        asked.is("GET", "/manifests/1").then(|| Reply { body: huge.to_string().into(), ..reply(200, &[]) })
    };
    assert_eq!(code(lie).await.0, "IMAGE_TOO_LARGE");
}

#[tokio::test]
async fn redirects_are_followed_for_contents_alone_and_without_the_key() {
    let store = Registry::start(|asked| {
        asked.target.contains("signed").then(|| Reply { body: LAYER.to_vec(), ..reply(200, &[]) })
    })
    .await;
    let layer = format!("/blobs/{}", Digest::of(LAYER));
    let guarded = |asked: &Asked| {
        let challenge = || reply(401, &[("WWW-Authenticate", "Basic realm=\"r\"")]);
        (asked.key().is_none()).then(challenge)
    };
    let (to, part) = (format!("http://{}/signed?x=1", store.host), layer.clone());
    let base = Registry::start(move |asked| {
        let redirect = || asked.is("GET", &part).then(|| reply(307, &[("Location", to.as_str())]));
        guarded(asked).or_else(redirect)
    })
    .await;
    let target = Registry::start(|_| None).await;
    push(&base, &target).await.unwrap();
    let [asked] = &store.asked()[..] else { panic!("{:?}", store.asked()) };
    assert_eq!((asked.target.as_str(), asked.key()), ("/signed?x=1", None));
    assert!(base.asked().iter().any(|asked| asked.key().is_some()));

    for (location, wanted) in [
        ("http://169.254.169.254/latest/meta-data", "REGISTRY_ADDRESS_FORBIDDEN"),
        ("http://[::ffff:169.254.169.254]/", "REGISTRY_ADDRESS_FORBIDDEN"),
        ("", "REGISTRY_ANSWER_INVALID"),
        ("file:///etc/passwd", "REGISTRY_ANSWER_INVALID"),
        ("http://user:pw@127.0.0.1/", "REGISTRY_ANSWER_INVALID"),
        // To itself, again and again.
        ("?again", "REGISTRY_ANSWER_INVALID"),
    ] {
        let part = layer.clone();
        let lie = move |asked: &Asked| asked.is("GET", &part).then(|| reply(307, &[("Location", location)]));
        assert_eq!(code(lie).await.0, wanted, "{location}");
    }
    // Only contents: a manifest elsewhere is none.
    let lie =
        |asked: &Asked| asked.is("GET", "/manifests/1").then(|| reply(307, &[("Location", "/v2/base/manifests/2")]));
    assert_eq!(code(lie).await.0, "REGISTRY_ANSWER_INVALID");
}

#[tokio::test]
async fn a_token_service_elsewhere_gets_no_login() {
    let other = Registry::start(|_| Some(Reply { body: br#"{"token":"x"}"#.to_vec(), ..reply(200, &[]) })).await;
    let port = other.host.rsplit(':').next().unwrap().to_owned();
    for (realm, wanted) in [
        (format!("http://localhost:{port}/token"), "REGISTRY_ANSWER_INVALID"),
        ("http://169.254.169.254/token".to_owned(), "REGISTRY_ANSWER_INVALID"),
        ("https://169.254.169.254/token".to_owned(), "REGISTRY_ADDRESS_FORBIDDEN"),
        (format!("https://user:pw@localhost:{port}/"), "REGISTRY_ANSWER_INVALID"),
        ("token".to_owned(), "REGISTRY_ANSWER_INVALID"),
        ("ftp://127.0.0.1/".to_owned(), "REGISTRY_ANSWER_INVALID"),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let lie = move |_: &Asked| Some(reply(401, &[("WWW-Authenticate", challenge.as_str())]));
        assert_eq!(code(lie).await.0, wanted, "{realm}");
    }
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

/// A registry that lets in whoever has the token of its own service.
fn guarded(asked: &Asked, host: &str) -> Option<Reply> {
    if asked.target.starts_with("/token") {
        let fine = asked.key().is_some_and(|key| key.starts_with("Basic "));
        let body = json!({"access_token": TOKEN, "expires_in": 300}).to_string();
        return Some(Reply { body: body.into(), ..reply(if fine { 200 } else { 401 }, &[]) });
    }
    let challenge = format!("Bearer realm=\"http://{host}/token?a=b\",service=\"a registry\"");
    (asked.key() != Some(&format!("Bearer {TOKEN}"))).then(|| reply(401, &[("WWW-Authenticate", challenge.as_str())]))
}

fn own_host(asked: &Asked) -> &str {
    &asked.headers["host"]
}

#[tokio::test]
async fn a_token_is_asked_for_once_for_what_it_is_good_for() {
    let base = Registry::start(|asked| guarded(asked, own_host(asked))).await;
    let target = Registry::start(|asked| guarded(asked, own_host(asked))).await;
    push(&base, &target).await.unwrap();
    for (registry, scopes) in [(&base, vec!["base%3Apull"]), (&target, vec!["t%3Apull", "t%3Apull%2Cpush"])] {
        let asked = registry.asked();
        let tokens: Vec<_> = asked.iter().filter(|asked| asked.target.starts_with("/token")).collect();
        assert_eq!(tokens.len(), scopes.len(), "{tokens:?}");
        for (token, scope) in tokens.iter().zip(scopes) {
            let query = format!("/token?a=b&service=a+registry&scope=repository%3A{scope}");
            assert_eq!(token.target, query);
        }
        // The password goes to the token service alone.
        let with_login = |asked: &&Asked| asked.key().is_some_and(|key| key.starts_with("Basic "));
        assert!(asked.iter().filter(with_login).all(|asked| asked.target.starts_with("/token")));
    }
}

#[tokio::test]
async fn refusals_keep_their_class_and_hide_the_token() {
    for (status, code, again, header) in [
        (401, "REGISTRY_FORBIDDEN", false, "Bearer realm=\"http://HOST/token\",error=\"insufficient_scope\""),
        (403, "REGISTRY_FORBIDDEN", false, ""),
        (404, "REGISTRY_REPOSITORY_MISSING", false, ""),
        (429, "REGISTRY_BUSY", true, ""),
        (500, "REGISTRY_UNAVAILABLE", true, ""),
        (503, "REGISTRY_UNAVAILABLE", true, ""),
        (400, "REGISTRY_REFUSED", false, ""),
    ] {
        let base = Registry::start(|_| None).await;
        let target = Registry::start(move |asked| {
            let header = header.replace("HOST", own_host(asked));
            let body = json!({"errors": [{"code": "DENIED", "message": format!("your token {TOKEN} says no")}]});
            let refused = || Reply { body: body.to_string().into(), ..reply(status, &[("WWW-Authenticate", &header)]) };
            guarded(asked, own_host(asked)).or_else(|| asked.is("POST", "/blobs/uploads/").then(refused))
        })
        .await;
        let error = push(&base, &target).await.unwrap_err();
        assert_eq!((error.failure.code.as_str(), error.retryable), (code, again), "{status}: {error:?}");
        let told = format!("{error:?}");
        assert!(!told.contains(TOKEN) && !told.contains(PASSWORD), "{told}");
    }
}

#[tokio::test]
async fn an_upload_goes_on_at_the_registry_alone() {
    let other = Registry::start(|_| Some(reply(201, &[]))).await;
    for location in [format!("http://{}/v2/up", other.host), "https://127.0.0.1/".to_owned(), "http://[".to_owned()] {
        let place = location.clone();
        let base = Registry::start(|_| None).await;
        let target = Registry::start(move |asked| {
            asked.is("POST", "/uploads/").then(|| reply(202, &[("Location", place.as_str())]))
        })
        .await;
        let error = push(&base, &target).await.unwrap_err();
        assert_eq!(error.failure.code.as_str(), "REGISTRY_ANSWER_INVALID", "{location}: {error:?}");
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_registry_in_a_forbidden_network_is_not_asked() {
    let base = Registry::start(|_| None).await;
    let blocked = BlockList::parse(["127.0.0.0/8"]).unwrap();
    let settings = HttpSettings { blocked, ..HttpSettings::default() };
    let image = base.image("base:1");
    let mut named = image.clone();
    named.reference = image.reference.to_string().replace("127.0.0.1", "localhost").parse().unwrap();
    for image in [image, named] {
        let error = push_with(&image, &image, settings.clone()).await.unwrap_err();
        assert_eq!(error.failure.code.as_str(), "REGISTRY_ADDRESS_FORBIDDEN");
    }
    assert!(base.asked().is_empty());
}
