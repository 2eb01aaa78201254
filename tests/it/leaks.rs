//! Secrets go in, and never come out: not in logs, not in the database, not in answers, whatever fails. And what each failure of a node is called.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{fs, path::Path};

use futures_util::{StreamExt, stream};
use sandbox::{BundleSpec, Fault, FaultKind};
use serde_json::{Value, json};
use tests::{
    Client, Fleet, Size, guard, postgres, practice,
    requests::{REFUSALS, quoted, step},
};

const WRONG_KEY: &str = "wrong-admin-key-91d7";
const ACTIVATE: &str = "/projects/*/bundles/imported/*/actions/activate";

/// Finds the node's key, which its own process must hold, and says it in all ways that it can think of.
const TELLTALE: &str = "import base64, sys, urllib.parse
def execute(**kwargs):
    frame, key = sys._getframe(), None
    while frame is not None and key is None:
        call = frame.f_locals.get('call')
        if isinstance(call, dict) and call.get('automation_client'):
            key = call['automation_client']['key']
        frame = frame.f_back
    assert key, 'no key'
    print('plain', key)
    print('pair', base64.b64encode((key + ':').encode()).decode())
    print('hex', key.encode().hex())
    print('percent', urllib.parse.quote('a ' + key, safe=''))
    print('aside', key, file=sys.stderr)
    sys.stdout.write('half ' + key[:9]); sys.stdout.flush()
    sys.stdout.write(key[9:] + '\\n'); sys.stdout.flush()
    END
";

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    walk(Size::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet() {
    walk(Size::Fleet).await;
}

/// What was answered, to be searched.
struct Heard(String);

impl Heard {
    async fn ask(&mut self, api: &Client, document: &str, variables: Value) -> Value {
        let (status, answer) = api.raw(document, variables).await.unwrap();
        self.0.push_str(&format!("{status} {answer}\n"));
        answer
    }

    /// All that is told of an update.
    async fn update(&mut self, api: &Client, update: &Value) {
        let id = update["id"].as_str().unwrap();
        let parts = (api.journal(id).await, api.lines(id).await);
        self.0.push_str(&format!("{update}\n{}\n{}\n", json!(parts.0), json!(parts.1)));
        let follow =
            format!("subscription {{ updateEvents(updateId: {}) {{ seq failure {{ message }} }} }}", quoted(id));
        self.0.push_str(&json!(api.subscribe(&follow).await.rest().await).to_string());
    }
}

async fn walk(size: Size) {
    // Everything that our crates can say, also what is too much for every day.
    let fleet = Fleet::of(size).set("SLIPWAY_LOG_FILTER", "debug,sqlx=info").workers(1).start().await;
    let node = practice::node().await;
    let api = &fleet.client;
    let mut heard = Heard(String::new());
    let someone = fleet.user("someone", &[]);
    let retry = json!({"maxAttempts": 2, "initialMs": 100, "capMs": 100});
    let policies =
        json!(["validate_remap", "push_bundle", "activate"].map(|kind| json!({"kind": kind, "retry": retry})));
    api.infrastructure("production", &node, json!({"stepPolicies": policies})).await;
    api.infrastructure_at("wrong", &node.url(), WRONG_KEY, json!({})).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    for (id, infrastructure) in [("churn", "production"), ("wrong", "wrong")] {
        api.deployment(id, infrastructure, ("CHURN", "v1"), &id.to_uppercase(), json!({})).await;
    }

    // The wrong key, seen by a check, a preview and an update.
    let checked = heard
        .ask(
            api,
            &format!(
                "mutation {{ checkInfrastructure(id: \"wrong\") {{ failure {{ code message detail }} {REFUSALS} }} }}"
            ),
            json!({}),
        )
        .await;
    assert_eq!(checked["data"]["checkInfrastructure"]["failure"]["code"], "NODE_KEY_REJECTED");
    let preview = "{ previewUpdate(deploymentId: \"wrong\") { preview { failure { code message detail } } } }";
    let preview = heard.ask(api, preview, json!({})).await;
    assert_eq!(preview["data"]["previewUpdate"]["preview"]["failure"]["code"], "NODE_KEY_REJECTED");
    let failed = api.run("wrong", "FAILED").await;
    assert_eq!(failed["failure"]["code"], "NODE_KEY_REJECTED");
    heard.update(api, &failed).await;

    // A node that says its key in everything that goes wrong.
    let echo = format!("key {} and {}", practice::NODE_KEY, base64(&format!("{}:", practice::NODE_KEY)));
    let error = |status| FaultKind::Status {
        status,
        error_type: Some(echo.clone()),
        message: Some(echo.clone()),
        retry_after: None,
    };
    let echoes = [
        ("GET", "/admin/connections", error(500), "NODE_ERROR"),
        ("GET", "/admin/connections", error(403), "NODE_FORBIDDEN"),
        (
            "GET",
            "/admin/connections",
            FaultKind::Redirect { location: format!("http://{}@elsewhere/", practice::NODE_KEY) },
            "NODE_REDIRECTED",
        ),
        ("POST", ACTIVATE, FaultKind::ReportError { code: echo.clone(), message: echo.clone() }, "NODE_REPORT_ERROR"),
    ];
    for (method, path, kind, code) in echoes {
        let fault = node.arm(Fault::on(method, path, kind).for_ever()).unwrap();
        if method == "GET" {
            heard
                .ask(
                    api,
                    "{ previewUpdate(deploymentId: \"churn\") { preview { failure { code message detail } } } }",
                    json!({}),
                )
                .await;
        }
        let failed = api.run("churn", "FAILED").await;
        assert_eq!(failed["failure"]["code"], code);
        heard.update(api, &failed).await;
        fault.disarm();
    }
    // Hooks that tell.
    for (end, status) in [
        ("return HookResult.warning('warned ' + key)", "WARNING"),
        ("return HookResult.error('failed ' + key)", "FAILED"),
        ("raise RuntimeError('raised ' + key)", "FAILED"),
    ] {
        let code = TELLTALE.replace("END", end);
        api.set_hooks("production", "PRE", json!([{"name": "telltale", "code": code}])).await;
        let ended = api.run("churn", status).await;
        let lines = api.lines(ended["id"].as_str().unwrap()).await;
        let said: Vec<&str> = lines.iter().filter_map(|line| line["line"].as_str()).collect();
        for word in ["plain", "pair", "hex", "percent", "aside", "half"] {
            assert!(said.iter().any(|line| line.starts_with(word) && line.contains("********")), "{word}: {said:#?}");
        }
        heard.update(api, &ended).await;
    }

    // What people send by mistake.
    let bogus =
        json!({"id": "x", "stage": "Test", "adminKey": practice::NODE_KEY, "settings": {"nodeUrl": 3}, "bogus": 1});
    let create = format!(
        "mutation($input: CreateInfrastructureInput!) {{ createInfrastructure(input: $input) {{ {REFUSALS} }} }}"
    );
    let refused = heard.ask(api, &create, json!({"input": bogus})).await;
    assert!(refused["errors"][0]["message"].is_string(), "{refused}");
    let long = json!({"id": "x", "stage": "Test", "adminKey": format!("{} {}", practice::NODE_KEY, WRONG_KEY), "settings": {"nodeUrl": "http://n"}});
    let refused = heard.ask(api, &create, json!({"input": long})).await;
    assert_eq!(refused["data"]["createInfrastructure"]["refusals"][0]["code"], "ADMIN_KEY_INVALID");
    let half = Client::new(api.url(), &api.key()[..api.key().len() - 1]);
    heard.ask(&half, "{ viewer { login } }", json!({})).await;
    let all = "{ infrastructures { nodes { id hasAdminKey nodeUrl settings { hooksUser deployAsUser } hooks { code } } } apiKeys { nodes { id label login } }
        viewer { login keyId } }";
    heard.ask(api, all, json!({})).await;
    heard.ask(&someone, all, json!({})).await;

    let master =
        fs::read_to_string(fleet.scratch().at(if size == Size::Embedded { "data/master.key" } else { "master.key" }));
    let master = master.unwrap();
    let master = master.trim().rsplit(':').next().unwrap().to_owned();
    let secret = |key: &str| key.splitn(3, '_').nth(2).unwrap().to_owned();
    let secrets = [
        ("the node's key", practice::NODE_KEY.to_owned()),
        ("the node's key, encoded", base64(&format!("{}:", practice::NODE_KEY))),
        ("the wrong key", WRONG_KEY.to_owned()),
        ("the administrator's key", secret(api.key())),
        ("somebody's key", secret(someone.key())),
        ("the master key", master),
    ];
    let mut places = files(fleet.scratch().path());
    places.push(("the answers".to_owned(), heard.0.into_bytes()));
    if size == Size::Fleet {
        places.push(("the database".to_owned(), postgres::tool("pg_dump", &["--inserts", fleet.database()])));
    }
    for part in ["worker-1.log", if size == Size::Embedded { "slipway.db" } else { "the database" }, "the answers"] {
        let found = places.iter().find(|(place, _)| place.ends_with(part)).unwrap_or_else(|| panic!("no {part}"));
        assert!(found.1.len() > 1_000, "{part} is empty");
    }
    for (place, bytes) in &places {
        for (what, secret) in &secrets {
            assert!(secret.len() >= 16, "{what}");
            let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            if let Some(at) = at {
                let around = &bytes[at.saturating_sub(300)..(at + 100).min(bytes.len())];
                panic!("{what} stands in {place}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

/// All files under a folder but master keys: logs, the database of the embedded size, packages.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("master.key") {
            // A file of the database may go at any moment.
            found.extend(fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes)));
        }
    }
    found
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |part: &[u8], at: usize| {
        let bits = part.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char
    };
    let piece =
        |part: &[u8]| -> String { (0..4).map(|at| if at <= part.len() { digit(part, at) } else { '=' }).collect() };
    text.as_bytes().chunks(3).map(piece).collect()
}

/// What goes wrong, what it is called, whether another attempt follows, and a part of what people read.
struct Case {
    name: &'static str,
    kind: FaultKind,
    code: &'static str,
    retried: bool,
    text: &'static str,
}

fn cases() -> Vec<Case> {
    let status =
        |status| FaultKind::Status { status, error_type: None, message: Some("said so".to_owned()), retry_after: None };
    let case = |name, kind, code, retried, text| Case { name, kind, code, retried, text };
    let redirect = FaultKind::Redirect { location: "http://169.254.169.254/latest/meta-data".to_owned() };
    vec![
        case("html", FaultKind::Html { status: 200 }, "NODE_ANSWER_NOT_JSON", false, "no JSON came back"),
        case("gateway", FaultKind::Html { status: 502 }, "NODE_UNAVAILABLE", true, "status 502"),
        case("cut", FaultKind::CutAnswer, "NODE_ANSWER_CUT", true, "before its answer was complete"),
        case("reset", FaultKind::Reset, "NODE_ANSWER_CUT", true, "before its answer was complete"),
        case("redirect", redirect, "NODE_REDIRECTED", false, "follows none"),
        case("unauthenticated", status(401), "NODE_KEY_REJECTED", false, "Enter the key again"),
        case("forbidden", status(403), "NODE_FORBIDDEN", false, "said so"),
        case("missing", status(404), "NODE_NOT_FOUND", false, "said so"),
        case("conflict", status(409), "NODE_REFUSED", false, "status 409"),
        case("busy", status(429), "NODE_BUSY", true, "come back later"),
        case("error", status(500), "NODE_ERROR", true, "said so"),
        case("away", status(503), "NODE_UNAVAILABLE", true, "status 503"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_of_a_node_has_its_name() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let api = &fleet.client;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    let kinds = ["validate_remap", "push_bundle", "activate", "enforce_run_as"];
    let retry = json!({"maxAttempts": 2, "initialMs": 100, "capMs": 100});
    let policies = kinds.map(|kind| json!({"kind": kind, "retry": retry}));
    let settings = json!({"stepPolicies": policies, "permissionsPropagation": "LIMITED"});
    let node = practice::node().await;
    let dead = guard::free_port();
    let nodes = [
        ("down", format!("http://127.0.0.1:{dead}"), "NODE_UNREACHABLE", true, "could not be reached"),
        ("tls", node.url().replace("http:", "https:"), "NODE_TLS_FAILED", false, "No secure connection"),
    ];
    for (name, url, code, retried, text) in nodes {
        api.infrastructure_at(name, &url, practice::NODE_KEY, settings.clone()).await;
        failed_as(api, name, name, "validate_remap", (code, retried, text)).await;
    }
    // A node of its own for each: the first call of the first step that needs it.
    let settings = &settings;
    stream::iter(cases())
        .for_each_concurrent(4, |case| async move {
            let node = practice::node().await;
            node.arm(Fault::on("GET", "/admin/connections", case.kind).for_ever()).unwrap();
            api.infrastructure(case.name, &node, settings.clone()).await;
            failed_as(api, case.name, case.name, "validate_remap", (case.code, case.retried, case.text)).await;
            let unchanged = node.calls().iter().all(|call| call.method == "GET");
            assert!(unchanged, "{}: nothing was changed", case.name);
        })
        .await;

    // The verdict inside a success, and a refusal at each call that changes something.
    let refused =
        || FaultKind::Status { status: 403, error_type: None, message: Some("said so".to_owned()), retry_after: None };
    let report = || FaultKind::ReportError { code: "ERR_PRACTICE".to_owned(), message: "in the middle".to_owned() };
    let effects = [
        ("create", "POST", "/projects", refused(), "push_bundle"),
        ("import", "POST", "/projects/*/bundles/imported/actions/importFromStream", refused(), "push_bundle"),
        ("permit", "PUT", "/projects/*/permissions", refused(), "push_bundle"),
        ("remap", "PUT", "/projects/*/settings", refused(), "push_bundle"),
        ("vary", "PUT", "/projects/*/variables", refused(), "push_bundle"),
        ("preload", "POST", "/projects/*/bundles/imported/*/actions/preload", report(), "push_bundle"),
        ("activate", "POST", ACTIVATE, report(), "activate"),
        ("run-as", "PUT", "/projects/*/scenarios/*", refused(), "enforce_run_as"),
        ("web-app", "PUT", "/projects/*/webapps/*", refused(), "enforce_run_as"),
        ("restart", "PUT", "/projects/*/webapps/*/backend/actions/restart", refused(), "enforce_run_as"),
        ("switch", "PUT", "/projects/*/scenarios/*/light", refused(), "enforce_run_as"),
    ];
    stream::iter(effects)
        .for_each_concurrent(4, |(name, method, path, kind, step)| async move {
            let node = practice::node().await;
            let of_report = matches!(kind, FaultKind::ReportError { .. });
            let fault = node.arm(Fault::on(method, path, kind).for_ever()).unwrap();
            api.infrastructure(name, &node, settings.clone()).await;
            let wanted = if of_report {
                ("NODE_REPORT_ERROR", false, "ERR_PRACTICE")
            } else {
                ("NODE_FORBIDDEN", false, "said so")
            };
            let failed = failed_as(api, name, name, step, wanted).await;
            // What is off because of us is tried once more before the update gives up.
            let hits = if name == "switch" { 2 } else { 1 };
            assert_eq!(fault.hits(), hits, "{name}: {failed:#}");
        })
        .await;
}

/// An update fails in this step with this code and these words; it was tried again if its code is worth that.
async fn failed_as(api: &Client, id: &str, infrastructure: &str, at: &str, wanted: (&str, bool, &str)) -> Value {
    let (code, retried, text) = wanted;
    let settings = json!({"localVariables": {"a": 1}, "scenarios": [{"id": "DAILY", "on": true}]});
    let key = format!("P_{}", id.to_uppercase().replace('-', "_"));
    api.deployment(id, infrastructure, ("CHURN", "v1"), &key, settings).await;
    let failed = api.run(id, "FAILED").await;
    let failure = &failed["failure"];
    assert_eq!(failure["code"], code, "{id}: {failed:#}");
    assert!(failure["message"].as_str().unwrap().contains(text), "{id}: {failure:#}");
    let step = step(&failed, at);
    assert_eq!(step["status"], "FAILED", "{id}: {failed:#}");
    let attempts = step["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), if retried { 2 } else { 1 }, "{id}: {step:#}");
    failed
}
