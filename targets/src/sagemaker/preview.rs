//! What an update would change, found by reading alone. The image's digest is known only once it is made, so what it holds is compared by version.

use engine::failure::{Failure, StepError};
use serde_json::{Value, json};

use super::{
    reading::{self, Reading},
    session::Place,
    validate,
};
use crate::target::{Difference, Preview, Problem};

pub(super) async fn preview(place: &Place<'_>) -> Result<Preview, StepError> {
    let problems = validate::problems(place).await?;
    let reading = reading::read(place).await?;
    let problem = |problem: Failure| Problem { code: problem.code.to_string(), message: problem.message };
    Ok(Preview {
        active_bundle: reading.shares.first().map(|share| share.version.clone()),
        bundle: place.spec.package.bundle_id.clone(),
        creates_project: reading.endpoint.is_none(),
        changes: changes(place, &reading),
        problems: problems.into_iter().map(problem).collect(),
        ..Preview::default()
    })
}

fn changes(place: &Place<'_>, reading: &Reading) -> Vec<Difference> {
    let mut changes = Vec::new();
    let mut compare = |what: String, found: Value, wanted: Value| {
        if found != wanted {
            changes.push(Difference { what, found, wanted });
        }
    };
    let there = reading.endpoint.as_ref().map(|_| place.names.endpoint.as_str());
    compare("the endpoint".to_owned(), json!(there), json!(place.names.endpoint));
    for wanted in place.wanted() {
        let found = reading.shares.iter().find(|share| share.version == wanted.version);
        let found = found.map(|share| (share.probability * 10_000.0).round() / 10_000.0);
        let rounded = (wanted.probability * 10_000.0).round() / 10_000.0;
        compare(format!("the share of version {}", wanted.version), json!(found), json!(rounded));
    }
    for gone in reading.shares.iter().filter(|share| place.wanted().iter().all(|one| one.version != share.version)) {
        compare(format!("the share of version {}", gone.version), json!(gone.probability), Value::Null);
    }
    for served in &reading.served {
        let kind = served.variant.instance_type.as_deref().map(|kind| place.clean(kind));
        compare(format!("the instance type of version {}", served.version), json!(kind), json!(place.instance_type()));
        let count = served.variant.initial_instance_count;
        compare(format!("the instances of version {}", served.version), json!(count), json!(place.instance_count()));
    }
    let capture = reading.config.as_ref().and_then(|config| config.data_capture_config.as_ref());
    let captures = capture.is_some_and(|capture| capture.get("EnableCapture") != Some(&Value::Bool(false)));
    compare("data capture".to_owned(), json!(captures), json!(place.data_capture().is_some()));
    changes
}
