//! The query API: what each type of endpoint answers, which generation, and to whom.

use super::client::{Scene, read, scene};
use reqwest::{Method, StatusCode};
use sandbox::{KeyKind, ServiceSpec};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const KINDS: [&str; 11] = [
    "STD_PREDICTION",
    "STD_CLUSTERING",
    "STD_FORECAST",
    "STD_CAUSAL_PREDICTION",
    "STD_MULTITARGET_PREDICTION",
    "CUSTOM_PREDICTION",
    "CUSTOM_R_PREDICTION",
    "R_FUNCTION",
    "PY_FUNCTION",
    "DATASETS_LOOKUP",
    "SQL_QUERY",
];

async fn all_kinds() -> Scene {
    let scene = scene().await;
    let spec = KINDS.iter().fold(ServiceSpec::new("s", "v1"), |spec, kind| spec.endpoint(kind, kind));
    scene.serve(&[spec]).await;
    scene
}

async fn ask(scene: &Scene, call: &str, body: Value) -> Value {
    let (status, answer) = scene.client.with_key(None).query(&format!("s/{call}"), &body).await;
    assert_eq!(status, StatusCode::OK, "{call} {body}: {answer}");
    assert_eq!(answer["apiContext"]["serviceGeneration"], "v1");
    answer
}

#[tokio::test]
async fn predictions() {
    let scene = all_kinds().await;
    let features = json!({"amount": 2.5, "count": "4", "new": true, "old": false, "none": null, "name": "größe"});
    // As the client sends it: fields that are not set are null.
    let unset = json!({"enabled": null, "method": null, "nExplanations": null, "nMonteCarloSteps": null});
    let answer = ask(&scene, "score/predict", json!({"features": features, "explanations": unset})).await;
    assert_eq!(answer["result"], json!({"prediction": 12.5, "ignored": false, "generation": "v1"}));
    for kind in ["STD_PREDICTION", "STD_MULTITARGET_PREDICTION", "CUSTOM_PREDICTION", "CUSTOM_R_PREDICTION"] {
        let answer = ask(&scene, &format!("{kind}/predict"), json!({"features": {"a": 3}})).await;
        assert_eq!(answer["result"]["prediction"], 3.0, "{kind}");
    }
    let answer = ask(&scene, "STD_CLUSTERING/predict", json!({"features": {"a": 4}})).await;
    assert_eq!(answer["result"]["prediction"], "cluster_1");
    let answer = ask(&scene, "score/predict", json!({"features": {}})).await;
    assert_eq!((&answer["result"]["ignored"], answer["result"].get("prediction")), (&json!(true), None));
    assert!(answer["result"]["ignoreReason"].is_string());

    let explained =
        json!({"features": {"a": 1, "b": -5, "c": 2}, "explanations": {"enabled": true, "nExplanations": 2}});
    let answer = ask(&scene, "score/predict", explained).await;
    assert_eq!(answer["result"]["explanations"], json!({"b": -5.0, "c": 2.0}));
    let items = json!({"items": [{"features": {"a": 1}}, {"features": {"a": 2}, "context": {"x": 1}}]});
    let answer = ask(&scene, "score/predict-multi", items.clone()).await;
    assert_eq!((&answer["results"][0]["prediction"], &answer["results"][1]["prediction"]), (&json!(1.0), &json!(2.0)));
    let simple = scene.client.get("/public/api/v1/s/score/predict-simple?a=1.5&b=2&name=abc").await;
    assert_eq!(simple["result"]["prediction"], 6.5);

    let answer = ask(&scene, "STD_CAUSAL_PREDICTION/predict-effect", json!({"features": {"a": 3}})).await;
    assert_eq!(answer["result"]["predictedEffect"], 3.0);
    let answer = ask(&scene, "STD_CAUSAL_PREDICTION/predict-effect-multi", items).await;
    assert_eq!(answer["results"][1]["predictedEffect"], 2.0);
}

#[tokio::test]
async fn forecasts_lookups_queries_functions() {
    let scene = all_kinds().await;
    let record = |date: &str, id: &str, target: f64| json!({"date": format!("{date}T00:00:00.000Z"), "timeseries_id": id, "target": target});
    let items = json!({"items": [
        record("2015-02-28", "A", 2.0), record("2015-02-27", "A", 4.0), record("2015-12-31", "B", 7.0),
    ]});
    let results = ask(&scene, "STD_FORECAST/forecast", items).await["results"].clone();
    assert_eq!((&results[0]["forecast"], &results[0]["time"]), (&json!(3.0), &json!("2015-03-01T00:00:00Z")));
    assert_eq!(results[1]["timeseriesIdentifier"], json!({"timeseries_id": "B"}));
    assert_eq!((&results[1]["time"], results.as_array().unwrap().len()), (&json!("2016-01-01T00:00:00Z"), 2));

    let found = ask(&scene, "DATASETS_LOOKUP/lookup", json!({"data": {"id": "ab", "n": 3}})).await;
    assert_eq!(found["results"], json!([{"data": {"id": "ab", "n": 3, "score": 5.0}, "generation": "v1"}]));
    let found = ask(&scene, "DATASETS_LOOKUP/lookup-multi", json!({"items": [{"data": {"n": 1}}, {"data": {}}]})).await;
    assert_eq!(found["results"][1]["data"]["score"], 0.0);

    let table = ask(&scene, "SQL_QUERY/query", json!({"min": 3, "name": "x"})).await;
    assert_eq!(table["columns"][2]["name"], "generation");
    assert_eq!(table["rows"], json!([["3", "x", "v1"]]));
    for kind in ["PY_FUNCTION", "R_FUNCTION"] {
        // Parameters of any shape, also one of this name.
        let arguments = json!({"x": [1, {"y": null}], "dispatch": {"forcedGeneration": "v9"}});
        let answer = ask(&scene, &format!("{kind}/run"), arguments.clone()).await;
        assert_eq!(answer["response"], json!({"arguments": arguments, "generation": "v1"}));
    }
    let (status, answer) = scene.client.send(Method::POST, "/public/api/v1/s/PY_FUNCTION/run", None).await;
    assert_eq!((status, &answer["response"]["arguments"]), (StatusCode::OK, &json!({})), "no arguments, no body");
}

#[tokio::test]
async fn an_endpoint_knows_the_verbs_of_its_type_alone() {
    let scene = all_kinds().await;
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for kind in KINDS {
        for verb in [
            "predict",
            "predict-multi",
            "forecast",
            "predict-effect",
            "predict-effect-multi",
            "lookup",
            "lookup-multi",
            "query",
            "run",
            "explain",
        ] {
            // A verb that is known is answered, or refuses this body; one that is not known is not there.
            let (status, error) = scene.client.query(&format!("s/{kind}/{verb}"), &json!({})).await;
            if status != StatusCode::NOT_FOUND {
                known.entry(kind).or_default().insert(verb);
            } else {
                assert!(error["message"].as_str().unwrap().contains(kind), "{error}");
            }
        }
    }
    let wanted = |verbs: &[&'static str]| verbs.iter().copied().collect::<BTreeSet<_>>();
    for kind in KINDS {
        let verbs = match kind {
            "STD_FORECAST" => wanted(&["forecast"]),
            "STD_CAUSAL_PREDICTION" => wanted(&["predict-effect", "predict-effect-multi"]),
            "R_FUNCTION" | "PY_FUNCTION" => wanted(&["run"]),
            "DATASETS_LOOKUP" => wanted(&["lookup", "lookup-multi"]),
            "SQL_QUERY" => wanted(&["query"]),
            _ => wanted(&["predict", "predict-multi"]),
        };
        assert_eq!(known[kind], verbs, "{kind}");
    }
    for call in ["s/nothing/predict", "nobody/score/predict"] {
        assert_eq!(scene.client.query(call, &json!({"features": {}})).await.0, StatusCode::NOT_FOUND);
    }
    let posted = scene.client.query("s/score/predict-simple", &json!({})).await;
    assert_eq!(posted.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bad_queries_name_the_field() {
    let scene = all_kinds().await;
    let many: Vec<Value> = (0..10_001).map(|_| json!({"features": {}})).collect();
    for (call, body, says) in [
        ("score/predict", json!({}), "features is needed"),
        ("score/predict", json!({"features": [1]}), "features is no object"),
        ("score/predict", json!({"features": {"a": [1]}}), "feature a is no single value"),
        ("score/predict", json!({"features": {}, "explanations": true}), "explanations is no object"),
        ("score/predict", json!({"features": {}, "dispatch": "v1"}), "dispatch is no object"),
        ("score/predict", json!({"features": {}, "dispatch": {"dispatchKey": 7}}), "dispatch.dispatchKey is no text"),
        ("score/predict", json!([]), "no JSON object"),
        ("score/predict-multi", json!({"items": {}}), "items is no list"),
        ("score/predict-multi", json!({"items": [1]}), "items[] is no object"),
        ("score/predict-multi", json!({"items": [{}]}), "items[].features is needed"),
        ("score/predict-multi", json!({"items": many}), "more than 10000"),
        ("STD_FORECAST/forecast", json!({"items": [{"date": "yesterday", "target": 1}]}), "items[].date"),
        ("STD_FORECAST/forecast", json!({"items": [{"date": "2015-01-01T00:00:00Z"}]}), "items[].target"),
        ("DATASETS_LOOKUP/lookup", json!({"items": []}), "data is needed"),
    ] {
        let (status, error) = scene.client.query(&format!("s/{call}"), &body).await;
        let message = error["message"].as_str().unwrap();
        assert!(status == StatusCode::BAD_REQUEST && message.contains(says), "{call}: {status} {message}");
    }
    let text = scene.client.request(Method::POST, "/public/api/v1/s/score/predict").body("{\"features\":");
    assert_eq!(read(text).await.0, StatusCode::BAD_REQUEST);
    let metrics = scene.client.get("/admin/api/metrics").await;
    assert_eq!(metrics["services"]["s"]["endpoints"]["score"], json!({"answered": 0, "refused": 12}));
}

#[tokio::test]
async fn keys_of_a_service() {
    let scene = scene().await;
    scene.serve(&[ServiceSpec::new("s", "v1").keys(&["good-key", "other-key"])]).await;
    let body = json!({"features": {"a": 1}});
    for (key, wanted) in [(Some("good-key"), 200), (Some("other-key"), 200), (Some("bad-key"), 401), (None, 401)] {
        let client = scene.client.with_key(key);
        let (status, answer) = client.query("s/score/predict", &body).await;
        assert_eq!(status.as_u16(), wanted, "{key:?}: {answer}");
        let bearer = key
            .map(|key| client.with_key(None).request(Method::POST, "/public/api/v1/s/score/predict").bearer_auth(key));
        if let Some(bearer) = bearer {
            assert_eq!(read(bearer.body(body.to_string())).await.0.as_u16(), wanted);
        }
    }
    // An admin key is no key of the service, and nobody learns which endpoints there are.
    assert_eq!(scene.client.query("s/nothing/predict", &body).await.0, StatusCode::UNAUTHORIZED);
    let queries: Vec<_> = scene.node.calls().into_iter().filter(|call| call.path.starts_with("/public")).collect();
    assert_eq!(queries.iter().filter(|call| call.key == KeyKind::Service).count(), 4);
    let everything = format!("{}{}", serde_json::to_string(&queries).unwrap(), scene.node.snapshot());
    assert!(!everything.contains("good-key") && !everything.contains("bad-key"), "{everything}");
    assert_eq!(scene.node.snapshot()["services"]["s"]["generations"][0]["apiKeys"], 2);
}
