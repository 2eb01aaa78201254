//! What is otherwise on the node than it was when an update had verified it. Changes nothing.

use engine::failure::{Failure, StepError};

use super::{client::Api, goal::Goal, verify};
use crate::{
    codes,
    spec::{BundleContents, DeploySpec},
    target::{Difference, Receipt},
};

/// Reads everything back and compares it with the spec and its receipt. What the receipt says was otherwise then is no drift.
pub(super) async fn drift(
    api: &Api,
    spec: &DeploySpec,
    contents: &BundleContents,
    receipt: &Receipt,
) -> Result<Vec<Difference>, Failure> {
    let goal = Goal::receipt(spec, receipt);
    let now = verify::receipt_of(api, &spec.deployed_project_key, contents, &goal).await.map_err(failure)?;
    let known = |difference: &Difference| {
        receipt.differences.iter().any(|then| then.what == difference.what && then.found == difference.found)
    };
    let mut differences: Vec<_> = now.differences.iter().filter(|difference| !known(difference)).cloned().collect();
    let gone = |was: &str, there: &[crate::target::ReceiptItem]| there.iter().all(|item| item.id != was);
    for (kind, was, there) in
        [("scenario", &receipt.scenarios, &now.scenarios), ("web app", &receipt.webapps, &now.webapps)]
    {
        // A list that was cut short does not say that something is gone.
        if there.len() >= verify::MAX_LISTED {
            continue;
        }
        let lost = was.iter().filter(|item| gone(&item.id, there)).map(|item| format!("{kind} {}", item.id));
        let told: Vec<_> = lost.filter(|what| differences.iter().all(|one| one.what != *what)).collect();
        differences.extend(told.into_iter().map(|what| Difference {
            what,
            found: "not there".into(),
            wanted: "there".into(),
        }));
    }
    Ok(differences)
}

/// The failure of a look, which takes no attempt and no slot.
fn failure(error: StepError) -> Failure {
    match error {
        StepError::Retryable { failure, .. } | StepError::Permanent(failure) => failure,
        StepError::SlotTimeout { .. } | StepError::Cancelled | StepError::LeaseLost => {
            Failure::new(codes::NODE_ANSWER_UNEXPECTED, "The look at the node ended without an answer.")
        }
    }
}
