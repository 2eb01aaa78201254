//! Lists inside of lists: as many statements for twenty parents as for one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use crate::world::{World, world};

/// Counts the statements that the database library is given.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "sea_orm::database::db_connection"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        if matches!(span.metadata().name(), "execute_raw" | "query_one_raw" | "query_all_raw") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Twenty of each, one of each belongs to one of each other; all for the group `see`.
async fn twenty() -> World {
    let world = world().await;
    for n in 1..20 {
        let project = format!("P{n}");
        world.upload(&project, "v1").await;
        let done = world
            .admin(
                "mutation($infra: CreateInfrastructureInput!, $project: UpdatePublishedProjectInput!, $deployment: CreateDeploymentInput!, $id: ID!) {
                   createInfrastructure(input: $infra) { refusals { code } } updatePublishedProject(input: $project) { refusals { code } }
                   createDeployment(input: $deployment) { refusals { code } } startUpdate(deploymentId: $id) { refusals { code } } }",
                json!({
                    "id": format!("d{n}"),
                    "infra": {"id": format!("I{n}"), "stage": "Test", "adminKey": "node-secret",
                        "settings": {"nodeUrl": format!("http://127.0.0.1:{n}")}, "permissions": [{"group": "see", "level": "VIEW"}]},
                    "project": {"key": project, "expectedVersion": 1, "permissions": [{"group": "see", "read": true}]},
                    "deployment": {"id": format!("d{n}"), "projectKey": project, "infrastructureId": format!("I{n}"), "bundleId": "v1"},
                }),
            )
            .await;
        for (name, payload) in done.as_object().unwrap() {
            assert_eq!(payload["refusals"], json!([]), "{name}");
        }
    }
    world.start().await;
    world
}

static EVERYBODY: std::sync::Once = std::sync::Once::new();

#[tokio::test]
async fn twenty_parents_take_as_many_statements_as_one() {
    let world = twenty().await;
    let viewer = world.somebody("viewer", &["see"]).await;
    let lists = [
        ("deployments", "updates(first: 5) { nodes { id status rights { change } } }", "updates"),
        ("deployments", "updates { nodes { bundleId actingUser hooks { pre } } }", "updates"),
        (
            "deployments",
            "updates { nodes { steps { name status } failure { help } waitingOn { kind } receipt { bundle } } }",
            "updates",
        ),
        (
            "deployments",
            "updates { nodes { events(first: 5) { nodes { seq kind } } log(first: 5) { nodes { line } } } }",
            "updates",
        ),
        ("deployments", "latestUpdate { id status } updates { nodes { bundle { id } } }", "updates"),
        ("infrastructures", "deployments { nodes { id rights { change } project { key } } }", "deployments"),
        ("publishedProjects", "bundles(first: 3) { nodes { id releaseNotes } }", "bundles"),
        ("publishedProjects", "bundles { nodes { manifest contents } }", "bundles"),
        ("publishedProjects", "deployments { nodes { id infrastructure { id } } }", "deployments"),
    ];
    for who in [&world.admin, &viewer] {
        for (list, inner, field) in lists {
            let mut counts = Vec::new();
            for parents in [1, 20] {
                // Somebody is always interested: else a test beside this one can have it remembered that nobody is.
                EVERYBODY.call_once(|| tracing::subscriber::set_global_default(Statements::default()).unwrap());
                let statements = Statements::default();
                let counting = tracing::subscriber::set_default(statements.clone());
                let answer = world
                    .ask(who, &format!("{{ {list}(first: {parents}) {{ nodes {{ {inner} }} }} }}"), json!({}))
                    .await;
                drop(counting);
                let nodes = answer[list]["nodes"].as_array().unwrap().clone();
                assert_eq!(nodes.len(), parents, "{list}");
                let one = |node: &Value| node[field]["nodes"].as_array().is_some_and(|inside| inside.len() == 1);
                assert!(nodes.iter().all(one), "{list} {{ {inner} }}: {nodes:?}");
                counts.push(statements.0.load(Ordering::SeqCst));
            }
            assert!(counts[0] > 0 && counts[0] == counts[1], "{list} {{ {inner} }}: {counts:?}");
        }
    }
}

#[tokio::test]
async fn each_parent_turns_its_own_pages() {
    let world = world().await;
    for id in ["v2", "v3"] {
        world.upload("CHURN", id).await;
    }
    let query = "query($after: String) { publishedProjects { nodes { bundles(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } } } }";
    let bundles = |answer: &Value| answer["publishedProjects"]["nodes"][0]["bundles"].clone();
    let first = bundles(&world.admin(query, json!({})).await);
    assert_eq!(first["nodes"], json!([{"id": "v3"}, {"id": "v2"}]));
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let second = bundles(&world.admin(query, json!({"after": first["pageInfo"]["endCursor"]})).await);
    assert_eq!(second["nodes"], json!([{"id": "v1"}]));
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
    let answer = world.raw(&world.admin, query, json!({"after": "eA"})).await;
    assert_eq!(answer.errors[0].extensions.as_ref().unwrap().get("code"), Some(&"PAGE_INVALID".into()));
    // The same bundles, side by side on two pages.
    let both = "{ publishedProject(key: \"CHURN\") { one: bundles(first: 1) { nodes { id } } all: bundles { nodes { id } } } }";
    let answer = world.admin(both, json!({})).await["publishedProject"].clone();
    assert_eq!(answer["one"]["nodes"], json!([{"id": "v3"}]));
    assert_eq!(answer["all"]["nodes"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn what_is_dear_costs_much() {
    let schema = graphql::builder().limit_complexity(50_000).finish();
    let world = world().await;
    let errors = async |document: String| {
        let mut request = async_graphql::Request::new(document);
        request.data = graphql::request_data(&world.deployer, &world.tail, world.admin.clone(), "request-1");
        schema.execute(request).await.errors.into_iter().map(|error| error.message).collect::<Vec<_>>()
    };
    let many = |one: &str, count: usize| (0..count).map(|n| format!("x{n}: {one} ")).collect::<String>();
    let preview = "previewUpdate(deploymentId: \"churn\") { refusals { code } }";
    assert_eq!(errors(format!("{{ {} }}", many(preview, 2))).await, Vec::<String>::new());
    assert_eq!(errors(format!("{{ {} }}", many(preview, 3))).await, ["Query is too complex."]);
    let check = "checkInfrastructure(id: \"none\") { refusals { code } }";
    assert_eq!(errors(format!("mutation {{ {} }}", many(check, 3))).await, ["Query is too complex."]);
    let manifests = "{ publishedProjects { nodes { bundles { nodes { manifest } } } } }".to_owned();
    assert_eq!(errors(manifests).await, ["Query is too complex."]);
    let steps = "{ a: updates(first: 100) { nodes { steps { name attempts { number failure { code message } } } failure { code } } } }";
    assert_eq!(errors(steps.to_owned()).await, Vec::<String>::new(), "what a board asks is fine");
}
