//! The world with a hidden thing answers, byte for byte, like the world without it: in lists, pages, searches, single reads, previews, the pool, the
//! audit, and in what mutations that name it say. Worlds are drawn; each is built twice.
//!
//! Set apart: times and random ids, which are put into a common form; and what the documentation names as exceptions: ids that are taken, the numbers
//! of a pool, and that something is in use.

use std::collections::BTreeMap;

use deployer::viewer::Viewer;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, empty};

const STAGES: [&str; 3] = ["Development", "Test", "Production"];
const LEVELS: [&str; 3] = ["VIEW", "DEPLOY", "ADMIN"];
const RIGHTS: [&str; 4] = ["read", "write", "deploy", "admin"];

/// What the viewer sees, and what is hidden from them.
#[derive(Clone, Debug)]
struct Plan {
    /// Stage and level of each infrastructure `I0`, `I1`…
    infrastructures: Vec<(usize, usize)>,
    /// The right on each published project `P0`, `P1`…
    projects: Vec<usize>,
    /// Deployments of a project on an infrastructure, both as far as there are so many; with an update, cancelled or not.
    deployments: Vec<(usize, usize, bool, bool)>,
    hidden: Hidden,
    /// Hidden things are made first, or last.
    first: bool,
}

/// What is hidden.
#[derive(Clone, Debug)]
struct Hidden {
    /// The stage of the infrastructure `I0-hidden`.
    stage: usize,
    hooks: bool,
    /// Hidden deployments: of `P0-hidden` on an infrastructure that the viewer sees; of a project that they see on `I0-hidden`; of both hidden.
    on_seen: bool,
    of_seen: bool,
    /// A worker drives an update of the last one, and holds a slot.
    running: bool,
}

fn plans() -> impl Strategy<Value = Plan> {
    let hidden = (0..3usize, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(stage, hooks, on_seen, of_seen, running)| Hidden { stage, hooks, on_seen, of_seen, running });
    (
        prop::collection::vec((0..3usize, 0..3usize), 0..3),
        prop::collection::vec(0..4usize, 0..3),
        prop::collection::vec((0..2usize, 0..2usize, any::<bool>(), any::<bool>()), 0..3),
        hidden,
        any::<bool>(),
    )
        .prop_map(|(infrastructures, projects, deployments, hidden, first)| Plan {
            infrastructures,
            projects,
            deployments,
            hidden,
            first,
        })
}

/// A world after a plan, with or without what it hides.
struct Built {
    world: World,
    viewer: Viewer,
    /// Of the hidden deployment.
    update: Option<String>,
    _worker: Option<crate::world::Worker>,
}

async fn done(world: &World, mutation: String) -> Value {
    let answer = world.admin(&mutation, json!({})).await;
    assert!(!answer.to_string().contains("\"code\""), "{mutation}: {answer}");
    answer
}

async fn infrastructure(world: &World, id: &str, stage: usize, permissions: &str) {
    let (stage, key) = (STAGES[stage], "adminKey: \"k\"");
    done(
        world,
        format!(
            "mutation {{ createInfrastructure(input: {{id: \"{id}\", stage: \"{stage}\", {key}, settings: {{nodeUrl: \"http://127.0.0.1:1\"}}, \
             permissions: [{permissions}]}}) {{ refusals {{ code message }} }} }}"
        ),
    )
    .await;
}

async fn deployment(world: &World, id: &str, project: &str, infrastructure: &str) {
    done(
        world,
        format!(
            "mutation {{ createDeployment(input: {{id: \"{id}\", projectKey: \"{project}\", infrastructureId: \"{infrastructure}\", \
             bundleId: \"v1\", deployedProjectKey: \"K-{id}\"}}) {{ refusals {{ code message }} }} }}"
        ),
    )
    .await;
}

async fn start(world: &World, deployment: &str) -> String {
    let mutation = format!(
        "mutation {{ startUpdate(deploymentId: \"{deployment}\") {{ update {{ id }} refusals {{ code message }} }} }}"
    );
    done(world, mutation).await["startUpdate"]["update"]["id"].as_str().unwrap().to_owned()
}

async fn seen(world: &World, plan: &Plan) {
    for (at, (stage, level)) in plan.infrastructures.iter().enumerate() {
        let permissions = format!("{{group: \"us\", level: {}}}", LEVELS[*level]);
        infrastructure(world, &format!("I{at}"), *stage, &permissions).await;
    }
    for (at, right) in plan.projects.iter().enumerate() {
        world.upload(&format!("P{at}"), "v1").await;
        let right = RIGHTS[*right];
        done(
            world,
            format!(
                "mutation {{ updatePublishedProject(input: {{key: \"P{at}\", expectedVersion: 1, permissions: [{{group: \"us\", {right}: true}}]}}) \
                 {{ refusals {{ code message }} }} }}"
            ),
        )
        .await;
    }
    for (at, (infrastructure, project, update, cancel)) in plan.deployments.iter().enumerate() {
        if *infrastructure >= plan.infrastructures.len() || *project >= plan.projects.len() {
            continue;
        }
        deployment(world, &format!("d{at}"), &format!("P{project}"), &format!("I{infrastructure}")).await;
        if *update {
            let id = start(world, &format!("d{at}")).await;
            if *cancel {
                done(world, format!("mutation {{ cancelUpdate(id: \"{id}\") {{ refusals {{ code message }} }} }}"))
                    .await;
            }
        }
    }
}

/// Everything about these is the administrators' alone. Answers an update, and who drives it.
async fn hide(world: &World, plan: &Plan) -> (String, Option<crate::world::Worker>) {
    let hidden = &plan.hidden;
    infrastructure(world, "I0-hidden", hidden.stage, "{group: \"them\", level: ADMIN}").await;
    world.upload("P0-hidden", "v1").await;
    if hidden.hooks {
        done(
            world,
            "mutation { setHooks(infrastructureId: \"I0-hidden\", phase: PRE, hooks: [{name: \"hidden\", code: \"x\"}], expectedVersion: 1) \
             { refusals { code message } } }"
                .to_owned(),
        )
        .await;
    }
    if hidden.on_seen && !plan.infrastructures.is_empty() {
        deployment(world, "d-hidden-1", "P0-hidden", "I0").await;
        start(world, "d-hidden-1").await;
    }
    if hidden.of_seen && !plan.projects.is_empty() {
        deployment(world, "d-hidden-2", "P0", "I0-hidden").await;
        start(world, "d-hidden-2").await;
    }
    deployment(world, "d-hidden", "P0-hidden", "I0-hidden").await;
    let update = start(world, "d-hidden").await;
    if !hidden.running {
        return (update, None);
    }
    let worker = world.worker().await;
    worker.claim(&update).await;
    world
        .sql(&format!(
            "INSERT INTO pool_holder (run_id, step, attempt, pool, ticket, epoch, worker_id, granted_at) \
             SELECT id, step, attempt, 'hooks', 1, epoch, worker_id, requested_at FROM run WHERE id = {update}"
        ))
        .await;
    (update, Some(worker))
}

async fn build(plan: &Plan, with_hidden: bool) -> Built {
    let world = empty().await;
    for group in ["us", "them"] {
        done(&world, format!("mutation {{ createGroup(name: \"{group}\") {{ refusals {{ code }} }} }}")).await;
    }
    let viewer = world.somebody("viewer", &["us"]).await;
    let mut made = (None, None);
    if with_hidden && plan.first && !(plan.hidden.on_seen || plan.hidden.of_seen) {
        let (update, worker) = hide(&world, plan).await;
        made = (Some(update), worker);
    }
    seen(&world, plan).await;
    if with_hidden && made.0.is_none() {
        let (update, worker) = hide(&world, plan).await;
        made = (Some(update), worker);
    }
    Built { world, viewer, update: made.0, _worker: made.1 }
}

const LISTS: &str = "{
    viewer { login groups }
    infrastructures { nodes { id kind level stage nodeUrl externalUrl hasAdminKey version createdBy createdAt hookCounts { pre post }
        hooks { name code } permissions { group level } settings { deployAsUser } deployments { nodes { id } pageInfo { hasNextPage endCursor } } }
        pageInfo { hasNextPage endCursor } }
    one: infrastructures(first: 1) { edges { cursor node { id } } pageInfo { hasNextPage endCursor } }
    searched: infrastructures(filter: {text: \"hidden\"}) { nodes { id } }
    staged: infrastructures(filter: {stage: \"Test\", atLeast: ADMIN}) { nodes { id } }
    stages { id description }
    publishedProjects { nodes { key name owner rights { read write deploy admin } bundles { nodes { id } } deployments { nodes { id } } } pageInfo { hasNextPage endCursor } }
    found: publishedProjects(search: \"hidden\") { nodes { key } }
    deployments { nodes { id version bundleId deployedProjectKey infrastructure { id } project { key } rights { change }
        updates { nodes { id number } } } pageInfo { hasNextPage endCursor } }
    page: deployments(first: 1) { edges { cursor node { id } } pageInfo { hasNextPage endCursor } }
    onHidden: deployments(filter: {infrastructure: \"I0-hidden\"}) { nodes { id } pageInfo { endCursor } }
    ofHidden: deployments(filter: {project: \"P0-hidden\"}) { nodes { id } pageInfo { endCursor } }
    updates { nodes { id number status requester } pageInfo { hasNextPage endCursor } }
    pageOfUpdates: updates(first: 1) { edges { cursor } pageInfo { hasNextPage endCursor } }
    hookPool { name limit holders { updateId deploymentId } waiters { updateId deploymentId position } }
    users { nodes { login displayName enabled groups kind } } groups { nodes { name } }
}";
const AUDIT: &str = "{
    auditEvents { nodes { id at login keyId via action objectKind objectId infrastructureId projectKey outcome codes before after updateIds times seq hash }
        pageInfo { hasNextPage endCursor } }
    pageOfAudit: auditEvents(first: 1) { edges { cursor node { action } } pageInfo { hasNextPage } }
    ofHidden: auditEvents(filter: {infrastructure: \"I0-hidden\"}) { nodes { action } pageInfo { endCursor } }
    projectHidden: auditEvents(filter: {projectKey: \"P0-hidden\"}) { nodes { action } pageInfo { endCursor } }
}";
const WAITS: &str =
    "{ updates { nodes { id waitingOn { kind pool since deadline holders { visible { updateId deploymentId } } } } } }";
const READS: &str = "query($update: ID!) {
    infrastructure(id: \"I0-hidden\") { id } publishedProject(key: \"P0-hidden\") { key } bundle(projectKey: \"P0-hidden\", id: \"v1\") { id }
    first: deployment(id: \"d-hidden-1\") { id } second: deployment(id: \"d-hidden-2\") { id } deployment(id: \"d-hidden\") { id }
    update(id: $update) { id } previewUpdate(deploymentId: \"d-hidden\") { preview { actingUser } refusals { code field message } }
    previewed: previewUpdate(deploymentId: \"d-hidden-1\") { refusals { code field message } } }";
const CHANGES: &str = "mutation($update: ID!) {
    updateInfrastructure(input: {id: \"I0-hidden\", expectedVersion: 1, stage: \"nonsense\"}) { infrastructure { id } refusals { code field message } }
    setInfrastructurePermissions(id: \"I0-hidden\", expectedVersion: 1, permissions: [{group: \"nonsense\", level: NONE}]) { refusals { code field message } }
    deleteInfrastructure(id: \"I0-hidden\") { refusals { code field message } } checkInfrastructure(id: \"I0-hidden\") { refusals { code field message } }
    setHooks(infrastructureId: \"I0-hidden\", phase: PRE, hooks: [{name: \"\", code: \"\"}], expectedVersion: 9) { refusals { code field message } }
    updatePublishedProject(input: {key: \"P0-hidden\", expectedVersion: 1, name: \"\"}) { refusals { code field message } }
    deletePublishedProject(key: \"P0-hidden\") { refusals { code field message } }
    deleteBundle(projectKey: \"P0-hidden\", id: \"v1\") { refusals { code field message } }
    both: createDeployment(input: {id: \"n1\", projectKey: \"P0-hidden\", infrastructureId: \"I0-hidden\", bundleId: \"v1\"}) { refusals { code field message } }
    there: createDeployment(input: {id: \"n2\", projectKey: \"P0\", infrastructureId: \"I0-hidden\", bundleId: \"v1\"}) { refusals { code field message } }
    here: createDeployment(input: {id: \"n3\", projectKey: \"P0-hidden\", infrastructureId: \"I0\", bundleId: \"v1\"}) { refusals { code field message } }
    updateDeploymentSettings(input: {id: \"d-hidden\", expectedVersion: 7, bundleId: \"x\"}) { refusals { code field message } }
    onSeen: updateDeploymentSettings(input: {id: \"d-hidden-1\", expectedVersion: 7}) { refusals { code field message } }
    deleteDeployment(id: \"d-hidden-2\") { refusals { code field message } }
    startUpdate(deploymentId: \"d-hidden\") { refusals { code field message } } onSeenStart: startUpdate(deploymentId: \"d-hidden-1\") { refusals { code field message } }
    cancelUpdate(id: $update) { refusals { code field message } } retryUpdate(id: $update) { refusals { code field message } }
    abandonUpdate(id: $update) { refusals { code field message } }
    deleteStage(id: \"Test\") { refusals { code field message } } setHookLimit(limit: 1) { refusals { code field message } }
    createInfrastructure(input: {id: \"I0-hidden\", stage: \"Test\", settings: {nodeUrl: \"http://127.0.0.1:1\"}}) { refusals { code field message } }
    deleteGroup(name: \"them\") { refusals { code field message } } revokeApiKey(id: \"slw_aaaaaaaa\") { refusals { code field message } } }";

/// Times and random ids in a common form, numbered as they come: what remains must be the same.
#[derive(Default)]
struct Common(BTreeMap<String, usize>);

impl Common {
    fn name(&mut self, text: &str) -> String {
        let next = self.0.len();
        format!("#{}", self.0.entry(text.to_owned()).or_insert(next))
    }

    fn text(&mut self, text: &str) -> String {
        let digits = |text: &str| text.len() > 12 && text.bytes().all(|b| b.is_ascii_digit());
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let moment = text.len() >= 20 && text.starts_with("20") && text.ends_with('Z') && text.contains('T');
        if moment {
            "TIME".to_owned()
        } else if digits(text) || hex || text.starts_with("slw_") {
            self.name(text)
        } else {
            text.to_owned()
        }
    }

    fn value(&mut self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if key.to_lowercase().ends_with("cursor") => {
                let plain = base64(text);
                // Sort keys of two parts, such as a time and an id.
                let parts: Vec<_> = plain.split(' ').map(|part| self.text(part)).collect();
                json!(parts.join(" "))
            }
            Value::String(text) => json!(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(key, item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (self.text(name), self.value(name, value))).collect()
            }
            other => other.clone(),
        }
    }
}

fn base64(text: &str) -> String {
    let digit = |b: u8| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".find(char::from(b));
    let bits: String = text.bytes().map(|b| format!("{:06b}", digit(b).unwrap())).collect();
    let bytes =
        bits.as_bytes().chunks_exact(8).map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

/// All answers, in order.
async fn answers(built: &Built, update: &str) -> Vec<String> {
    let mut common = Common::default();
    // The same number stands for it in both worlds, whether or not it is there.
    common.name(update);
    let mut all = Vec::new();
    for document in [LISTS, AUDIT, WAITS, READS, CHANGES, LISTS, AUDIT] {
        let variables = if document.contains("$update") { json!({"update": update}) } else { json!({}) };
        let response = built.world.raw(&built.viewer, document, variables).await;
        assert!(response.errors.is_empty(), "a document that fails compares nothing: {:?}", response.errors);
        all.push(common.value("", &response.data.into_json().unwrap()).to_string());
    }
    all
}

async fn hold(plan: &Plan) {
    let (with, without) = (build(plan, true).await, build(plan, false).await);
    let update = with.update.clone().unwrap();
    let told = with.world.admin(LISTS, json!({})).await.to_string();
    for id in ["I0-hidden", "P0-hidden", "d-hidden"] {
        assert!(told.contains(&format!("\"{id}\"")), "{id} is there");
    }
    let (with, without) = (answers(&with, &update).await, answers(&without, &update).await);
    for (with, without) in with.iter().zip(&without) {
        assert!(!with.contains("\"id\":\"I0-hidden\"") && !with.contains("\"id\":\"d-hidden"), "{with}");
        assert_eq!(with, without, "{plan:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn the_hidden_is_not_there(plan in plans()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(hold(&plan));
    }
}

/// The same for a few worlds that hold everything: also on PostgreSQL, if the environment names one.
#[tokio::test]
async fn the_hidden_is_not_there_in_full_worlds() {
    for (level, right) in [(0, 0), (1, 2), (2, 3)] {
        for first in [true, false] {
            let hidden = Hidden { stage: 1, hooks: true, on_seen: !first, of_seen: !first, running: true };
            let plan = Plan {
                infrastructures: vec![(1, level), (2, 0)],
                projects: vec![right, 0],
                deployments: vec![(0, 0, true, false), (1, 1, true, true)],
                hidden,
                first,
            };
            hold(&plan).await;
        }
    }
}
