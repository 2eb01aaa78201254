//! Each kind of fault, seen by a client.

use crate::client::{ADMIN, Client, builder, http, start};
use reqwest::{Method, StatusCode};
use sandbox::{BundleSpec, Fault, FaultKind, When, sample_bundle, write_big_bundle};
use serde_json::{Value, json};

const FOLDER: &str = "/project-folders/ROOT/children?name=x";
const PATH: &str = "/project-folders/*/children";

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, error_type: None, message: None, retry_after: None }
}

#[tokio::test]
async fn answers_in_place_of_the_effect() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    for code in [401, 403, 404, 429, 500] {
        node.arm(Fault::on("POST", PATH, status(code))).unwrap();
        let (answered, error) = client.send(Method::POST, FOLDER, None).await;
        assert_eq!(answered.as_u16(), code);
        assert_eq!(error["errorType"], "PracticeFault");
    }
    node.arm(Fault::on(
        "POST",
        PATH,
        FaultKind::Status { status: 503, error_type: None, message: Some("later".into()), retry_after: Some(7) },
    ))
    .unwrap();
    let response = client.request(Method::POST, FOLDER).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.json::<Value>().await.unwrap()["detailedMessage"], "later");

    for code in [200, 502] {
        node.arm(Fault::on("POST", PATH, FaultKind::Html { status: code })).unwrap();
        let response = client.request(Method::POST, FOLDER).send().await.unwrap();
        assert_eq!(response.status().as_u16(), code);
        assert!(response.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    }
    node.arm(Fault::on("POST", PATH, FaultKind::Redirect { location: "/login".into() })).unwrap();
    let response = client.request(Method::POST, FOLDER).send().await.unwrap();
    assert_eq!((response.status(), response.headers()["location"].as_bytes()), (StatusCode::FOUND, &b"/login"[..]));
    let kind = FaultKind::ReportError { code: "ERR_X".into(), message: "no".into() };
    node.arm(Fault::on("POST", PATH, kind)).unwrap();
    let report = client.post(FOLDER, None).await;
    assert_eq!((&report["error"], &report["messages"][0]["code"]), (&json!(true), &json!("ERR_X")));

    assert_eq!(client.get("/project-folders/").await["childrenIds"], json!([]), "no fault had an effect");
    client.post(FOLDER, None).await;
    let calls = node.calls();
    assert_eq!(calls[0].fault.as_deref(), Some("STATUS"));
    assert!(calls.last().unwrap().fault.is_none());
    assert!(calls.iter().all(|call| call.end >= Some(call.start)));
}

#[tokio::test]
async fn broken_connections() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    let children = async || client.get("/project-folders/").await["childrenIds"].as_array().unwrap().len();

    let fault = node.arm(Fault::on("POST", PATH, FaultKind::Reset)).unwrap();
    let error = client.request(Method::POST, FOLDER).send().await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_status(), "{error:?}");
    fault.reached().await;
    assert_eq!((children().await, node.calls()[0].status), (0, None));

    node.arm(Fault::on("POST", PATH, FaultKind::LostAnswer)).unwrap();
    assert!(client.request(Method::POST, FOLDER).send().await.is_err());
    assert_eq!(children().await, 1, "the effect was there");

    node.arm(Fault::on("POST", PATH, FaultKind::CutAnswer)).unwrap();
    let response = client.request(Method::POST, FOLDER).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "the head arrives");
    assert!(response.content_length().unwrap() > 10);
    assert!(response.bytes().await.is_err(), "the body ends in its middle");
    assert_eq!(children().await, 2);

    // An empty answer can be cut, too.
    node.arm(Fault::on("PUT", "/projects/*/variables", FaultKind::CutAnswer)).unwrap();
    client.upload("/projectsFromBundle/", sample_bundle(&BundleSpec::default())).await;
    let variables = json!({"standard": {}, "local": {"a": 1}}).to_string();
    let request = client.request(Method::PUT, "/projects/CHURN/variables/").body(variables);
    assert!(request.send().await.unwrap().bytes().await.is_err());
    assert_eq!(node.snapshot()["projects"]["CHURN"]["variables"]["local"], json!({"a": 1}));
}

#[tokio::test]
async fn an_upload_is_cut_or_refused() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    let big = vec![7; 8 * 1024 * 1024];
    node.arm(Fault::on("POST", "/projectsFromBundle", FaultKind::CutUpload { after_bytes: 100_000 })).unwrap();
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(big.clone()));
    assert!(client.request(Method::POST, "/projectsFromBundle/").multipart(form).send().await.is_err());
    node.arm(Fault::on("POST", "/projectsFromBundle", status(503))).unwrap();
    let (answered, _) = client.upload("/projectsFromBundle/", big).await;
    assert_eq!(answered, StatusCode::SERVICE_UNAVAILABLE, "a refusal is read, however large the upload");
}

#[tokio::test]
async fn a_held_call_waits_before_or_after_its_effect() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    for (when, effects) in [(When::Before, 0), (When::After, 1)] {
        let before = client.get("/project-folders/").await["childrenIds"].as_array().unwrap().len();
        let hold = node.arm(Fault::on("POST", PATH, FaultKind::Hold { when })).unwrap();
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.post(FOLDER, None).await }
        });
        hold.reached().await;
        hold.reached().await;
        let children = client.get("/project-folders/").await["childrenIds"].as_array().unwrap().len();
        assert_eq!(children - before, effects, "{when:?}");
        assert!(node.calls().iter().any(|call| call.end.is_none()));
        hold.release();
        assert_eq!(call.await.unwrap()["name"], "x");
        assert_eq!(hold.hits(), 1);
    }
}

#[tokio::test]
async fn a_call_goes_on_when_its_client_has_gone() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    let hold = node.arm(Fault::on("POST", PATH, FaultKind::Hold { when: When::Before })).unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.post(FOLDER, None).await }
    });
    hold.reached().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    hold.release();
    let calls = node.until_calls(|calls| calls[0].end.is_some()).await;
    assert_eq!(calls[0].status, Some(200));
    assert_eq!(client.get("/project-folders/").await["childrenIds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_whose_client_goes_has_no_effect() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    let hold = node.arm(Fault::on("POST", "/projectsFromBundle", FaultKind::Hold { when: When::Before })).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.zip");
    write_big_bundle(&BundleSpec::default(), &path, 16 * 1024 * 1024).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.upload("/projectsFromBundle/", bytes).await }
    });
    hold.reached().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    hold.release();
    let calls = node.until_calls(|calls| calls[0].end.is_some()).await;
    assert_eq!(calls[0].status, Some(400));
    assert_eq!(client.get("/projects/").await, json!([]));
}

#[tokio::test]
async fn a_stop_ends_held_calls_without_effect() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    let hold = node.arm(Fault::on("POST", PATH, FaultKind::Hold { when: When::Before })).unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.request(Method::POST, FOLDER).send().await.is_err() }
    });
    hold.reached().await;
    let addr = node.addr();
    let node = node.stop().await;
    assert!(call.await.unwrap());
    hold.release();
    let node = node.start(addr).await.unwrap();
    assert_eq!(client.get("/project-folders/").await["childrenIds"], json!([]));
    assert_eq!(node.calls()[0].status, None);
}

#[tokio::test]
async fn a_trickle_arrives_in_the_end() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    node.arm(Fault::on("GET", "/users", FaultKind::Trickle { chunk: 40, pause_ms: 1 })).unwrap();
    assert_eq!(client.get("/users").await.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn everything_over_http() {
    let node = start(builder()).await;
    let client = Client::new(&node);
    let control = client.at(&format!("{}/sandbox", node.url()));
    assert_eq!(control.with_key("deployer-secret").send(Method::GET, "/state", None).await.0, StatusCode::UNAUTHORIZED);
    let fault = json!({"method": "GET", "path": "/users", "nth": 2, "count": null, "kind": "HOLD", "when": "BEFORE"});
    let id = control.post("/faults", Some(&fault)).await["id"].clone();
    client.get("/users").await;
    assert_eq!(control.get(&format!("/faults/{id}/reached?timeoutMs=1")).await["reached"], false);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.get("/users").await }
    });
    assert_eq!(control.get(&format!("/faults/{id}/reached")).await["reached"], true);
    assert_eq!(control.get("/faults").await[0]["hits"], 1);
    control.post(&format!("/faults/{id}/release"), None).await;
    call.await.unwrap();
    assert_eq!(control.get("/calls").await.as_array().unwrap().len(), 2, "control calls are not in the log");
    assert_eq!(control.get("/calls?from=1").await[0]["fault"], "HOLD");
    control.send(Method::DELETE, "/calls", None).await;
    control.send(Method::DELETE, "/faults", None).await;
    assert_eq!((control.get("/calls").await, control.get("/faults").await), (json!([]), json!([])));
    assert_eq!(control.get("/state").await, node.snapshot());
    let (refused, _) =
        control.send(Method::POST, "/faults", Some(&json!({"path": "/", "kind": "STATUS", "status": 200}))).await;
    assert_eq!(refused, StatusCode::BAD_REQUEST);
    let page = http().get(format!("{}/", node.url())).basic_auth(ADMIN, None::<&str>).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("practice Automation node"));
}
