//! What is set of a deployed service reaches its nodes: where queries are logged, who may call, and how many nodes an update may go on without.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use sandbox::{ApiNode, Fault, FaultHandle, FaultKind, RunningApiNode, ServiceSpec, sample_service};
use serde_json::{Value, json};
use tests::{Client, Fleet, PATIENCE, Size, client, guard::Program, models::Models, scratch::Scratch, slipway, until};

use crate::{
    api::commands::{run, said},
    events::Ground,
};

const REFUSALS: &str = "refusals { code field message }";

/// A service with a version, deployed to the nodes as `fraud-test`; `settings` are its own.
async fn deployed(api: &Client, settings: Value) {
    api.ask(&format!("mutation {{ createPublishedService(id: \"fraud\") {{ {REFUSALS} }} }}"), json!({})).await;
    api.upload_version(Models::version("fraud", "v1", &json!({"features": {"a": 1}}))).await;
    let document = format!(
        "mutation($input: CreateServiceDeploymentInput!) {{ createServiceDeployment(input: $input) {{ {REFUSALS} }} }}"
    );
    let deployment = json!({
        "id": "fraud-test", "serviceId": "fraud", "infrastructureId": "nodes", "version": "v1",
        "settings": {"service": settings},
    });
    api.ask(&document, json!({"input": deployment})).await;
}

/// The service, live on one node.
async fn live() -> (Models, Fleet) {
    let models = Models::start().await;
    let fleet = models.fleet(Size::Embedded).start().await;
    models.infrastructure(&fleet.client, &[], json!({})).await;
    deployed(&fleet.client, json!({})).await;
    fleet.client.run("fraud-test", "SUCCEEDED").await;
    (models, fleet)
}

/// Sets something of the deployed service, and makes it so.
async fn set(api: &Client, service: Value) {
    api.change_deployment("fraud-test", json!({"settings": {"service": service}})).await;
    api.run("fraud-test", "SUCCEEDED").await;
}

/// As callers of the node ask it.
async fn ask(
    node: &RunningApiNode,
    with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> StatusCode {
    let url = format!("{}/public/api/v1/fraud/score/predict", node.url());
    let body = json!({"features": {"a": 1}}).to_string();
    with(client::http().post(url).body(body)).send().await.unwrap().status()
}

/// What the node was told of the log of queries, of the generation that answers.
fn told(node: &RunningApiNode) -> Value {
    let mut service = node.snapshot()["services"]["fraud"].take();
    let live = service["mapping"][0]["generation"].take();
    let generations = service["generations"].as_array_mut().unwrap();
    generations.iter_mut().find(|one| one["generation"] == live).unwrap()["auditing"].take()
}

/// What is filed under a routing key, once there is so much.
async fn filed(ground: &Ground, routing_key: &str, events: usize) -> Vec<Value> {
    let beginning = format!("apinode-query/{routing_key}/");
    until(&format!("{events} events of {routing_key}"), PATIENCE, || async {
        let all: BTreeMap<_, _> = ground.filed();
        let found: Vec<_> =
            all.into_iter().filter(|(folder, _)| folder.starts_with(&beginning)).flat_map(|(_, lines)| lines).collect();
        (found.len() >= events).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_are_logged_where_the_infrastructure_and_the_deployment_say() {
    let ground = Ground::new();
    let server = ground.serve().await;
    let log = |more: Value| {
        let mut log =
            json!({"type": "EVENT_SERVER", "url": format!("http://127.0.0.1:{}", server.port), "key": ground.key});
        log.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        log
    };
    let models = Models::start().await;
    let fleet = models.fleet(Size::Embedded).start().await;
    let api = &fleet.client;
    models.infrastructure(api, &[], json!({"queryLog": log(json!({}))})).await;
    deployed(api, json!({})).await;
    api.run("fraud-test", "SUCCEEDED").await;
    // The infrastructure's; the routing key is the deployment's id.
    assert_eq!(ask(&models.node, |query| query).await, StatusCode::OK);
    let own = filed(&ground, "fraud-test", 1).await;
    let query = "{ queryService(deploymentId: \"fraud-test\", queries: [{features: {a: 1}}]) { answers { status } refusals { code } } }";
    assert_eq!(api.ask(query, json!({})).await["answers"][0]["status"], 200);
    // The query through the deployer is logged by the node, and by the deployer: the same, and who tells it.
    let all = filed(&ground, "fraud-test", own.len() + 2).await;
    assert_eq!((own.len(), all.len()), (1, 3), "{all:#?}");
    let of = |via: Value| all.iter().rfind(|event| event["clientEvent"]["via"] == via).unwrap()["clientEvent"].clone();
    let (by_node, by_us) = (of(Value::Null), of(json!("DEPLOYER")));
    assert_eq!(all.iter().filter(|event| event["clientEvent"]["via"] == "DEPLOYER").count(), 1, "{all:#?}");
    for field in ["msgType", "serviceId", "endpointId", "serviceGeneration", "query"] {
        assert_eq!(by_node[field], by_us[field], "{field}: {by_node:#} {by_us:#}");
    }
    assert_eq!(by_node["answer"]["result"], by_us["answer"]["result"]);
    assert_eq!((&by_us["msgType"], &by_us["query"]), (&json!("prediction-query"), &json!({"features": {"a": 1}})));

    // The deployment's own wins.
    set(api, json!({"queryLog": log(json!({"routingKey": "own"}))})).await;
    assert_eq!(ask(&models.node, |query| query).await, StatusCode::OK);
    let own = filed(&ground, "own", 1).await;
    assert_eq!((own.len(), filed(&ground, "fraud-test", 1).await.len()), (1, all.len()));
    // Kafka, as the node reads it; and none.
    let kafka = json!({
        "type": "KAFKA", "brokers": ["broker.example.com:9093"], "topic": "queries", "tls": true, "sasl": "SCRAM_SHA_512",
        "username": "models", "password": "of-kafka",
    });
    set(api, json!({"queryLog": kafka})).await;
    let target = told(&models.node)["targets"][0].clone();
    for (field, wanted) in [("type", json!("KAFKA")), ("brokers", json!(["broker.example.com:9093"]))] {
        assert_eq!(target[field], wanted, "{target}");
    }
    assert!(target.to_string().contains("SCRAM") && !target.to_string().contains("of-kafka"), "{target}");
    set(api, json!({"queryLog": {"type": "NONE"}})).await;
    assert_eq!(told(&models.node), Value::Null);
    // Its own is taken away: the infrastructure's is back.
    set(api, json!({"queryLog": {}})).await;
    assert_eq!(ask(&models.node, |query| query).await, StatusCode::OK);
    filed(&ground, "fraud-test", all.len() + 1).await;
    assert!(!fleet.logs().contains(&ground.key) && !fleet.logs().contains("of-kafka"));
}

/// A token of an issuer, signed by its key.
fn token(key: &EcdsaKeyPair, audience: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "https://login.example", "aud": audience, "exp": 4_000_000_000_i64});
    let signed = format!("{}.{}", part(&json!({"alg": "ES256", "kid": "one"})), part(&claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn key() -> EcdsaKeyPair {
    let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_may_call_is_as_the_deployment_says() {
    let models = Models::start().await;
    let fleet = models.fleet(Size::Embedded).start().await;
    let api = &fleet.client;
    models.infrastructure(api, &[], json!({})).await;
    let (ours, others) = (key(), key());
    let point = ours.public_key().as_ref();
    let coordinate = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "one", "x": coordinate(&point[1..33]), "y": coordinate(&point[33..])});
    let tokens = json!({
        "method": "OAUTH2", "issuer": "https://login.example", "audience": "fraud", "jwks": {"keys": [jwk]},
    });
    deployed(api, json!({"authorization": tokens})).await;
    api.run("fraud-test", "SUCCEEDED").await;
    let node = &models.node;
    assert_eq!(ask(node, |query| query.bearer_auth(token(&ours, "fraud"))).await, StatusCode::OK);
    for wrong in [token(&others, "fraud"), token(&ours, "churn"), "no token".to_owned()] {
        assert_eq!(ask(node, |query| query.bearer_auth(wrong)).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask(node, |query| query).await, StatusCode::UNAUTHORIZED);

    set(api, json!({"authorization": {"method": "API_KEYS", "keys": ["of-a-caller"]}})).await;
    assert_eq!(ask(node, |query| query.basic_auth("of-a-caller", Some(""))).await, StatusCode::OK);
    for wrong in [None, Some("of-nobody")] {
        let status = match wrong {
            None => ask(node, |query| query.bearer_auth(token(&ours, "fraud"))).await,
            Some(key) => ask(node, |query| query.basic_auth(key, Some(""))).await,
        };
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    set(api, json!({"authorization": {"method": "PUBLIC"}})).await;
    assert_eq!(ask(node, |query| query).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_update_goes_on_without_nodes_as_far_as_the_quorum_lets_it() {
    let models = Models::start().await;
    let fleet = models.fleet(Size::Embedded).start().await;
    let api = &fleet.client;
    let (second, third) = (models.another_node().await, models.another_node().await);
    let once = |kind: &str| json!({"kind": kind, "retry": {"maxAttempts": 1, "initialMs": 0, "capMs": 0}});
    let steps = ["validate_remap", "push_bundle", "activate"].map(once);
    let settings = json!({"onFailure": "GO_ON", "stepPolicies": steps, "platform": {"quorum": 2}});
    models.infrastructure(api, &[&second.url(), &third.url()], settings).await;
    deployed(api, json!({})).await;
    api.run("fraud-test", "SUCCEEDED").await;
    let nodes = [&models.node, &second, &third];
    let serve = |node: &RunningApiNode| node.snapshot()["services"]["fraud"]["mapping"][0]["generation"].clone();
    let away = |node: &RunningApiNode| {
        let kind = FaultKind::Status { status: 400, error_type: None, message: None, retry_after: None };
        node.arm(Fault { method: None, path: "**".to_owned(), nth: 1, count: None, kind }).unwrap()
    };
    let health = || async {
        let said =
            api.ask("{ deployment(id: \"fraud-test\") { health { health messages { code } } } }", json!({})).await;
        said["health"].clone()
    };

    // One of three: it goes on, and says so until the node has caught up.
    api.upload_version(Models::version("fraud", "v2", &json!({"features": {"a": 1}}))).await;
    let gone = away(nodes[1]);
    api.change_deployment("fraud-test", json!({"bundleId": "v2"})).await;
    let update = api.run("fraud-test", "WARNING").await;
    assert_eq!(nodes.map(serve), [json!("v2"), json!("v1"), json!("v2")], "{update:#}");
    gone.disarm();
    let said = health().await;
    assert_eq!(said["health"], "OUT_OF_SYNC", "{said:#}");
    assert!(said.to_string().contains("NODE_LEFT_OUT"), "{said:#}");
    api.run("fraud-test", "SUCCEEDED").await;
    assert_eq!((nodes.map(serve), health().await["health"].clone()), ([(); 3].map(|()| json!("v2")), json!("HEALTHY")));

    // Two of three: that is one more than it may go on without, so the last one is left as it was.
    let gone = [away(nodes[0]), away(nodes[1])];
    api.change_deployment("fraud-test", json!({"bundleId": "v1"})).await;
    api.run("fraud-test", "FAILED").await;
    assert_eq!(serve(nodes[2]), json!("v2"));
    gone.iter().for_each(FaultHandle::disarm);
    api.run("fraud-test", "SUCCEEDED").await;
    assert_eq!(nodes.map(serve), [(); 3].map(|()| json!("v1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn packages_come_by_an_agent_beside_the_node() {
    let scratch = Scratch::new("agent");
    let keys = said(&run(&scratch, &["agent", "new-key"], &[]));
    let key = keys.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let hash = keys.lines().find_map(|line| line.strip_prefix("SLIPWAY_AGENT_KEY_SHA256=")).unwrap().to_owned();
    let folder = scratch.path().join("packages");
    std::fs::create_dir(&folder).unwrap();
    let start = |listen: &str, more: &[&str], log: &str| {
        let binary = slipway::binary().display().to_string();
        let own = ["agent", "--folder", folder.to_str().unwrap(), "--listen", listen];
        let command: Vec<_> = std::iter::once(binary.as_str()).chain(own).chain(more.iter().copied()).collect();
        let variables = [("SLIPWAY_AGENT_KEY_SHA256", hash.as_str())];
        Program::new(command, &scratch.path().join(log)).with(variables).start()
    };
    // It speaks plain HTTP: to others only where that is wanted.
    let refused = start("0.0.0.0:0", &[], "refused.log");
    assert_ne!(refused.exited(PATIENCE).await, 0, "{}", refused.log());
    assert!(refused.log().contains("--plain-http"), "{}", refused.log());
    let agent = start("127.0.0.1:0", &[], "agent.log");
    let url = until("the agent's address", PATIENCE, || async {
        assert_eq!(agent.exit_code(), None, "{}", agent.log());
        let at = agent.log().split("Agent at ").nth(1)?.split(',').next()?.to_owned();
        Some(format!("http://{at}"))
    })
    .await;

    const NODE_KEY: &str = "of-the-node-alone";
    let node = ApiNode::builder().admin_key(NODE_KEY).packages(&folder);
    let node = node.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let fleet = Fleet::of(Size::Embedded).start().await;
    let api = &fleet.client;
    let platform = json!({
        "apiNodes": [{"url": node.url(), "adminAPIKey": NODE_KEY}],
        "delivery": {"mode": "AGENT", "url": url, "key": key},
    });
    let input = json!({"id": "nodes", "kind": "STATIC", "stage": "Test", "settings": {"platform": platform}});
    let document = format!(
        "mutation($input: CreateInfrastructureInput!) {{ createInfrastructure(input: $input) {{ {REFUSALS} }} }}"
    );
    api.ask(&document, json!({"input": input})).await;
    deployed(api, json!({})).await;
    api.run("fraud-test", "SUCCEEDED").await;
    assert_eq!(ask(&node, |query| query).await, StatusCode::OK);
    agent.signal(rustix::process::Signal::TERM);
    assert_eq!(agent.exited(PATIENCE).await, 0, "{}", agent.log());
    assert!(!agent.log().contains(&key) && !fleet.logs().contains(&key), "a key in a log");
    // Without it nothing new gets there, and what is there goes on.
    api.upload_version(Models::version("fraud", "v2", &json!({"features": {"a": 1}}))).await;
    let once = json!({"kind": "validate_remap", "retry": {"maxAttempts": 1, "initialMs": 0, "capMs": 0}});
    api.change_infrastructure("nodes", json!({"stepPolicies": [once]})).await;
    api.change_deployment("fraud-test", json!({"bundleId": "v2"})).await;
    let failed = api.run("fraud-test", "FAILED").await;
    assert_eq!(failed["failure"]["code"], "NODE_UNREACHABLE", "{failed:#}");
    assert_eq!(ask(&node, |query| query).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_that_are_none_are_refused_before_the_service_is_asked() {
    let (models, fleet) = live().await;
    let api = &fleet.client;
    let document = "query($queries: [JSON!]!, $headers: [HeaderInput!], $endpoint: String) {
        queryService(deploymentId: \"fraud-test\", queries: $queries, headers: $headers, endpoint: $endpoint) { answers { status } refusals { code field } } }";
    let one = json!([{"features": {"a": 1}}]);
    let header = |name: &str| json!([{"name": name, "value": "x"}]);
    let calls = models.node.calls().len();
    for (variables, refused) in [
        (json!({"queries": vec![json!({}); 101]}), ("TOO_MANY", "queries")),
        (json!({"queries": [{}, {"features": {"a": "x".repeat(1 << 20)}}]}), ("QUERY_TOO_LARGE", "queries[1]")),
        (json!({"queries": one, "endpoint": "nothing"}), ("ENDPOINT_UNKNOWN", "endpoint")),
        (json!({"queries": one, "headers": header("Authorization")}), ("HEADER_INVALID", "queries[0].headers")),
        (json!({"queries": one, "headers": header("Impersonate-User")}), ("HEADER_INVALID", "queries[0].headers")),
        (json!({"queries": one, "headers": header("X-Remote-Group")}), ("HEADER_INVALID", "queries[0].headers")),
        (json!({"queries": one, "headers": header("Content-Length")}), ("HEADER_INVALID", "queries[0].headers")),
        (json!({"queries": one, "headers": header("a b")}), ("HEADER_INVALID", "queries[0].headers")),
    ] {
        let told = api.refused(document, variables).await;
        assert_eq!(told, [(refused.0.to_owned(), refused.1.to_owned())]);
    }
    assert_eq!(models.node.calls().len(), calls);
    let answered = api.ask(document, json!({"queries": one, "headers": header("X-Correlation")})).await;
    assert_eq!(answered["answers"], json!([{"status": 200}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_may_be_many_and_reach_endpoints_that_some_versions_lack() {
    let (_models, fleet) = live().await;
    let api = &fleet.client;
    let document = "query($queries: [JSON!]!, $endpoint: String) {
        queryService(deploymentId: \"fraud-test\", queries: $queries, endpoint: $endpoint) { answers { status body } refusals { code field } } }";
    let many = json!([{"items": [{"features": {"a": 1}}, {"features": {"a": 2}}]}]);
    let answers = api.ask(document, json!({"queries": many})).await["answers"].take();
    assert_eq!(answers[0]["status"], 200, "{answers:#}");
    assert_eq!(answers[0]["body"]["results"].as_array().unwrap().len(), 2, "{answers:#}");

    let explaining = ServiceSpec::new("fraud", "v2");
    let explaining = explaining.with("endpoints", json!([{"id": "explain", "type": "STD_PREDICTION"}]));
    api.upload_version(sample_service(&explaining)).await;
    let shares = json!([{"version": "v1", "probability": 0.5}, {"version": "v2", "probability": 0.5}]);
    api.change_deployment("fraud-test", json!({"settings": {"service": {"versions": shares}}})).await;
    let update = api.run("fraud-test", "WARNING").await;
    assert!(update["warnings"].to_string().contains("explain"), "{update:#}");
    // Half of the queries meet a version that has it; 40 of 40 that don't are none in a million millions.
    let queries = vec![json!({"features": {"a": 1}}); 40];
    for endpoint in ["explain", "score"] {
        let answers = api.ask(document, json!({"queries": queries, "endpoint": endpoint})).await["answers"].take();
        let answers = answers.as_array().unwrap();
        assert!(answers.iter().any(|answer| answer["status"] == 200), "{endpoint}: {answers:#?}");
    }
    // Which of the two is asked must be said now.
    let told = api.refused(document, json!({"queries": queries})).await;
    assert_eq!(told, [("ENDPOINT_UNKNOWN".to_owned(), "endpoint".to_owned())]);
    let seen = api.ask("{ deployment(id: \"fraud-test\") { service { openApi } } }", json!({})).await;
    let paths = seen["service"]["openApi"]["paths"].as_object().unwrap();
    assert!(["/score/predict", "/explain/predict"].iter().all(|path| paths.contains_key(*path)), "{paths:?}");
}
