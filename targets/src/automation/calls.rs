//! The calls that the steps make, one function each. Objects that are written back stay whole: we know only a part of their keys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::client::{Api, As, id, list, object, unexpected};
use crate::{
    codes,
    http::{CallError, Effect, Upload},
    report::Report,
};

/// One item of the node's list of projects.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Project {
    pub(super) active_bundle: Option<String>,
    /// Everything that the node says about the active bundle: two different ones are two activations.
    pub(super) active_state: Value,
}

/// One item of a project's list of scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) active: bool,
    /// A run of it is under way.
    pub(super) running: bool,
    /// It is marked as a test.
    pub(super) test: bool,
}

/// A user of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) login: String,
    pub(super) enabled: bool,
}

/// A project from its bundle: how the node should do it.
pub(super) struct FromBundle<'a> {
    /// `NONE`, `READ_ONLY`, `ALL`.
    pub(super) permissions: &'a str,
    pub(super) folder: Option<&'a str>,
}

impl Api {
    /// The project of this key; None when the node has none.
    pub(super) async fn project(&self, key: &str) -> Result<Option<Project>, CallError> {
        let doing = "listing the projects";
        let all = list(self.get(&["projects", ""], doing).await?, doing)?;
        let found = all.into_iter().find(|item| item.get("projectKey").and_then(Value::as_str) == Some(key));
        Ok(found.map(|item| {
            let active_state = item.get("activeBundleState").cloned().unwrap_or_default();
            let active_bundle =
                active_state.get("bundleId").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
            Project { active_bundle, active_state }
        }))
    }

    /// The project, which must be there.
    pub(super) async fn existing_project(&self, key: &str) -> Result<Project, CallError> {
        self.project(key).await?.ok_or_else(|| {
            let message = format!(
                "The project {key} is not on the node (any more). Start the update again: it creates the project."
            );
            CallError::permanent(codes::PROJECT_MISSING, message, Effect::None)
        })
    }

    /// The ids of the bundles that the project has on the node.
    pub(super) async fn imported_bundles(&self, key: &str) -> Result<BTreeSet<String>, CallError> {
        let doing = "listing the imported bundles";
        let mut answer = self.get_object(&["projects", key, "bundles", "imported"], doing).await?;
        let bundles = match answer.remove("bundles") {
            None | Some(Value::Null) => Vec::new(),
            Some(bundles) => list(bundles, doing)?,
        };
        bundles.iter().map(|item| id(item, "bundleId", doing)).collect()
    }

    pub(super) async fn create_project(&self, key: &str, folder: Option<&str>, owner: &str) -> Result<(), CallError> {
        let query: Vec<_> = folder.map(|folder| ("projectFolderId", folder)).into_iter().collect();
        let body = json!({"projectKey": key, "name": key, "owner": owner});
        self.create(&["projects", ""], &query, body, "creating the project").await
    }

    pub(super) async fn create_project_from_bundle(
        &self,
        how: &FromBundle<'_>,
        upload: Upload,
    ) -> Result<(), CallError> {
        // Users and groups that the node does not have are reported, not a reason to fail.
        let mut query =
            vec![("permissionsPropagationPolicy", how.permissions), ("failOnMissingUsersOrGroups", "False")];
        query.extend(how.folder.map(|folder| ("projectFolderId", folder)));
        self.upload(&["projectsFromBundle", ""], &query, upload, "creating the project from the bundle").await
    }

    pub(super) async fn import_bundle(&self, key: &str, upload: Upload) -> Result<(), CallError> {
        let path = ["projects", key, "bundles", "imported", "actions", "importFromStream"];
        self.upload(&path, &[], upload, "importing the bundle").await
    }

    pub(super) async fn preload(&self, key: &str, bundle: &str) -> Result<Report, CallError> {
        let path = ["projects", key, "bundles", "imported", bundle, "actions", "preload"];
        Ok(Report::read(&self.blocking(&path, None, "preloading the bundle").await?, &|text| self.clean(text)))
    }

    /// Activates with every one of `off` switched off.
    pub(super) async fn activate(&self, key: &str, bundle: &str, off: &BTreeSet<String>) -> Result<Report, CallError> {
        let path = ["projects", key, "bundles", "imported", bundle, "actions", "activate"];
        let switches: Map<_, _> = off.iter().map(|id| (id.clone(), Value::Bool(false))).collect();
        let body = if switches.is_empty() { json!({}) } else { json!({"scenariosActiveOnActivation": switches}) };
        Ok(Report::read(&self.blocking(&path, Some(body), "activating the bundle").await?, &|text| self.clean(text)))
    }

    pub(super) async fn settings(&self, key: &str) -> Result<Map<String, Value>, CallError> {
        self.get_object(&["projects", key, "settings"], "reading the project's settings").await
    }

    pub(super) async fn put_settings(&self, key: &str, settings: Map<String, Value>) -> Result<(), CallError> {
        self.put(&["projects", key, "settings"], As::Actor, settings.into(), "writing the project's settings").await
    }

    pub(super) async fn variables(&self, key: &str) -> Result<Map<String, Value>, CallError> {
        self.get_object(&["projects", key, "variables", ""], "reading the project's variables").await
    }

    pub(super) async fn put_variables(&self, key: &str, variables: Map<String, Value>) -> Result<(), CallError> {
        self.put(&["projects", key, "variables", ""], As::Actor, variables.into(), "writing the project's variables")
            .await
    }

    pub(super) async fn permissions(&self, key: &str) -> Result<Map<String, Value>, CallError> {
        self.get_object(&["projects", key, "permissions"], "reading the project's permissions").await
    }

    pub(super) async fn put_permissions(&self, key: &str, permissions: Map<String, Value>) -> Result<(), CallError> {
        self.put(&["projects", key, "permissions"], As::Admin, permissions.into(), "writing the project's permissions")
            .await
    }

    pub(super) async fn scenarios(&self, key: &str) -> Result<Vec<Scenario>, CallError> {
        let doing = "listing the scenarios";
        let items = list(self.get(&["projects", key, "scenarios", ""], doing).await?, doing)?;
        let read = |item: &Value| {
            let is = |key: &str| item.get(key).and_then(Value::as_bool).unwrap_or_default();
            let name = item.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned);
            Ok(Scenario {
                id: id(item, "id", doing)?,
                name,
                active: is("active"),
                running: is("running"),
                test: is("markedAsTest"),
            })
        };
        items.iter().map(read).collect()
    }

    pub(super) async fn scenario(&self, key: &str, scenario: &str) -> Result<Map<String, Value>, CallError> {
        self.get_object(&["projects", key, "scenarios", scenario], "reading a scenario").await
    }

    pub(super) async fn put_scenario(
        &self,
        key: &str,
        scenario: &str,
        definition: Map<String, Value>,
    ) -> Result<(), CallError> {
        self.put(
            &["projects", key, "scenarios", scenario],
            As::Admin,
            definition.into(),
            "writing a scenario's run-as user",
        )
        .await
    }

    /// Switches a scenario, touching nothing else.
    pub(super) async fn switch_scenario(&self, key: &str, scenario: &str, on: bool) -> Result<(), CallError> {
        let path = ["projects", key, "scenarios", scenario, "light"];
        let mut light = self.get_object(&path, "reading a scenario's switch").await?;
        light.insert("active".to_owned(), Value::Bool(on));
        self.put(&path, As::Actor, light.into(), "switching a scenario").await
    }

    /// The ids of the project's web apps.
    pub(super) async fn webapps(&self, key: &str) -> Result<Vec<String>, CallError> {
        let doing = "listing the web apps";
        let items = list(self.get(&["projects", key, "webapps", ""], doing).await?, doing)?;
        items.iter().map(|item| id(item, "id", doing)).collect()
    }

    pub(super) async fn webapp(&self, key: &str, webapp: &str) -> Result<Map<String, Value>, CallError> {
        self.get_object(&["projects", key, "webapps", webapp], "reading a web app").await
    }

    pub(super) async fn put_webapp(
        &self,
        key: &str,
        webapp: &str,
        definition: Map<String, Value>,
    ) -> Result<(), CallError> {
        self.put(&["projects", key, "webapps", webapp], As::Admin, definition.into(), "writing a web app's run-as user")
            .await
    }

    pub(super) async fn backend_state(&self, key: &str, webapp: &str) -> Result<Value, CallError> {
        self.get(&["projects", key, "webapps", webapp, "backend", "state"], "reading a web app's state").await
    }

    pub(super) async fn restart_backend(&self, key: &str, webapp: &str) -> Result<(), CallError> {
        let path = ["projects", key, "webapps", webapp, "backend", "actions", "restart"];
        self.put_action(&path, As::Admin, "restarting a web app's backend").await
    }

    pub(super) async fn stop_backend(&self, key: &str, webapp: &str) -> Result<(), CallError> {
        let path = ["projects", key, "webapps", webapp, "backend", "actions", "stop"];
        self.put_action(&path, As::Admin, "stopping a web app's backend").await
    }

    /// Name and type of every connection.
    pub(super) async fn connections(&self) -> Result<BTreeMap<String, String>, CallError> {
        let doing = "listing the connections";
        let all = object(self.get(&["admin", "connections", ""], doing).await?, doing)?;
        let kind = |value: &Value| {
            value.get("type").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| unexpected(doing))
        };
        all.iter().map(|(name, value)| Ok((name.clone(), kind(value)?))).collect()
    }

    /// The names of the code envs, whatever their language.
    pub(super) async fn code_envs(&self) -> Result<BTreeSet<String>, CallError> {
        let doing = "listing the code envs";
        let items = list(self.get(&["admin", "code-envs", ""], doing).await?, doing)?;
        items.iter().map(|item| id(item, "envName", doing)).collect()
    }

    pub(super) async fn users(&self) -> Result<Vec<User>, CallError> {
        let doing = "listing the users";
        let items = list(self.get(&["admin", "users", ""], doing).await?, doing)?;
        let read = |item: &Value| {
            let enabled = item.get("enabled").and_then(Value::as_bool).unwrap_or(true);
            Ok(User { login: id(item, "login", doing)?, enabled })
        };
        items.iter().map(read).collect()
    }

    pub(super) async fn groups(&self) -> Result<BTreeSet<String>, CallError> {
        let doing = "listing the groups";
        let items = list(self.get(&["admin", "groups", ""], doing).await?, doing)?;
        items.iter().map(|item| id(item, "name", doing)).collect()
    }
}

/// Whether a web app's backend runs.
pub(super) fn is_running(state: &Value) -> bool {
    state.pointer("/futureInfo/alive").and_then(Value::as_bool).unwrap_or_default()
}
