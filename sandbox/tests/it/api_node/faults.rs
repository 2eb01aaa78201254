//! Faults hit both APIs of an API node.

use super::client::{Client, Scene, scene};
use reqwest::{Method, StatusCode};
use sandbox::{Fault, FaultKind, ServiceSpec, When};
use serde_json::{Value, json};

const SWITCH: &str = "/admin/api/services/s/actions/switchTo/v2";
const PATTERN: &str = "/admin/api/services/*/actions/switchTo/*";

async fn served() -> Scene {
    let scene = scene().await;
    scene.serve(&[ServiceSpec::new("s", "v2"), ServiceSpec::new("s", "v1")]).await;
    scene
}

async fn active(client: &Client) -> Value {
    client.get("/sandbox/state").await["services"]["s"]["mapping"][0]["generation"].clone()
}

async fn switch(client: &Client) -> Result<reqwest::Response, reqwest::Error> {
    client.request(Method::POST, SWITCH).send().await
}

#[tokio::test]
async fn without_an_effect() {
    let scene = served().await;
    let kinds = [
        (FaultKind::Status { status: 503, error_type: None, message: None, retry_after: Some(3) }, Some(503)),
        (FaultKind::Html { status: 502 }, Some(502)),
        (FaultKind::Redirect { location: "/login".into() }, Some(302)),
        (FaultKind::ReportError { code: "ERR_X".into(), message: "no".into() }, Some(200)),
        (FaultKind::Reset, None),
        (FaultKind::CutUpload { after_bytes: 10 }, None),
    ];
    for (kind, wanted) in kinds {
        let name = format!("{kind:?}");
        let fault = scene.node.arm(Fault::on("POST", PATTERN, kind)).unwrap();
        let answer = switch(&scene.client).await.ok();
        assert_eq!(answer.as_ref().map(|answer| answer.status().as_u16()), wanted, "{name}");
        if wanted == Some(503) {
            assert_eq!(answer.unwrap().headers()["retry-after"], "3");
        }
        fault.reached().await;
        assert_eq!(active(&scene.client).await, "v1", "{name}");
    }
    switch(&scene.client).await.unwrap();
    assert_eq!(active(&scene.client).await, "v2");
}

#[tokio::test]
async fn with_an_effect() {
    let scene = served().await;
    for kind in [
        FaultKind::CutAnswer,
        FaultKind::LostAnswer,
        FaultKind::Trickle { chunk: 1, pause_ms: 1 },
        FaultKind::Hold { when: When::After },
    ] {
        scene.client.post("/admin/api/services/s/actions/switchTo/v1", None).await;
        let (name, lost) = (format!("{kind:?}"), matches!(kind, FaultKind::LostAnswer | FaultKind::CutAnswer));
        let held = matches!(kind, FaultKind::Hold { .. });
        let fault = scene.node.arm(Fault::on("POST", PATTERN, kind)).unwrap();
        let client = scene.client.clone();
        let call = tokio::spawn(async move {
            match switch(&client).await {
                Ok(answer) => answer.bytes().await.is_ok(),
                Err(_) => false,
            }
        });
        fault.reached().await;
        if !held {
            assert_eq!(call.await.unwrap(), !lost, "{name}");
            assert_eq!(active(&scene.client).await, "v2", "{name}");
            continue;
        }
        assert_eq!(active(&scene.client).await, "v2", "{name}");
        fault.release();
        assert!(call.await.unwrap());
    }
}

#[tokio::test]
async fn a_held_query_is_judged_when_it_goes_on() {
    let scene = served().await;
    let hold = Fault::on("POST", "/public/api/v1/s/*/predict", FaultKind::Hold { when: When::Before });
    let hold = scene.node.arm(hold).unwrap();
    let client = scene.client.clone();
    let query = tokio::spawn(async move { client.query("s/score/predict", &json!({"features": {"a": 1}})).await });
    hold.reached().await;
    switch(&scene.client).await.unwrap();
    hold.release();
    let (status, answer) = query.await.unwrap();
    assert_eq!((status, &answer["result"]["generation"]), (StatusCode::OK, &json!("v2")));
    assert_eq!(scene.node.events().len(), 1);
}

#[tokio::test]
async fn the_probe_and_the_second_call_over_http() {
    let scene = served().await;
    let fault = json!({"path": "/isAlive", "nth": 2, "kind": "STATUS", "status": 500});
    let id = scene.client.post("/sandbox/faults", Some(&fault)).await["id"].clone();
    for wanted in [200, 500, 200] {
        assert_eq!(scene.client.send(Method::GET, "/isAlive/", None).await.0.as_u16(), wanted);
    }
    let state = scene.client.get(&format!("/sandbox/faults/{id}")).await;
    assert_eq!((&state["matched"], &state["hits"]), (&json!(3), &json!(1)));
    let calls = scene.client.get("/sandbox/calls").await;
    let hit: Vec<_> = calls.as_array().unwrap().iter().filter(|call| call["fault"] == "STATUS").collect();
    assert_eq!((hit.len(), &hit[0]["path"]), (1, &json!("/isAlive")));
}
