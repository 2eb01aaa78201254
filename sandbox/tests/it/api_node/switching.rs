//! Which generation answers: by probability, by key, by force; and while it is switched under a hail of queries.

use super::client::{Scene, scene};
use reqwest::{Method, StatusCode};
use sandbox::ServiceSpec;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

async fn mapped(shares: &[(&str, f64)]) -> Scene {
    let scene = scene().await;
    for (generation, _) in shares {
        scene.import(&ServiceSpec::new("s", generation)).await;
    }
    map(&scene, shares).await;
    scene
}

async fn map(scene: &Scene, shares: &[(&str, f64)]) {
    let entries: Vec<Value> = shares.iter().map(|(id, proba)| json!({"generation": id, "proba": proba})).collect();
    scene.client.post("/admin/api/services/s/actions/setMapping", Some(&json!({"entries": entries}))).await;
}

async fn who(scene: &Scene, dispatch: Value) -> String {
    let body = json!({"features": {"a": 1}, "dispatch": dispatch});
    let (status, answer) = scene.client.query("s/score/predict", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["result"]["generation"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn queries_are_spread_by_probability() {
    let shares = [("v1", 0.2), ("v2", 0.5), ("v3", 0.3), ("v4", 0.0)];
    let scene = mapped(&shares).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..300 {
        *counts.entry(who(&scene, Value::Null).await).or_default() += 1;
    }
    for (generation, proba) in shares {
        let (count, wanted) = (f64::from(counts.get(generation).copied().unwrap_or(0)), proba * 300.0);
        assert!((count - wanted).abs() <= 6.0, "{counts:?}");
    }
    assert!(!counts.contains_key("v4"), "a share of 0 is none");
    assert_eq!(who(&scene, json!({"forcedGeneration": "v4"})).await, "v4", "but it may be forced");
}

#[tokio::test]
async fn a_key_stays_with_its_generation() {
    let scene = mapped(&[("v1", 0.5), ("v2", 0.5)]).await;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..40 {
        let dispatch = json!({"dispatchKey": format!("customer-{number}")});
        let first = who(&scene, dispatch.clone()).await;
        for _ in 0..3 {
            assert_eq!(who(&scene, dispatch.clone()).await, first);
        }
        *seen.entry(first).or_default() += 1;
    }
    assert!(seen.len() == 2 && seen.values().all(|count| *count > 8), "{seen:?}");
    // Who was in the part that grows stays there.
    let dispatch = |number: u32| json!({"dispatchKey": format!("customer-{number}")});
    let mut before = Vec::new();
    for number in 0..40 {
        before.push(who(&scene, dispatch(number)).await);
    }
    map(&scene, &[("v1", 0.8), ("v2", 0.2)]).await;
    for (number, before) in (0..40).zip(before) {
        let now = who(&scene, dispatch(number)).await;
        assert!(before != "v1" || now == "v1", "customer-{number}");
    }
}

#[tokio::test]
async fn only_what_is_mapped_can_be_forced() {
    let scene = mapped(&[("v1", 0.9), ("v2", 0.1)]).await;
    for generation in ["v1", "v2"] {
        for _ in 0..5 {
            assert_eq!(who(&scene, json!({"forcedGeneration": generation, "dispatchKey": null})).await, generation);
        }
    }
    scene.client.post("/admin/api/services/s/actions/switchTo/v2", None).await;
    let body = json!({"features": {"a": 1}, "dispatch": {"forcedGeneration": "v1"}});
    let (status, error) = scene.client.query("s/score/predict", &body).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_loses_no_query() {
    let scene = Arc::new(scene().await);
    for generation in ["v1", "v2", "v3"] {
        scene.import(&ServiceSpec::new("s", generation)).await;
    }
    scene.client.post("/admin/api/services/s/actions/switchTo/v1", None).await;
    let over = Arc::new(AtomicBool::new(false));
    let hail: Vec<_> = (0..8)
        .map(|_| {
            let (scene, over) = (Arc::clone(&scene), Arc::clone(&over));
            tokio::spawn(async move {
                let mut seen: BTreeMap<String, u32> = BTreeMap::new();
                while !over.load(Ordering::SeqCst) {
                    *seen.entry(who(&scene, Value::Null).await).or_default() += 1;
                }
                seen
            })
        })
        .collect();
    for _ in 0..8 {
        for generation in ["v2", "v3", "v1"] {
            // What a deployment does: what is not mapped goes, and comes back, while the others answer.
            scene.client.post(&format!("/admin/api/services/s/actions/switchTo/{generation}"), None).await;
            let (status, _) = scene.client.send(Method::DELETE, "/admin/api/services-clean-unused", None).await;
            assert_eq!(status, StatusCode::OK);
            for generation in ["v1", "v2", "v3"] {
                scene.import(&ServiceSpec::new("s", generation)).await;
            }
            map(&scene, &[("v1", 0.5), ("v2", 0.25), ("v3", 0.25)]).await;
        }
    }
    over.store(true, Ordering::SeqCst);
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for task in hail {
        for (generation, count) in task.await.unwrap() {
            *seen.entry(generation).or_default() += count;
        }
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["v1", "v2", "v3"]);
    let metrics = scene.client.get("/admin/api/metrics").await["services"]["s"]["endpoints"]["score"].clone();
    assert_eq!(metrics, json!({"answered": seen.values().sum::<u32>(), "refused": 0}));
}
