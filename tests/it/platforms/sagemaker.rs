//! Amazon SageMaker's practice double: a service from its upload to its deletion.

use sandbox::sagemaker::SageMaker;
use serde_json::json;
use tests::{Fleet, Size, scratch::Scratch};

use super::versions;
use crate::rest::script;

const KEY_ID: &str = "AKIAPRACTICE00000001";
const SECRET: &str = "a-secret-key-of-the-cloud";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_sagemaker() {
    let cloud = SageMaker::start("127.0.0.1:0".parse().unwrap(), "eu-west-1", KEY_ID, SECRET).await.unwrap();
    cloud.set_slowness(1);
    cloud.add_repository("team/services");
    let base = cloud.add_base_image("base/node", "1");
    let scratch = Scratch::new("sagemaker");
    // The binary of a build with debug information would take most of the test's time on its way into the image; nobody starts it here.
    std::fs::write(scratch.at("front"), "a front").unwrap();
    let fleet = Fleet::of(Size::Fleet).set("SLIPWAY_TARGETS_FRONT", scratch.at("front")).start().await;
    let reason = "the model server ran out of memory";
    let told = json!({
        "cloud": cloud.url(), "key_id": KEY_ID, "secret": SECRET, "base": base, "versions": versions(&scratch),
        "outsider": fleet.user("outsider", &[]).key(), "reason": reason,
    });
    for part in ["deploy", "fails", "delete"] {
        if part == "fails" {
            cloud.fail_next_change(reason);
        }
        let mut told = told.clone();
        told["part"] = part.into();
        script("../platforms/sagemaker.py", &fleet, told).await;
    }
    let left = cloud.effects();
    for kind in ["endpoints", "configs", "models"] {
        assert_eq!(left[kind], json!({}), "{kind} stay after the deployment was deleted: {left}");
    }
    let told = fleet.logs();
    assert!(!told.contains(SECRET), "a log holds the secret");
}
