//! What an update would change, found by reading alone. The image's digest is known only once it is made, so what it holds is compared by version.

use std::collections::BTreeSet;

use engine::failure::{Failure, StepError};
use serde_json::{Map, Value, json};

use super::{
    reading::{self, Reading, Served},
    session::Place,
    settings::reserved_tag,
    validate,
};
use crate::{
    aws::AwsError,
    managed::found_of,
    target::{Difference, Preview, Problem},
};

pub(super) async fn preview(place: &Place<'_>) -> Result<Preview, StepError> {
    let problems = validate::problems(place).await?;
    let reading = reading::read(place).await?;
    let problem = |problem: Failure| Problem { code: problem.code.to_string(), message: problem.message };
    Ok(Preview {
        active_bundle: reading.shares.first().map(|share| share.version.clone()),
        bundle: place.spec.package.bundle_id.clone(),
        creates_project: reading.endpoint.is_none(),
        changes: changes(place, &reading).await?,
        problems: problems.into_iter().map(problem).collect(),
        ..Preview::default()
    })
}

async fn changes(place: &Place<'_>, reading: &Reading) -> Result<Vec<Difference>, AwsError> {
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
    for version in reading.replaced(place) {
        let found = json!("another, which somebody made: the update will be refused");
        compare(format!("the model of version {version}"), found, json!("as it was deployed"));
    }
    let capture = reading.config.as_ref().and_then(|config| config.data_capture_config.as_ref());
    let captures = capture.is_some_and(|capture| capture.get("EnableCapture") != Some(&Value::Bool(false)));
    let captured = place.data_capture();
    compare("data capture".to_owned(), json!(captures), json!(captured.is_some()));
    let Some(config) = &reading.config else { return Ok(changes) };
    // The configuration's name says its content: where it is the same, so is all that it was made of.
    let goal = reading.goal(place);
    let now = reading.endpoint.as_ref().and_then(|endpoint| endpoint.config.as_deref());
    if now == Some(&*goal.config.name) {
        return Ok(changes);
    }
    for (version, made) in place.service.versions.iter().zip(&goal.models) {
        let of = |served: &&Served| served.version == place.clean(&version.version);
        if let Some(served) = reading.served.iter().find(of) {
            changes.extend(of_model(place, served, &made.body));
        }
    }
    let wanted = &goal.config.body;
    let there = json!(place.account.tags(&config.arn).await?);
    let tags = tags(&wanted["Tags"]);
    let kept = wanted["DataCaptureConfig"].as_object().filter(|_| captures);
    for (what, found, wanted) in [
        ("the key of the machines' disks", json!(config.kms_key_id), wanted["KmsKeyId"].clone()),
        ("the tags", found_of(&there, &tags).into(), tags.into()),
        ("what data capture keeps", kept.and_then(|kept| Some(found_of(capture?, kept))).into(), json!(kept)),
    ] {
        let found = place.clean_all(found);
        if found != wanted {
            changes.push(Difference { what: what.to_owned(), found, wanted });
        }
    }
    if changes.is_empty() {
        let what = "the settings of models and endpoint".to_owned();
        changes.push(Difference { what, found: json!("as deployed"), wanted: json!("as set now") });
    }
    Ok(changes)
}

/// Where a version's model and variant are not as they are to be. Values of variables may be somebody's secret: names tell enough.
fn of_model(place: &Place<'_>, served: &Served, wanted: &Value) -> Vec<Difference> {
    let Some(model) = &served.model else { return Vec::new() };
    let mut changes = Vec::new();
    let mut compare = |what: &str, found: Value, wanted: Value| {
        let found = place.clean_all(found);
        if found != wanted {
            let what = format!("{what} of version {}", served.version);
            changes.push(Difference { what, found, wanted });
        }
    };
    compare("the execution role", json!(model.execution_role_arn), wanted["ExecutionRoleArn"].clone());
    compare("the VPC", sorted(model.vpc_config.as_ref()), sorted(wanted.get("VpcConfig")));
    let seconds = served.variant.container_startup_health_check_timeout_in_seconds;
    compare("the seconds to start", json!(seconds), json!(place.startup_seconds()));
    let variables = model.primary_container.clone().unwrap_or_default().environment;
    let found = json!(variables);
    let wanted = &wanted["PrimaryContainer"]["Environment"];
    let names = |of: &Value| of.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let changed: BTreeSet<_> =
        names(&found).into_iter().chain(names(wanted)).filter(|name| found.get(name) != wanted.get(name)).collect();
    if !changed.is_empty() {
        compare("environment variables", json!(changed), json!("as the settings say"));
    }
    changes
}

/// A VPC, however its lists are ordered.
fn sorted(vpc: Option<&Value>) -> Value {
    let list = |key: &str| {
        let all = vpc.and_then(|vpc| vpc.get(key)?.as_array());
        all.into_iter().flatten().filter_map(Value::as_str).collect::<BTreeSet<_>>()
    };
    json!({"subnets": list("Subnets"), "securityGroupIds": list("SecurityGroupIds")})
}

/// Those that settings make: the platform's and ours say nothing to anybody.
fn tags(all: &Value) -> Map<String, Value> {
    let pair = |tag: &Value| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].clone()));
    all.as_array().into_iter().flatten().filter_map(pair).filter(|(name, _)| !reserved_tag(name)).collect()
}
