//! Step `enforce_run_as`: what runs must run under the service account of the settings, and read the keys that say who may call. The activation carries both; this
//! step looks.

use engine::failure::{Failure, StepOutcome, StepResult};
use serde_json::Value;

use super::{
    K8s,
    manifests::pods,
    place::{Place, image},
    verify::gone,
};
use crate::{codes, target::Work};

pub(super) async fn enforce(k8s: &K8s, work: &Work<'_>) -> StepResult {
    let place = Place::of_work(k8s, work).await?;
    let live = place.deployment().await?.ok_or_else(|| gone(&place))?;
    let (wanted, _) = pods::template(&place.goal, &image(work.run)?);
    let parts = [("service account", "/spec/serviceAccountName"), ("variables and keys", "/spec/containers/0/envFrom")];
    for (what, pointer) in parts {
        let found = live.pointer(&format!("/spec/template{pointer}")).unwrap_or(&Value::Null);
        if found != wanted.pointer(pointer).unwrap_or(&Value::Null) {
            let message = format!(
                "The Pods have another {what} than the settings say: somebody else changed the {}.",
                place.deployment_id()
            );
            return Err(Failure::new(codes::K8S_FIELD_CONFLICT, message).permanent());
        }
    }
    Ok(StepOutcome::done())
}
