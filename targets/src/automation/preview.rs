//! What an update would change, found by reading alone.

use std::collections::BTreeSet;

use engine::failure::Failure;
use serde_json::{Value, json};

use super::{
    activate::RUN_AS_USER,
    client::Api,
    container::{Container, Found},
    validate,
};
use crate::{
    http::CallError,
    spec::{BundleContents, DeploySpec},
    target::{Difference, Preview},
};

pub(super) async fn preview(api: &Api, spec: &DeploySpec, contents: &BundleContents) -> Result<Preview, Failure> {
    let key = spec.deployed_project_key.as_str();
    let project = api.project(key).await?;
    let found = validate::look(api, spec, contents).await?;
    let mut preview = Preview {
        active_bundle: project
            .as_ref()
            .and_then(|project| project.active_bundle.as_deref())
            .map(|bundle| api.clean(bundle)),
        bundle: spec.package.bundle_id.clone(),
        creates_project: project.is_none(),
        connections: found.connections,
        code_envs: found.code_envs,
        problems: found.problems,
        ..Preview::default()
    };
    let mut settings = Found::default();
    if project.is_some() {
        settings = Found::read(&api.settings(key).await?);
        on_node(api, spec, &mut preview).await?;
    }
    Container::of(spec).compare(&settings, &mut |what, found, wanted| {
        let what = api.clean(&what);
        preview.remapping.push(Difference { what, found: api.clean_value(&found), wanted: api.clean_value(&wanted) });
    });
    new_in_bundle(api, spec, contents, &mut preview, project.is_some()).await?;
    Ok(preview)
}

/// Scenarios and web apps that are there.
async fn on_node(api: &Api, spec: &DeploySpec, preview: &mut Preview) -> Result<(), CallError> {
    let (key, infrastructure) = (spec.deployed_project_key.as_str(), &spec.infrastructure);
    for scenario in api.scenarios(key).await? {
        let shown = api.clean(&scenario.id);
        if let Some(wanted) = spec.switch(&scenario.id).filter(|on| *on != scenario.active) {
            preview.scenarios.push(Difference {
                what: format!("scenario {shown}"),
                found: json!(scenario.active),
                wanted: json!(wanted),
            });
        }
        if let Some(user) = &infrastructure.run_as_scenarios {
            let found = api.scenario(key, &scenario.id).await?.remove(RUN_AS_USER);
            push_run_as(api, preview, format!("scenario {shown}"), found, user);
        }
    }
    if let Some(user) = &infrastructure.run_as_webapps {
        for id in api.webapps(key).await? {
            let found = api.webapp(key, &id).await?.remove(&api.webapp_run_as_field);
            push_run_as(api, preview, format!("web app {}", api.clean(&id)), found, user);
        }
    }
    Ok(())
}

fn push_run_as(api: &Api, preview: &mut Preview, what: String, found: Option<Value>, wanted: &str) {
    let found = found.unwrap_or_default();
    if found.as_str() != Some(wanted) {
        preview.run_as.push(Difference { what, found: api.clean_value(&found), wanted: json!(wanted) });
    }
}

/// Scenarios and web apps that the bundle brings.
async fn new_in_bundle(
    api: &Api,
    spec: &DeploySpec,
    contents: &BundleContents,
    preview: &mut Preview,
    exists: bool,
) -> Result<(), CallError> {
    let key = spec.deployed_project_key.as_str();
    let (mut scenarios, mut webapps) = (BTreeSet::new(), BTreeSet::new());
    if exists {
        scenarios.extend(api.scenarios(key).await?.into_iter().map(|scenario| scenario.id));
        webapps.extend(api.webapps(key).await?);
    }
    for scenario in contents.scenarios.iter().filter(|scenario| !scenarios.contains(&scenario.id)) {
        let what = format!("scenario {}", scenario.id);
        if spec.switch(&scenario.id) == Some(true) {
            preview.scenarios.push(Difference { what: what.clone(), found: Value::Null, wanted: json!(true) });
        }
        if let Some(user) = &spec.infrastructure.run_as_scenarios {
            push_run_as(api, preview, what, None, user);
        }
    }
    if let Some(user) = &spec.infrastructure.run_as_webapps {
        for webapp in contents.webapps.iter().filter(|webapp| !webapps.contains(&webapp.id)) {
            push_run_as(api, preview, format!("web app {}", webapp.id), None, user);
        }
    }
    Ok(())
}
