//! Platforms of containers through the whole product: Dataiku's client asks the API, workers do it, and the platform says what became of it. The targets' own tests
//! look at each step; these look at what lies between: settings and their secrets, connections, the journal, what a caller reads.

#[path = "../../targets/tests/it/k8s/fields.rs"]
mod fields;
#[path = "../../targets/tests/it/k8s/hand.rs"]
mod hand;
#[path = "../../targets/tests/it/k8s/plane.rs"]
mod plane;

#[path = "../../targets/tests/it/images.rs"]
#[expect(dead_code, reason = "the targets' own tests use the rest")]
mod repository;

#[path = "../../targets/tests/it/k8s/standin.rs"]
#[expect(dead_code, reason = "the targets' own tests use the rest")]
mod standin;

mod clouds;
mod cluster;
mod k8s;
#[expect(dead_code, reason = "the targets' own tests use the rest")]
mod snowflake;

use sandbox::{ServiceSpec, sample_service};
use serde_json::json;
use tests::scratch::Scratch;

/// Versions `v1` and `v2` of a service `fraud`, with two endpoints, as files by their name.
fn versions(scratch: &Scratch) -> serde_json::Value {
    let write = |id: &str| {
        let path = scratch.at(&format!("fraud-{id}.zip"));
        let mut spec = ServiceSpec::new("fraud", id);
        let endpoints = ["score", "explain"].map(|endpoint| {
            json!({"id": endpoint, "type": "STD_PREDICTION", "testQueries": [{"q": {"features": {"a": 2}}}]})
        });
        spec.more.insert("endpoints".to_owned(), json!(endpoints));
        std::fs::write(&path, sample_service(&spec)).unwrap();
        path
    };
    json!({"v1": write("v1"), "v2": write("v2")})
}
