//! Bad answers at each kind of call: the failure's code, class and text.

use std::time::Duration;

use sandbox::{Fault, FaultKind};
use targets::http::{BlockList, HttpSettings};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{KEY, STEPS, Step, world};

fn status(status: u16) -> FaultKind {
    let message = Some(format!("the key is {KEY} \u{1b}[31m{}", "long ".repeat(2_000)));
    FaultKind::Status { status, error_type: Some("SomeException".into()), message, retry_after: Some(7) }
}

/// Fault, code, retryable.
fn table() -> Vec<(FaultKind, &'static str, bool)> {
    vec![
        (status(400), "NODE_REFUSED", false),
        (status(401), "NODE_KEY_REJECTED", false),
        (status(403), "NODE_FORBIDDEN", false),
        (status(404), "NODE_NOT_FOUND", false),
        (status(409), "NODE_REFUSED", false),
        (status(429), "NODE_BUSY", true),
        (status(500), "NODE_ERROR", true),
        (status(502), "NODE_UNAVAILABLE", true),
        (status(503), "NODE_UNAVAILABLE", true),
        (status(504), "NODE_UNAVAILABLE", true),
        (FaultKind::Html { status: 200 }, "NODE_ANSWER_NOT_JSON", false),
        (FaultKind::Html { status: 500 }, "NODE_UNAVAILABLE", true),
        (FaultKind::Html { status: 502 }, "NODE_UNAVAILABLE", true),
        (FaultKind::Redirect { location: "http://169.254.169.254/latest/meta-data".into() }, "NODE_REDIRECTED", false),
        (FaultKind::Reset, "NODE_ANSWER_CUT", true),
    ]
}

/// The calls, and the step that makes each.
const CALLS: &[(&str, &str, Step)] = &[
    ("GET", "/admin/connections", Step::Validate),
    ("GET", "/admin/users", Step::Validate),
    ("GET", "/projects", Step::Push),
    ("POST", "/projectsFromBundle", Step::Push),
    ("GET", "/projects/*/settings", Step::Push),
    ("PUT", "/projects/*/settings", Step::Push),
    ("GET", "/projects/*/variables", Step::Push),
    ("PUT", "/projects/*/variables", Step::Push),
    ("POST", "/projects/*/bundles/imported/*/actions/preload", Step::Push),
    ("GET", "/projects/*/scenarios", Step::Activate),
    ("POST", "/projects/*/bundles/imported/*/actions/activate", Step::Activate),
    ("GET", "/projects/*/scenarios/*", Step::Enforce),
    ("PUT", "/projects/*/scenarios/*", Step::Enforce),
    ("PUT", "/projects/*/webapps/*", Step::Enforce),
    ("PUT", "/projects/*/webapps/*/backend/actions/restart", Step::Enforce),
    ("PUT", "/projects/*/scenarios/*/light", Step::Enforce),
    ("GET", "/projects/*/webapps", Step::Verify),
    ("GET", "/projects/*/webapps/*/backend/state", Step::Verify),
];

#[tokio::test]
async fn each_fault_at_each_call() {
    for (method, path, at) in CALLS {
        for (kind, code, retryable) in table() {
            let world = world().await;
            for step in STEPS.into_iter().take_while(|step| step != at) {
                world.step(step).await.unwrap();
            }
            world.node.arm(Fault::on(method, path, kind.clone())).unwrap();
            let told = format!("{method} {path} {code} {:?}", kind);
            let (failure, after) =
                if retryable { world.retryable(*at).await } else { (world.failure(*at).await, None) };
            assert_eq!(failure.code.as_str(), code, "{told}: {failure:?}");
            if matches!(kind, FaultKind::Status { .. }) && retryable {
                assert_eq!(after, Some(Duration::from_secs(7)), "{told}");
            }
            assert!(
                failure.message.len() < 1_000 && failure.detail.as_ref().is_none_or(|detail| detail.len() < 2_000),
                "{told}"
            );
            assert!(!failure.message.contains('\u{1b}') && !failure.message.contains("169.254"), "{told}");
            // What was worth another attempt succeeds.
            if retryable {
                world.update().await;
            }
        }
    }
}

#[tokio::test]
async fn a_documented_error_in_a_500_is_a_verdict() {
    let world = world().await;
    world.until(Step::Push).await.unwrap();
    let message = Some("ERR_BUNDLE_ACTIVATE_BAD_CONNECTION_TYPE: the type differs".to_owned());
    let kind = FaultKind::Status { status: 500, error_type: Some("CodedException".into()), message, retry_after: None };
    world.node.arm(Fault::on("POST", "/projects/*/bundles/imported/*/actions/activate", kind)).unwrap();
    assert_eq!(world.failure(Step::Activate).await.code.as_str(), "NODE_REPORT_ERROR");
}

#[tokio::test]
async fn an_error_inside_a_success_stops_the_activation() {
    let world = world().await;
    world.until(Step::Push).await.unwrap();
    let kind = FaultKind::ReportError {
        code: "ERR_BUNDLE_ACTIVATE_MISSING_CONNECTION".into(),
        message: format!("no sql, and {KEY}"),
    };
    world.node.arm(Fault::on("POST", "/projects/*/bundles/imported/*/actions/activate", kind)).unwrap();
    let failure = world.failure(Step::Activate).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("NODE_REPORT_ERROR", false));
    assert!(failure.message.contains("ERR_BUNDLE_ACTIVATE_MISSING_CONNECTION"));
    assert!(failure.detail.unwrap().contains("no sql, and ***"));
    assert!(world.project()["activeBundle"].is_null());
    world.update().await;
}

#[tokio::test]
async fn no_node_at_all() {
    let mut world = world().await;
    world.step(Step::Validate).await.unwrap();
    let node = world.node.node().clone();
    let addr = world.node.addr();
    // A port that was just free.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    world.spec.infrastructure.node.url = format!("http://{free}");
    assert_eq!(world.retryable(Step::Push).await.0.code.as_str(), "NODE_UNREACHABLE");
    world.spec.infrastructure.node.url = "http://does-not-exist.invalid".into();
    assert_eq!(world.retryable(Step::Push).await.0.code.as_str(), "NODE_UNREACHABLE");
    // Plain HTTP behind an https URL.
    world.spec.infrastructure.node.url = format!("https://{addr}");
    assert_eq!(world.failure(Step::Push).await.code.as_str(), "NODE_TLS_FAILED");
    world.spec.infrastructure.node.url = "http://169.254.169.254".into();
    assert_eq!(world.failure(Step::Push).await.code.as_str(), "NODE_ADDRESS_FORBIDDEN");
    world.spec.infrastructure.node.url = "http://user:pw@node".into();
    assert_eq!(world.failure(Step::Push).await.code.as_str(), "NODE_URL_INVALID");
    assert!(node.calls().len() < 5);
}

#[tokio::test]
async fn a_name_that_leads_to_a_forbidden_address() {
    let mut world = world().await;
    let blocked = BlockList::parse(["127.0.0.0/8", "::1"]).unwrap();
    world.targets = targets::Targets::new(HttpSettings { blocked, ..HttpSettings::default() }).unwrap();
    world.spec.infrastructure.node.url = format!("http://localhost:{}", world.node.addr().port());
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "NODE_ADDRESS_FORBIDDEN");
    assert!(world.node.calls().is_empty());
}

#[tokio::test]
async fn an_answer_that_takes_too_long() {
    let mut world = world().await;
    let settings = HttpSettings { call_timeout: Duration::from_millis(200), ..HttpSettings::default() };
    world.targets = targets::Targets::new(settings).unwrap();
    let fault =
        world.node.arm(Fault::on("GET", "/admin/connections", FaultKind::Trickle { chunk: 1, pause_ms: 50 })).unwrap();
    assert_eq!(world.retryable(Step::Validate).await.0.code.as_str(), "NODE_TIMED_OUT");
    fault.disarm();
    world.until(Step::Push).await.unwrap();
    world.spec.infrastructure.node.call_timeout_ms = 200;
    let fault = world
        .node
        .arm(Fault::on(
            "POST",
            "/projects/*/bundles/imported/*/actions/activate",
            FaultKind::Hold { when: sandbox::When::Before },
        ))
        .unwrap();
    let (failure, _) = world.retryable(Step::Activate).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("NODE_TIMED_OUT", true));
    fault.release();
    world.update().await;
    assert_eq!(world.effects("POST", "/activate").len(), 1);
}

/// Answers one request with `answer`, then closes.
async fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let read = stream.read(&mut request).await.unwrap();
        assert!(read > 0);
        // The client may stop reading before the end.
        let _ = stream.write_all(&answer).await;
    });
    url
}

#[tokio::test]
async fn strange_answers() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let table: Vec<(String, &str, bool)> = vec![
        (format!("{head}Content-Length: 100\r\n\r\n{{\"a\": "), "NODE_ANSWER_CUT", true),
        // No length: only the JSON tells that it was cut.
        (format!("{head}\r\n{{\"a\": "), "NODE_ANSWER_CUT", true),
        (format!("{head}\r\n{{\"a\": \"{}\"}}", "x".repeat(2 * 1024 * 1024)), "NODE_ANSWER_TOO_LARGE", false),
        (format!("{head}\r\n{}", "[".repeat(100_000)), "NODE_ANSWER_NOT_JSON", false),
        (format!("{head}\r\n[1]"), "NODE_ANSWER_UNEXPECTED", false),
        (format!("{head}\r\n{{\"a\": 1}}"), "NODE_ANSWER_UNEXPECTED", false),
        ("HTTP/1.1 204 No Content\r\n\r\n".into(), "NODE_ANSWER_NOT_JSON", false),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), "NODE_ANSWER_CUT", true),
    ];
    for (answer, code, retryable) in table {
        let mut world = world().await;
        world.spec.infrastructure.node.url = answering(answer.clone().into_bytes()).await;
        let told = answer.chars().take(120).collect::<String>();
        let failure = match world.attempt(Step::Validate).await {
            Err(engine::failure::StepError::Retryable { failure, .. }) if retryable => failure,
            Err(engine::failure::StepError::Permanent(failure)) if !retryable => failure,
            other => panic!("{told}: {other:?}"),
        };
        assert_eq!(failure.code.as_str(), code, "{told}");
    }
}
