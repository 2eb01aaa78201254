//! Step `push_bundle`: the image of this version is in the registry, by digest.

use engine::failure::{Failure, StepOutcome, StepResult};

use super::{K8s, notes};
use crate::{codes, target::Work};

pub(super) async fn push(_k8s: &K8s, work: &Work<'_>) -> StepResult {
    if notes::read::<notes::Image>(work.run, notes::IMAGE).is_some() {
        return Ok(StepOutcome::done());
    }
    Err(Failure::new(codes::K8S_OBJECT_MISSING, "No image.").permanent())
}
