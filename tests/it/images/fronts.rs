//! Each platform's front, started as a container would start it.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tests::{
    PATIENCE,
    guard::{Guarded, Program, free_port},
    scratch::Scratch,
    slipway, until_true,
};

use super::NODE;

struct Front {
    running: Guarded,
    base: String,
    health: &'static str,
    scratch: Scratch,
}

impl Front {
    async fn start(
        platform: &str,
        health: &'static str,
        endpoint: &Value,
        listen: bool,
        variables: &[(&str, &str)],
    ) -> Self {
        let scratch = Scratch::new("front");
        let document = json!({
            "format": 1, "serviceId": "churn", "endpoint": endpoint,
            "generations": [{"generation": "v1", "file": "v1.zip", "proba": 1.0}],
        });
        fs::write(scratch.at("deployment.json"), document.to_string()).unwrap();
        fs::write(scratch.at("v1.zip"), "a package").unwrap();
        fs::write(scratch.at("node.py"), NODE).unwrap();
        let (port, node) = (free_port(), free_port());
        let binary = slipway::binary().display().to_string();
        let mut command = vec![binary, "front".to_owned(), "--platform".to_owned(), platform.to_owned()];
        command.extend(["--deployment".to_owned(), scratch.at("deployment.json")]);
        command.extend(["--upstream".to_owned(), format!("http://127.0.0.1:{node}")]);
        if listen {
            command.extend(["--listen".to_owned(), format!("127.0.0.1:{port}")]);
        }
        command.extend(["--notice-timeout", "0"].map(str::to_owned));
        command.extend(["--run", "python3", &scratch.at("node.py"), ";"].map(str::to_owned));
        let variables = variables.iter().map(|&(name, value)| (name, value.replace("PORT", &port.to_string())));
        let own = [("NODE_PORT", node.to_string()), ("NODE_SERVICE", scratch.path().display().to_string())];
        let running = Program::new(command, &scratch.path().join("log")).with(variables.chain(own)).start();
        let front = Self { running, base: format!("http://127.0.0.1:{port}"), health, scratch };
        until_true("the front", PATIENCE, || async { front.status(health).await == Some(200) }).await;
        front
    }

    async fn status(&self, path: &str) -> Option<u16> {
        assert_eq!(self.running.exit_code(), None, "{}: {}", self.scratch.path().display(), self.running.log());
        Some(reqwest::get(format!("{}{path}", self.base)).await.ok()?.status().as_u16())
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = reqwest::Client::new().post(format!("{}{path}", self.base)).json(body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Whatever the process has come to.
    async fn seen(&self, path: &str) -> Option<u16> {
        Some(reqwest::get(format!("{}{path}", self.base)).await.ok()?.status().as_u16())
    }

    async fn ends(self) {
        assert_eq!(self.status(self.health).await, Some(200));
        self.running.signal(rustix::process::Signal::TERM);
        assert_eq!(self.running.exited(PATIENCE).await, 0, "{}", self.running.log());
    }
}

#[tokio::test]
async fn vertex_says_port_and_routes_by_variables() {
    tests::client::http();
    let endpoint = json!({"id": "f", "type": "PY_FUNCTION"});
    let variables =
        [("AIP_HTTP_PORT", "PORT"), ("AIP_HEALTH_ROUTE", "/h"), ("AIP_PREDICT_ROUTE", "/v1/endpoints/1:predict")];
    let front = Front::start("vertex", "/h", &endpoint, false, &variables).await;
    let asked = json!({"instances": [{"n": 1}, {"n": 2}]});
    let answer = front.post("/v1/endpoints/1:predict", &asked).await;
    let one = |n: u32| json!({"path": "/public/api/v1/churn/f/run", "asked": {"n": n}, "key": null});
    assert_eq!(answer, json!({"predictions": [one(1), one(2)]}));
    assert_eq!(front.status("/health").await, Some(404), "another route is none");
    front.ends().await;
}

#[tokio::test]
async fn azure_and_snowflake_speak_their_own() {
    tests::client::http();
    let endpoint = json!({"id": "p", "type": "STD_PREDICTION", "arguments": ["age", "income"]});
    let snowflake = Front::start("snowflake", "/health", &endpoint, true, &[("AIP_HTTP_PORT", "1")]).await;
    let answer = snowflake.post("/predict", &json!({"data": [[7, 30, 1.5], [3, 40, null]]})).await;
    let one = |age: u32, income: Value| {
        let asked = json!({"features": {"age": age, "income": income}});
        json!({"path": "/public/api/v1/churn/p/predict-multi", "asked": asked, "key": null})
    };
    assert_eq!(answer, json!({"data": [[7, one(30, json!(1.5))], [3, one(40, Value::Null)]]}));
    snowflake.ends().await;

    let azure = Front::start("azure", "/readiness", &endpoint, true, &[]).await;
    assert_eq!(azure.status("/liveness").await, Some(200));
    let asked = json!({"features": {"age": 1}});
    let answer = azure.post("/score", &asked).await;
    assert_eq!(answer, json!({"path": "/public/api/v1/churn/p/predict", "asked": asked, "key": null}));
    azure.ends().await;
}

#[tokio::test]
async fn one_that_is_told_to_stop_says_so_until_its_queries_are_answered() {
    tests::client::http();
    let endpoint = json!({"id": "p", "type": "STD_PREDICTION"});
    let front = Front::start("azure", "/readiness", &endpoint, true, &[]).await;
    let (url, body) = (format!("{}/score", front.base), json!({"hold": true}));
    let query = tokio::spawn(async move { reqwest::Client::new().post(url).json(&body).send().await.unwrap() });
    let held = front.scratch.path().join("held");
    until_true("the query at the node", PATIENCE, || async { held.exists() }).await;
    front.running.signal(rustix::process::Signal::TERM);
    until_true("health is 503", PATIENCE, || async { front.seen("/readiness").await == Some(503) }).await;
    // A connection that comes now is answered, too.
    assert_eq!(front.status("/liveness").await, Some(200));
    assert_eq!(front.status("/readiness").await, Some(503));
    fs::write(front.scratch.path().join("release"), "").unwrap();
    let answer = query.await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.json::<Value>().await.unwrap()), (200, json!({"held": true})));
    assert_eq!(front.running.exited(PATIENCE).await, 0, "{}", front.running.log());
}

#[tokio::test]
async fn what_a_front_lacks_is_named() {
    let scratch = Scratch::new("front");
    for (more, said) in [
        (&[][..], "--deployment"),
        (&["--service", "s", "--endpoint", "e", "--endpoint-type", "OTHER"], "FIELD_INVALID: --endpoint-type"),
        (&["--service", "..", "--endpoint", "e", "--endpoint-type", "STD_PREDICTION"], "FIELD_INVALID: --service"),
    ] {
        let binary = slipway::binary().display().to_string();
        let missing = scratch.at("nothing.json");
        let command =
            [&binary, "front", "--platform", "azure", "--deployment", &missing].into_iter().chain(more.iter().copied());
        let running = Program::new(command, &scratch.path().join("log")).start();
        assert_ne!(running.exited(Duration::from_secs(60)).await, 0);
        assert!(running.log().contains(said), "{}", running.log());
    }
}
