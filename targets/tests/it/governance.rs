//! Asking a governance source, over real HTTP.

use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use sandbox::Governance;
use targets::{
    Targets,
    governance::{Question, Severity, Verdict},
    http::HttpSettings,
};

const KEY: &str = "govern-key-123";

fn question(bundle: &str) -> Question {
    Question {
        kind: targets::target::Half::Project,
        deployment_id: "churn-prod".to_owned(),
        infrastructure_id: "prod".to_owned(),
        project_key: "CHURN".to_owned(),
        deployed_project_key: "CHURN_PROD".to_owned(),
        bundle_id: bundle.to_owned(),
        sha256: "ab".repeat(32),
        requester: "alice".to_owned(),
    }
}

async fn ask(url: &str, bundle: &str) -> Result<Verdict, StepError> {
    let targets = Targets::new(HttpSettings::default()).unwrap();
    targets.ask_governance(url, Some(&Secret::from(KEY.to_owned())), &question(bundle)).await
}

#[tokio::test]
async fn the_question_and_the_answer() {
    let source = Governance::open().await.unwrap();
    source.say("v2", "ERROR", &format!("Nobody signed. {KEY}\u{202e}"));
    assert_eq!(ask(&source.url(), "v1").await.unwrap(), Verdict { status: Severity::Success, messages: Vec::new() });
    let told = ask(&source.url(), "v2").await.unwrap();
    assert_eq!((told.status, told.messages[0].code.as_str()), (Severity::Error, "ERR_SIGN_OFF"));
    // An echo of the key is masked, and nothing turns the text around.
    assert_eq!(told.messages[0].message, "Nobody signed. ***");
    let asked = source.take();
    assert_eq!(asked[0].call, "POST /check");
    assert_eq!(asked[0].authorization.as_deref(), Some(&*format!("Bearer {KEY}")));
    assert_eq!(asked[0].body, serde_json::to_value(question("v1")).unwrap());
    assert_eq!(asked[0].body["deployedProjectKey"], "CHURN_PROD");
    let targets = Targets::new(HttpSettings::default()).unwrap();
    targets.ask_governance(&source.url(), None, &question("v1")).await.unwrap();
    assert_eq!(source.take()[0].authorization, None);
}

#[tokio::test]
async fn what_is_asked_again_and_what_is_no_source() {
    let source = Governance::open().await.unwrap();
    let many = format!(r#"{{"status": "OK", "more": "{}"}}"#, "x".repeat(2 << 20));
    for (status, body, again, inner) in [
        (503, "{}", true, "NODE_UNAVAILABLE"),
        (500, r#"{"message": "boom"}"#, true, "NODE_ERROR"),
        (429, "", true, "NODE_BUSY"),
        (401, "", false, "NODE_KEY_REJECTED"),
        (404, "", false, "NODE_NOT_FOUND"),
        (302, "", false, "NODE_REDIRECTED"),
        (200, "<html>", false, "NODE_ANSWER_NOT_JSON"),
        (200, &many, false, "NODE_ANSWER_TOO_LARGE"),
        (200, r#"{"status": "FINE"}"#, false, "status"),
    ] {
        source.answer("v1", status, body);
        let (failure, retryable): (Failure, bool) = match ask(&source.url(), "v1").await {
            Err(StepError::Retryable { failure, .. }) => (failure, true),
            Err(StepError::Permanent(failure)) => (failure, false),
            other => panic!("{status} {other:?}"),
        };
        let code = if again { "GOVERNANCE_UNAVAILABLE" } else { "GOVERNANCE_SOURCE_INVALID" };
        assert_eq!((failure.code.as_str(), retryable), (code, again), "{status}");
        assert!(failure.message.contains(inner) && !failure.message.contains("node"), "{}", failure.message);
        assert!(!format!("{failure:?}").contains(KEY));
        assert_eq!(source.take().len(), 1, "a redirect is not followed, and nothing is asked twice");
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let refused = ask(&closed, "v1").await;
    assert!(matches!(refused, Err(StepError::Retryable { .. })), "{refused:?}");
    let forbidden = ask("http://169.254.169.254/latest", "v1").await;
    assert!(matches!(forbidden, Err(StepError::Permanent(_))), "{forbidden:?}");
}
