//! API services: what is hidden, and what is kept straight between deployments, groups and versions.

use futures_util::stream;
use serde_json::{Value, json};

use crate::world::{World, world};

const NODE: &str = "http://127.0.0.1:9";

/// A service on an infrastructure with one node that nobody listens at.
async fn services() -> World {
    let world = world().await;
    world.service("fraud", &["v1", "v2"]).await;
    nodes(&world, "NODES").await;
    let made = world
        .admin(
            r#"mutation { createConnection(input: {id: "aws", type: "AWS", settings: {}}) { refusals { code field } }
               createServiceDeployment(input: {id: "fraud-test", serviceId: "fraud", infrastructureId: "NODES", version: "v1",
                 settings: {service: {queryGroups: ["other"], versions: [{version: "v1", probability: 0.5}, {version: "v2", probability: 0.5}]}}}) {
                 refusals { code field message } } }"#,
            json!({}),
        )
        .await;
    assert_eq!(made["createServiceDeployment"]["refusals"], json!([]), "{made}");
    world
}

/// The same node for an infrastructure, whatever it had before.
async fn nodes(world: &World, infrastructure: &str) {
    let found =
        world.admin("query($id: ID!) { infrastructure(id: $id) { version } }", json!({"id": infrastructure})).await;
    let platform = json!({
        "apiNodes": [{"url": NODE, "adminAPIKey": "node-secret"}],
        "delivery": {"mode": "SHARED_FOLDER", "folder": "models", "nodePath": "/models"},
    });
    let input = json!({"id": infrastructure, "expectedVersion": found["infrastructure"]["version"], "settings": {"platform": platform}});
    let document = "mutation($input: UpdateInfrastructureInput!) { updateInfrastructure(input: $input) { refusals { code field message } } }";
    let saved = world.admin(document, json!({"input": input})).await;
    assert_eq!(saved["updateInfrastructure"]["refusals"], json!([]), "{saved}");
}

async fn start(world: &World, deployment: &str, version: Option<&str>) -> Value {
    let document = "mutation($id: ID!, $version: ID) { startUpdate(deploymentId: $id, bundleId: $version) { update { id } refusals { code field } } }";
    world.admin(document, json!({"id": deployment, "version": version})).await["startUpdate"].clone()
}

#[tokio::test]
async fn what_is_hidden_answers_like_what_is_absent() {
    let world = services().await;
    let stranger = world.somebody("stranger", &["deploy"]).await;
    let query = "query($service: ID!, $version: ID!, $deployment: ID!, $connection: ID!) {
        publishedService(id: $service) { id } serviceVersion(serviceId: $service, version: $version) { version }
        connection(id: $connection) { id } deployment(id: $deployment) { service { publishedServiceId openApi } health { health } }
        queryService(deploymentId: $deployment, queries: [{}]) { answers { status } refusals { code field message } }
        testService(deploymentId: $deployment) { answers { status } refusals { code field message } }
        publishedServices { nodes { id } } connections { nodes { id } } deployments(filter: {service: \"fraud\"}) { nodes { id } } }";
    let mutation = "mutation($service: ID!, $version: ID!, $deployment: ID!, $connection: ID!) {
        updatePublishedService(input: {id: $service, expectedVersion: 1, name: \"x\"}) { refusals { code field message } }
        deleteServiceVersion(serviceId: $service, version: $version) { refusals { code field message } }
        deletePublishedService(id: $service) { refusals { code field message } }
        updateConnection(input: {id: $connection, expectedVersion: 1}) { refusals { code field message } }
        checkConnection(id: $connection) { report { identity } refusals { code field message } }
        deleteConnection(id: $connection) { refusals { code field message } }
        createServiceDeployment(input: {id: \"mine\", serviceId: $service, infrastructureId: \"NODES\", version: $version}) { refusals { code field message } }
        startUpdate(deploymentId: $deployment) { refusals { code field message } } }";
    let there = json!({"service": "fraud", "version": "v1", "deployment": "fraud-test", "connection": "aws"});
    let absent = json!({"service": "none", "version": "none", "deployment": "none", "connection": "none"});
    for document in [query, mutation] {
        let hidden = world.ask(&stranger, document, there.clone()).await;
        assert_eq!(hidden, world.ask(&stranger, document, absent.clone()).await);
        assert!(!hidden.to_string().contains("fraud"), "{hidden}");
    }
    let seen = world.admin(query, there).await;
    assert_eq!(seen["publishedServices"]["nodes"], json!([{"id": "fraud"}]), "and it is there");
    assert_eq!(seen["connections"]["nodes"], json!([{"id": "aws"}]));
}

#[tokio::test]
async fn a_version_that_is_named_is_deployed_alone() {
    let world = services().await;
    let shares = "{ deployment(id: \"fraud-test\") { service { versions { version probability } } } }";
    let both = json!([{"version": "v1", "probability": 0.5}, {"version": "v2", "probability": 0.5}]);
    assert_eq!(start(&world, "fraud-test", None).await["refusals"], json!([]));
    assert_eq!(world.admin(shares, json!({})).await["deployment"]["service"]["versions"], both);
    assert_eq!(start(&world, "fraud-test", Some("v2")).await["refusals"], json!([]));
    let one = json!([{"version": "v2", "probability": 1.0}]);
    assert_eq!(world.admin(shares, json!({})).await["deployment"]["service"]["versions"], one);
}

#[tokio::test]
async fn a_service_on_a_node_is_the_older_deployments() {
    let world = services().await;
    let made = world
        .admin(
            r#"mutation { createInfrastructure(input: {id: "ALSO", kind: STATIC, stage: "Test", settings: {}}) { refusals { code } }
               createServiceDeployment(input: {id: "taker", serviceId: "fraud", infrastructureId: "ALSO", version: "v2"}) {
                 refusals { code } } }"#,
            json!({}),
        )
        .await;
    assert_eq!(made["createServiceDeployment"]["refusals"], json!([]), "{made}");
    nodes(&world, "ALSO").await;
    let refused = start(&world, "taker", None).await;
    let taken = json!([{"code": "DEPLOYED_PROJECT_KEY_TAKEN", "field": "deployedServiceId"}]);
    assert_eq!(refused["refusals"], taken);
    let preview = "{ previewUpdate(deploymentId: \"taker\") { refusals { code field } } }";
    assert_eq!(world.admin(preview, json!({})).await["previewUpdate"]["refusals"], taken);
    assert_eq!(start(&world, "fraud-test", None).await["refusals"], json!([]), "whose it is goes on");
}

#[tokio::test]
async fn a_variable_of_the_container_is_the_infrastructures_to_name() {
    let world = services().await;
    let log =
        |variable: &str| json!({"type": "EVENT_SERVER", "url": "https://events.example.com", "keyVariable": variable});
    let of = "query { deployment(id: \"fraud-test\") { version } infrastructure(id: \"NODES\") { version } }";
    let seen = world.admin(of, json!({})).await;
    let deployment = json!({"id": "fraud-test", "expectedVersion": seen["deployment"]["version"], "settings": {"service": {"queryLog": log("DB_PASSWORD")}}});
    let document = "mutation($input: UpdateDeploymentSettingsInput!) { updateDeploymentSettings(input: $input) { refusals { code field } } }";
    let refused = world.admin(document, json!({"input": deployment})).await;
    let refused = &refused["updateDeploymentSettings"]["refusals"];
    assert_eq!(*refused, json!([{"code": "SETTING_INVALID", "field": "queryLog.keyVariable"}]));
    let document = "mutation($input: UpdateInfrastructureInput!) { updateInfrastructure(input: $input) { refusals { code field } } }";
    let place = |variable: &str| json!({"input": {"id": "NODES", "expectedVersion": seen["infrastructure"]["version"], "settings": {"queryLog": log(variable)}}});
    let refused = world.admin(document, place("SLIPWAY_SERVICE_KEYS")).await;
    let refused = &refused["updateInfrastructure"]["refusals"];
    assert_eq!(*refused, json!([{"code": "SETTING_INVALID", "field": "queryLog.keyVariable"}]));
    let taken = world.admin(document, place("EVENTS_KEY")).await;
    assert_eq!(taken["updateInfrastructure"]["refusals"], json!([]));
}

#[tokio::test]
async fn a_query_logs_key_that_anybody_could_read_is_refused() {
    let world = services().await;
    let document = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { infrastructure { version } refusals { code field } } }";
    let log = json!({"type": "EVENT_SERVER", "url": "https://events.example.com", "key": "k"});
    let kafka = json!({"type": "KAFKA", "brokers": ["b:9092"], "topic": "q", "sasl": "PLAIN", "username": "u", "password": "p"});
    let create = async |id: &str, kind: &str, log: &Value| {
        let input = json!({"id": id, "kind": kind, "stage": "Test", "settings": {"queryLog": log}});
        world.admin(document, json!({"input": input})).await["createInfrastructure"]["refusals"].clone()
    };
    for kind in ["SAGEMAKER", "AZURE_ML", "VERTEX_AI", "SNOWPARK"] {
        for (log, field) in [(&log, "queryLog.key"), (&kafka, "queryLog.password")] {
            assert_eq!(create(kind, kind, log).await, json!([{"code": "SETTING_INVALID", "field": field}]));
        }
        let mut named = log.clone();
        named["keyVariable"] = json!("EVENTS_KEY");
        assert_eq!(create(kind, kind, &named).await, json!([]));
        // What a deployment logs to is checked the same way.
        let id = format!("on-{kind}");
        let made = json!({"input": {"id": id, "serviceId": "fraud", "infrastructureId": kind, "version": "v1"}});
        let document = "mutation($input: CreateServiceDeploymentInput!) { createServiceDeployment(input: $input) { deployment { version } refusals { code } } }";
        let made = world.admin(document, made).await["createServiceDeployment"].clone();
        assert_eq!(made["refusals"], json!([]));
        let change = json!({"id": id, "expectedVersion": made["deployment"]["version"], "settings": {"service": {"queryLog": log}}});
        let document = "mutation($input: UpdateDeploymentSettingsInput!) { updateDeploymentSettings(input: $input) { refusals { code field } } }";
        let refused = world.admin(document, json!({"input": change})).await;
        let refused = &refused["updateDeploymentSettings"]["refusals"];
        assert_eq!(*refused, json!([{"code": "SETTING_INVALID", "field": "queryLog.key"}]));
    }
    assert_eq!(create("PLACE", "K8S", &log).await, json!([]), "there it is in a Secret");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = world().await;
    world.service("b", &["v1", "v2", "v3"]).await;
    for id in ["a", "c"] {
        let (service, connection) = (
            format!("mutation {{ createPublishedService(id: \"{id}\") {{ refusals {{ code }} }} }}"),
            format!(
                "mutation {{ createConnection(input: {{id: \"{id}\", type: \"AWS\", settings: {{}}}}) {{ refusals {{ code }} }} }}"
            ),
        );
        world.admin(&service, json!({})).await;
        world.admin(&connection, json!({})).await;
    }
    for (list, id, all) in [
        ("publishedServices", "id", json!(["a", "b", "c"])),
        ("connections", "id", json!(["a", "c"])),
        ("versions", "version", json!(["v3", "v2", "v1"])),
    ] {
        let (mut found, mut after) = (Vec::new(), Value::Null);
        for _ in 0..4 {
            let page =
                format!("{list}(first: 1, after: $after) {{ nodes {{ {id} }} pageInfo {{ hasNextPage endCursor }} }}");
            let page = if list == "versions" { format!("publishedService(id: \"b\") {{ {page} }}") } else { page };
            let told = world.admin(&format!("query($after: String) {{ {page} }}"), json!({"after": after})).await;
            let told = if list == "versions" { &told["publishedService"][list] } else { &told[list] };
            assert_eq!(told["nodes"].as_array().unwrap().len(), 1, "{told}");
            found.push(told["nodes"][0][id].clone());
            if told["pageInfo"]["hasNextPage"] == false {
                break;
            }
            after = told["pageInfo"]["endCursor"].clone();
        }
        assert_eq!(json!(found), all, "{list}");
    }
}

#[tokio::test]
async fn an_endpoint_that_a_version_lacks_is_refused() {
    let world = services().await;
    let document =
        "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { refusals { code } } }";
    let place = json!({"input": {"id": "CLOUD", "kind": "SAGEMAKER", "stage": "Test", "settings": {}}});
    assert_eq!(world.admin(document, place).await["createInfrastructure"]["refusals"], json!([]));
    let create = async |id: &str, endpoint: &str| {
        let document = "mutation($input: CreateServiceDeploymentInput!) { createServiceDeployment(input: $input) { refusals { code field message } } }";
        let settings = json!({"service": {"endpoint": endpoint}});
        let input =
            json!({"id": id, "serviceId": "fraud", "infrastructureId": "CLOUD", "version": "v1", "settings": settings});
        world.admin(document, json!({"input": input})).await["createServiceDeployment"]["refusals"].clone()
    };
    let unknown = |version: &str| {
        let message = format!("Version {version} has no endpoint nope; it has score. Choose one of its own.");
        json!([{"code": "ENDPOINT_MISSING", "field": "endpoint", "message": message}])
    };
    assert_eq!(create("fraud-cloud", "nope").await, unknown("v1"));
    assert_eq!(world.admin("{ deployment(id: \"fraud-cloud\") { id } }", json!({})).await["deployment"], json!(null));
    assert_eq!(create("fraud-cloud", "score").await, json!([]));
    let save = async |service: Value| {
        let input = json!({"id": "fraud-cloud", "expectedVersion": 1, "settings": {"service": service}});
        let document = "mutation($input: UpdateDeploymentSettingsInput!) { updateDeploymentSettings(input: $input) { refusals { code field message } } }";
        world.admin(document, json!({"input": input})).await["updateDeploymentSettings"]["refusals"].clone()
    };
    let versions = json!([{"version": "v2", "probability": 1.0}]);
    assert_eq!(save(json!({"endpoint": "nope", "versions": versions})).await, unknown("v2"));
    assert_eq!(save(json!({"versions": versions, "queryGroups": ["other"]})).await, json!([]), "v2 has it, too");
    // Whichever of the two changes, they must fit; what is stored keeps nobody from saving something else.
    let other = sandbox::ServiceSpec::new("fraud", "v3")
        .with("endpoints", json!([{"id": "explain", "type": "STD_PREDICTION"}]));
    let pieces = stream::iter([Ok::<_, std::io::Error>(sandbox::sample_service(&other).into())]);
    let (deployer, admin) = (&world.deployer, &world.admin);
    deployer::services::versions::upload(deployer, admin, Some("fraud"), "v3.zip", pieces, 1 << 20).await.unwrap();
    let change = json!({"id": "fraud-cloud", "expectedVersion": 2, "settings": {"service": {"versions": [{"version": "v3", "probability": 1.0}]}}});
    let document = "mutation($input: UpdateDeploymentSettingsInput!) { updateDeploymentSettings(input: $input) { refusals { code field message } } }";
    let refused = world.admin(document, json!({"input": change})).await;
    let refused = &refused["updateDeploymentSettings"]["refusals"];
    let message = "Version v3 has no endpoint score; it has explain. Choose one of its own.";
    assert_eq!(*refused, json!([{"code": "ENDPOINT_MISSING", "field": "endpoint", "message": message}]));
    let same = json!({"id": "fraud-cloud", "expectedVersion": 2, "settings": {"tags": ["a"], "service": {"endpoint": "score"}}});
    let saved = world.admin(document, json!({"input": same})).await;
    assert_eq!(saved["updateDeploymentSettings"]["refusals"], json!([]));
}

#[tokio::test]
async fn settings_are_checked_with_the_secrets_that_are_entered() {
    let world = world().await;
    let document = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { infrastructure { settings { platform } } refusals { code field } } }";
    let create = async |platform: Value| {
        let input = json!({"id": "CLUSTER", "kind": "K8S", "stage": "Test", "settings": {"platform": platform}});
        world.admin(document, json!({"input": input})).await["createInfrastructure"].clone()
    };
    let refused =
        create(json!({"registryUser": "robot", "workload": {"secretEnv": [{"name": "DB_PASSWORD", "value": ""}]}}));
    let fields = ["platform.registryPassword", "platform.workload.secretEnv[0].value"];
    let fields = fields.map(|field| json!({"code": "SETTING_INVALID", "field": field}));
    assert_eq!(refused.await["refusals"], json!(fields));
    let made = create(json!({
        "registryUser": "robot", "registryPassword": "of-a-robot",
        "workload": {"secretEnv": [{"name": "DB_PASSWORD", "value": "of-a-database"}]},
    }));
    let made = made.await;
    assert_eq!(made["refusals"], json!([]), "{made}");
    let platform = &made["infrastructure"]["settings"]["platform"];
    assert_eq!(platform["registryPassword"], "**********");
    assert_eq!(platform["workload"]["secretEnv"][0]["value"], "**********");

    // All of it goes to the cluster: whoever leads it to another one enters all of it again, the key of the query log, too.
    let save = async |platform: Value, query_log: Option<Value>| {
        let seen = world.admin("{ infrastructure(id: \"CLUSTER\") { version } }", json!({})).await;
        let mut settings = json!({"platform": platform});
        if let Some(log) = query_log {
            settings["queryLog"] = log;
        }
        let input =
            json!({"id": "CLUSTER", "expectedVersion": seen["infrastructure"]["version"], "settings": settings});
        let document = "mutation($input: UpdateInfrastructureInput!) { updateInfrastructure(input: $input) { refusals { code field } } }";
        let saved = world.admin(document, json!({"input": input})).await;
        let refusals = saved["updateInfrastructure"]["refusals"].as_array().unwrap().clone();
        let fields = refusals.iter().map(|one| {
            assert_eq!(one["code"], "ADMIN_KEY_MASKED", "{one}");
            one["field"].as_str().unwrap().to_owned()
        });
        let mut fields: Vec<_> = fields.collect();
        fields.sort();
        fields
    };
    let log = |key: &str| json!({"type": "EVENT_SERVER", "url": "https://events.example.com", "key": key});
    let with = |cluster: Value| {
        let mut whole = platform.clone();
        whole["cluster"] = cluster;
        whole
    };
    let there = json!({"access": "KUBECONFIG", "kubeconfig": kubeconfig("a-cluster.example.com", "token: of-a-robot")});
    let mut first = with(there);
    first["registryPassword"] = json!("of-a-robot");
    first["workload"]["secretEnv"][0]["value"] = json!("of-a-database");
    assert_eq!(save(first, Some(log("of-events"))).await, [""; 0]);
    let kept = json!({"access": "KUBECONFIG", "kubeconfig": "**********"});
    assert_eq!(save(with(kept.clone()), None).await, [""; 0], "it is the same cluster");
    let fields = ["platform.registryPassword", "platform.workload.secretEnv[0].value", "queryLog.key"];
    for elsewhere in [
        json!({"access": "KUBECONFIG", "kubeconfig": kubeconfig("another.example.com", "token: of-a-robot")}),
        json!({"access": "TOKEN", "apiServer": "https://other.example.com", "token": "mine"}),
    ] {
        assert_eq!(save(with(elsewhere.clone()), None).await, fields);
        assert_eq!(save(with(elsewhere), Some(log("**********"))).await, fields);
    }
    let mut other_context = kept;
    other_context["context"] = json!("other");
    let mut all = vec!["platform.cluster.kubeconfig".to_owned()];
    all.extend(fields.map(str::to_owned));
    assert_eq!(save(with(other_context), None).await, all);
}

const NO_PEM: &str = "aHVudGVyMg==";

/// A kubeconfig of a cluster at this host; `user` is what its user has.
fn kubeconfig(name: &str, user: &str) -> String {
    format!(
        "current-context: main\ncontexts: [{{name: main, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: 'https://{name}'}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
    )
}

#[tokio::test]
async fn a_secret_that_can_not_be_read_is_refused_when_it_is_entered() {
    let world = services().await;
    let refused = async |mutation: &str, document: &str, input: Value| {
        let made = world.admin(document, json!({"input": input})).await;
        let whole = made.to_string();
        assert!(!whole.contains("hunter2") && !whole.contains("aHVudGVyMg"), "{whole}");
        let refusals = made[mutation]["refusals"].as_array().unwrap().clone();
        let [refusal] = refusals.as_slice() else { panic!("{refusals:?}") };
        assert_eq!(refusal["code"], "SETTING_INVALID", "{refusal}");
        let message = refusal["message"].as_str().unwrap().to_owned();
        (refusal["field"].as_str().unwrap().to_owned(), message)
    };
    let infrastructure = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { refusals { code field message } } }";
    let connection = "mutation($input: CreateConnectionInput!) { createConnection(input: $input) { refusals { code field message } } }";
    for (config, context, said) in [
        ("hunter2".to_owned(), "", "The kubeconfig must be one YAML document"),
        (kubeconfig("a-cluster.example.com", "exec: {command: hunter2}"), "", "uses exec, which is refused"),
        (kubeconfig("a-cluster.example.com", "token: hunter2"), "other", "no context named other"),
        (kubeconfig("169.254.169.254", "token: hunter2"), "", "The server of the kubeconfig:"),
        (
            kubeconfig(
                "a-cluster.example.com",
                &format!("client-certificate-data: {NO_PEM}, client-key-data: {NO_PEM}"),
            ),
            "",
            "The client certificate is none",
        ),
    ] {
        let cluster = json!({"access": "KUBECONFIG", "kubeconfig": config, "context": context});
        let settings = json!({"platform": {"cluster": cluster}});
        let input = json!({"id": "UNREAD", "kind": "K8S", "stage": "Test", "settings": settings});
        let (field, message) = refused("createInfrastructure", infrastructure, input).await;
        assert_eq!(field, "platform.cluster.kubeconfig");
        assert!(message.contains(said), "{message}");
    }
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{NO_PEM}\n-----END PRIVATE KEY-----\n");
    let file = json!({"client_email": "robot@example.com", "private_key": &pem}).to_string();
    for (kind, name, secret) in [
        ("GCP", "serviceAccountKey", "hunter2"),
        ("GCP", "serviceAccountKey", file.as_str()),
        ("SNOWFLAKE", "privateKey", "hunter2"),
        ("SNOWFLAKE", "privateKey", pem.as_str()),
    ] {
        let input = json!({"id": "unread", "type": kind, "settings": {name: secret}});
        let (field, message) = refused("createConnection", connection, input).await;
        assert_eq!(field, format!("settings.{name}"));
        assert!(message.contains("key"), "{message}");
    }
    // What replaces a secret is looked at as the first one is.
    let made = world.admin(connection, json!({"input": {"id": "gcp", "type": "GCP", "settings": {}}})).await;
    assert_eq!(made["createConnection"]["refusals"], json!([]));
    let update = "mutation($input: UpdateConnectionInput!) { updateConnection(input: $input) { refusals { code field message } } }";
    let input = json!({"id": "gcp", "expectedVersion": 1, "settings": {"serviceAccountKey": "hunter2"}});
    assert_eq!(refused("updateConnection", update, input).await.0, "settings.serviceAccountKey");
}

#[tokio::test]
async fn a_group_that_is_deleted_may_query_no_more() {
    let world = services().await;
    let groups = "{ deployment(id: \"fraud-test\") { service { queryGroups } } }";
    assert_eq!(world.admin(groups, json!({})).await["deployment"]["service"]["queryGroups"], json!(["other"]));
    let deleted = world.admin("mutation { deleteGroup(name: \"other\") { refusals { code } } }", json!({})).await;
    assert_eq!(deleted["deleteGroup"]["refusals"], json!([]));
    assert_eq!(world.admin(groups, json!({})).await["deployment"]["service"]["queryGroups"], json!([]));
}

async fn save(world: &World, settings: Value) -> Value {
    let of = "query { deployment(id: \"fraud-test\") { version } }";
    let version = world.admin(of, json!({})).await["deployment"]["version"].clone();
    let document = "mutation($input: UpdateDeploymentSettingsInput!) { updateDeploymentSettings(input: $input) { refusals { code field message } } }";
    let input = json!({"id": "fraud-test", "expectedVersion": version, "settings": settings});
    world.admin(document, json!({"input": input})).await["updateDeploymentSettings"]["refusals"].clone()
}

#[tokio::test]
async fn a_version_that_is_named_is_not_deployed_while_the_service_is_off() {
    let world = services().await;
    assert_eq!(save(&world, json!({"service": {"enabled": false}})).await, json!([]));
    let refused = start(&world, "fraud-test", Some("v2")).await;
    assert_eq!(refused["refusals"], json!([{"code": "DEPLOYMENT_DISABLED", "field": "deploymentId"}]));
    // The client's way: the setting, and an update that makes it so.
    assert_eq!(start(&world, "fraud-test", None).await["refusals"], json!([]));
    assert_eq!(save(&world, json!({"service": {"enabled": true}})).await, json!([]));
    assert_eq!(start(&world, "fraud-test", Some("v2")).await["refusals"], json!([]));
}

#[tokio::test]
async fn what_only_projects_have_is_refused() {
    let world = services().await;
    for (settings, field) in [
        (json!({"projectFolder": "there"}), "projectFolder"),
        (json!({"localVariables": {"a": 1}}), "localVariables"),
        (json!({"connectionRemapping": [{"source": "a", "target": "b"}]}), "connectionRemapping"),
        (json!({"disableAutomaticTriggers": true}), "disableAutomaticTriggers"),
    ] {
        let refused = save(&world, settings).await;
        assert_eq!(
            (&refused[0]["code"], &refused[0]["field"]),
            (&json!("NOT_FOR_API_SERVICES"), &json!(field)),
            "{refused}"
        );
    }
    assert_eq!(save(&world, json!({"connectionRemapping": [], "tags": ["a"]})).await, json!([]), "nothing is nothing");
    let refused = save(&world, json!({"service": {"endpoint": "score"}})).await;
    assert_eq!(
        (&refused[0]["code"], &refused[0]["field"]),
        (&json!("SETTING_INVALID"), &json!("endpoint")),
        "{refused}"
    );
}

#[tokio::test]
async fn settings_of_a_service_are_refused_in_words() {
    let world = services().await;
    let fields = |refused: &Value| -> Vec<String> {
        refused.as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap().to_owned()).collect()
    };
    let kafka = json!({"type": "KAFKA", "brokers": ["k:65536"], "topic": "t", "sasl": "PLAIN"});
    let refused = save(&world, json!({"service": {"queryLog": kafka}})).await;
    assert_eq!(fields(&refused), ["queryLog.brokers[0]", "queryLog.username", "queryLog.password"], "{refused}");
    let log = json!({"type": "EVENT_SERVER", "url": "http://169.254.169.254/"});
    assert_eq!(fields(&save(&world, json!({"service": {"queryLog": log}})).await), ["queryLog.url"]);
    let keys = json!({"method": "API_KEYS", "keys": ["a:b", "x", "x"]});
    let refused = save(&world, json!({"service": {"authorization": keys}})).await;
    assert_eq!(fields(&refused), ["authorization.keys[0]", "authorization.keys[2]"]);
    for jwt in [json!({}), json!({"jwks": {"keys": []}}), json!({"jwks": {"keys": [{"kty": "RSA"}]}})] {
        let mut whole = json!({"method": "OAUTH2"});
        whole.as_object_mut().unwrap().extend(jwt.as_object().cloned().unwrap());
        let refused = save(&world, json!({"service": {"authorization": whole}})).await;
        assert!(!fields(&refused).is_empty());
        let told = refused.to_string();
        assert!(!told.contains("schema") && !told.contains('^'), "{told}");
    }
}
