//! What tests ask for again and again, in GraphQL as a client writes it. Ids are written into the documents: variables would fix their types.

use std::time::Duration;

use sandbox::{BundleSpec, RunningNode, sample_bundle};
use serde_json::{Value, json};

use crate::{
    client::Client,
    practice,
    until::{PATIENCE, until},
};

/// All of an update that tests look at.
pub const UPDATE: &str = "id number status deploymentId bundleId deployedProjectKey requester actingUser retryOf lastSeq cancelRequestedBy warnings
  requestedAt startedAt endedAt hooks { pre post } failure { code message detail }
  waitingOn { kind pool position since deadline holders { visible { updateId deploymentId } hidden } }
  steps { index name kind status maxAttempts hookName warnings startedAt endedAt
    attempts { number startedAt endedAt retried lapses failure { code message detail }
      slot { pool since grantedAt timedOutAt deadline holders { visible { updateId deploymentId } hidden } } } }
  receipt { projectKey bundle connections { source target wantedType foundType } scenarios { id runAs active } webapps { id runAs active }
    differences { what found wanted } }";

/// All of an event.
pub const EVENT: &str =
    "seq at kind step stepName attempt status retried waitMs pool by warnings failure { code message }
  holders { visible { updateId deploymentId } hidden }";

/// All of a log line.
pub const LINE: &str = "seq at step attempt stream adminsOnly line";

/// Why nothing was done.
pub const REFUSALS: &str = "refusals { code field message }";

/// A text as a document writes it.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Client {
    /// The first field of the answer to a document; with `refusals`, they must be empty.
    ///
    /// # Panics
    /// When it is refused, or an error.
    pub async fn ask(&self, document: &str, variables: Value) -> Value {
        let mut data = self.graphql(document, variables).await;
        let field = data.as_object_mut().and_then(|data| data.values_mut().next()).map(Value::take);
        let field = field.expect("an answer has a field");
        let none = field.get("refusals").and_then(Value::as_array).is_none_or(Vec::is_empty);
        assert!(none, "refused: {:#}\n{document}", field["refusals"]);
        field
    }

    /// The payload of a mutation such as `deleteBundle(...)`.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn tell(&self, call: &str, fields: &str) -> Value {
        self.ask(&format!("mutation {{ {call} {{ {fields} {REFUSALS} }} }}"), json!({})).await
    }

    /// Code and field of each refusal of a mutation.
    ///
    /// # Panics
    /// When it is an error, or answers no refusals.
    pub async fn refused(&self, document: &str, variables: Value) -> Vec<(String, String)> {
        let data = self.graphql(document, variables).await;
        let field = data.as_object().and_then(|data| data.values().next()).expect("an answer has a field");
        let refusals = field["refusals"].as_array().unwrap_or_else(|| panic!("no refusals: {field:#}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        refusals.iter().map(|refusal| (text(&refusal["code"]), text(&refusal["field"]))).collect()
    }

    /// An infrastructure that leads to `url` under `key`; `settings` are laid over those that suit the practice node and the sample bundle.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn infrastructure_at(&self, id: &str, url: &str, key: &str, settings: Value) -> Value {
        let mut all = json!({
            "nodeUrl": url,
            "connectionRemapping": [
                {"source": "sql-dev", "target": "sql-prod"}, {"source": "files-dev", "target": "files-prod"},
            ],
            "deployAsUser": "deployer", "runAsScenarios": "runner", "runAsWebapps": "runner",
        });
        if let (Value::Object(all), Value::Object(settings)) = (&mut all, settings) {
            all.extend(settings);
        }
        let input = json!({"id": id, "stage": "Test", "adminKey": key, "settings": all});
        let document = format!(
            "mutation($input: CreateInfrastructureInput!) {{ createInfrastructure(input: $input) {{
               infrastructure {{ id version stage nodeUrl hasAdminKey level }} {REFUSALS} }} }}"
        );
        self.ask(&document, json!({"input": input})).await["infrastructure"].take()
    }

    /// An infrastructure that leads to a practice node.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn infrastructure(&self, id: &str, node: &RunningNode, settings: Value) -> Value {
        self.infrastructure_at(id, &node.url(), practice::NODE_KEY, settings).await
    }

    /// Changes an infrastructure's settings.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn change_infrastructure(&self, id: &str, settings: Value) {
        let seen = self.ask(&format!("{{ infrastructure(id: {}) {{ version }} }}", quoted(id)), json!({})).await;
        let input = json!({"id": id, "expectedVersion": seen["version"], "settings": settings});
        let document = format!(
            "mutation($input: UpdateInfrastructureInput!) {{ updateInfrastructure(input: $input) {{ infrastructure {{ id }} {REFUSALS} }} }}"
        );
        self.ask(&document, json!({"input": input})).await;
    }

    /// Sets all hooks of a phase (`PRE`, `POST`); each is a `HookInput`.
    ///
    /// # Panics
    /// When they are refused.
    pub async fn set_hooks(&self, infrastructure: &str, phase: &str, hooks: Value) -> Value {
        let id = quoted(infrastructure);
        let seen = self.ask(&format!("{{ infrastructure(id: {id}) {{ version }} }}"), json!({})).await;
        let version = &seen["version"];
        let document = format!(
            "mutation($hooks: [HookInput!]!) {{ setHooks(infrastructureId: {id}, phase: {phase}, hooks: $hooks, expectedVersion: {version}) {{
               hooks {{ id name phase position code enabled deadlineMs onInterrupt }} {REFUSALS} }} }}"
        );
        self.ask(&document, json!({"hooks": hooks})).await["hooks"].take()
    }

    /// Uploads a sample bundle.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn bundle(&self, spec: &BundleSpec) -> Value {
        self.upload(sample_bundle(spec)).await
    }

    /// Infrastructure `production` on this node, bundle v1 of CHURN, and a deployment of it for each id, under the id in capitals.
    ///
    /// # Panics
    /// When something is refused.
    pub async fn deployments(&self, node: &RunningNode, ids: &[&str]) {
        self.infrastructure("production", node, json!({})).await;
        self.bundle(&BundleSpec::new("CHURN", "v1")).await;
        for id in ids {
            self.deployment(id, "production", ("CHURN", "v1"), &id.to_uppercase(), json!({})).await;
        }
    }

    /// Makes a deployment under a project key of its own on the node.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn deployment(
        &self,
        id: &str,
        infrastructure: &str,
        bundle: (&str, &str),
        on_node: &str,
        settings: Value,
    ) -> Value {
        let mut input = json!({
            "id": id, "infrastructureId": infrastructure, "projectKey": bundle.0, "bundleId": bundle.1, "deployedProjectKey": on_node,
        });
        if settings != json!({}) {
            input["settings"] = settings;
        }
        let document = format!(
            "mutation($input: CreateDeploymentInput!) {{ createDeployment(input: $input) {{
               deployment {{ id version bundleId deployedProjectKey settings {{ connectionRemapping {{ source target }} localVariables projectFolder
                 scenarios {{ id on }} onFailure }} }} {REFUSALS} }} }}"
        );
        self.ask(&document, json!({"input": input})).await["deployment"].take()
    }

    /// Changes a deployment: `change` is an `UpdateDeploymentSettingsInput` without id and version.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn change_deployment(&self, id: &str, change: Value) {
        let seen = self.ask(&format!("{{ deployment(id: {}) {{ version }} }}", quoted(id)), json!({})).await;
        let mut input = change;
        input["id"] = id.into();
        input["expectedVersion"] = seen["version"].clone();
        let document = format!(
            "mutation($input: UpdateDeploymentSettingsInput!) {{ updateDeploymentSettings(input: $input) {{ deployment {{ id }} {REFUSALS} }} }}"
        );
        self.ask(&document, json!({"input": input})).await;
    }

    /// Starts an update, and answers its id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn start(&self, deployment: &str) -> String {
        id(&self.tell(&format!("startUpdate(deploymentId: {})", quoted(deployment)), "update { id }").await)
    }

    /// Retries an update, and answers the new one's id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn retry(&self, update: &str) -> String {
        id(&self.tell(&format!("retryUpdate(id: {})", quoted(update)), "update { id }").await)
    }

    /// `cancelUpdate`, `abandonUpdate`.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn end(&self, how: &str, update: &str) {
        self.tell(&format!("{how}(id: {})", quoted(update)), "update { id status }").await;
    }

    /// An update, as it is now.
    ///
    /// # Panics
    /// When there is none.
    pub async fn update(&self, update: &str) -> Value {
        let found = self.ask(&format!("{{ update(id: {}) {{ {UPDATE} }} }}", quoted(update)), json!({})).await;
        assert!(found.is_object(), "there is no update {update}");
        found
    }

    /// Waits until an update is as `wanted` says.
    ///
    /// # Panics
    /// When it was not in `patience`; with the update and its journal.
    pub async fn until_update(
        &self,
        update: &str,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let looked = tokio::time::timeout(
            patience,
            until(what, patience * 2, || async {
                let seen = self.update(update).await;
                wanted(&seen).then_some(seen)
            }),
        );
        match looked.await {
            Ok(seen) => seen,
            Err(_) => panic!("waited for {what}: {:#}\n{:#?}", self.update(update).await, self.journal(update).await),
        }
    }

    /// Waits until an update has ended or is stuck.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn over(&self, update: &str) -> Value {
        self.until_update(update, "its end", PATIENCE, is_over).await
    }

    /// Starts an update and waits for its end, which must be `status`.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn run(&self, deployment: &str, status: &str) -> Value {
        let update = self.over(&self.start(deployment).await).await;
        assert_eq!(update["status"], status, "{update:#}");
        update
    }

    /// An update's whole journal.
    ///
    /// # Panics
    /// When there is none, or more than a page.
    pub async fn journal(&self, update: &str) -> Vec<Value> {
        self.page(update, "events", EVENT).await
    }

    /// An update's whole log.
    ///
    /// # Panics
    /// When there is none, or more than a page.
    pub async fn lines(&self, update: &str) -> Vec<Value> {
        self.page(update, "log", LINE).await
    }

    async fn page(&self, update: &str, list: &str, fields: &str) -> Vec<Value> {
        let id = quoted(update);
        let page = format!("{list}(first: 999) {{ nodes {{ {fields} }} pageInfo {{ hasNextPage }} }}");
        let mut found = self.ask(&format!("{{ update(id: {id}) {{ {page} }} }}"), json!({})).await;
        assert_eq!(found[list]["pageInfo"]["hasNextPage"], false, "one page is enough for tests");
        match found[list]["nodes"].take() {
            Value::Array(nodes) => nodes,
            other => panic!("no list: {other}"),
        }
    }
}

/// Whether an update has ended or is stuck.
pub fn is_over(update: &Value) -> bool {
    matches!(update["status"].as_str(), Some("SUCCEEDED" | "WARNING" | "FAILED" | "CANCELLED" | "STUCK"))
}

/// The step of this name.
///
/// # Panics
/// When the update has none.
pub fn step<'a>(update: &'a Value, name: &str) -> &'a Value {
    let mut steps = update["steps"].as_array().into_iter().flatten();
    steps.find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name}: {update:#}"))
}

fn id(payload: &Value) -> String {
    payload["update"]["id"].as_str().expect("an update").to_owned()
}
