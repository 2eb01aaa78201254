//! Ids, addresses of nodes, and ways of asking.

use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::{
    Fleet, Size, client, practice,
    requests::{REFUSALS, quoted},
};

/// Ids that nothing can have.
fn bad_ids() -> Vec<String> {
    let mut all: Vec<String> =
        ["", " ", "a/b", "a?b", "a#b", "a%2fb", "a\\b", " a", "a ", "a\nb", "a\u{0}b", ".", ".."]
            .map(str::to_owned)
            .into();
    all.push("x".repeat(101));
    all.push("ü".repeat(101));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_nothing_can_have() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let node = practice::node().await;
    let api = &fleet.client;
    api.infrastructure("production", &node, json!({})).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    let infrastructure = format!(
        "mutation($input: CreateInfrastructureInput!) {{ createInfrastructure(input: $input) {{ {REFUSALS} }} }}"
    );
    let deployment =
        format!("mutation($input: CreateDeploymentInput!) {{ createDeployment(input: $input) {{ {REFUSALS} }} }}");
    let of_infrastructure =
        |id: &str| json!({"input": {"id": id, "stage": "Test", "settings": {"nodeUrl": "http://node.example"}}});
    let of_deployment = |id: &str| json!({"input": {"id": id, "infrastructureId": "production", "projectKey": "CHURN", "bundleId": "v1"}});
    let of_project =
        |key: &str| format!("mutation {{ createPublishedProject(key: {}) {{ {REFUSALS} }} }}", quoted(key));
    let refusal = |code: &str, field: &str| vec![(code.to_owned(), field.to_owned())];
    for id in bad_ids() {
        assert_eq!(api.refused(&infrastructure, of_infrastructure(&id)).await, refusal("ID_INVALID", "id"), "{id:?}");
        assert_eq!(api.refused(&deployment, of_deployment(&id)).await, refusal("ID_INVALID", "id"), "{id:?}");
        assert_eq!(api.refused(&of_project(&id), json!({})).await, refusal("ID_INVALID", "key"), "{id:?}");
    }
    // Reserved, or taken: one text.
    let text = |document: String, variables: Value| async move {
        let answer = api.graphql(&document, variables).await;
        answer.as_object().unwrap().values().next().unwrap()["refusals"].clone()
    };
    api.deployment("churn", "production", ("CHURN", "v1"), "CHURN", json!({})).await;
    let taken = [
        (infrastructure.clone(), of_infrastructure("production"), "id"),
        (deployment.clone(), of_deployment("churn"), "id"),
        (of_project("CHURN"), json!({}), "key"),
    ];
    let mut texts = Vec::new();
    for (document, variables, field) in taken {
        let refused = text(document, variables).await;
        assert_eq!(
            (&refused[0]["code"], &refused[0]["field"]),
            (&json!("ID_NOT_AVAILABLE"), &json!(field)),
            "{refused:#}"
        );
        texts.push(refused[0]["message"].clone());
    }
    for reserved in ["stages", "infras", "bundles"] {
        for (document, variables) in [
            (infrastructure.clone(), of_infrastructure(reserved)),
            (deployment.clone(), of_deployment(reserved)),
            (of_project(reserved), json!({})),
        ] {
            let refused = text(document, variables).await;
            assert_eq!(refused[0]["code"], "ID_NOT_AVAILABLE", "{reserved}: {refused:#}");
            texts.push(refused[0]["message"].clone());
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:#?}");
    let hundred = "x".repeat(100);
    assert_eq!(api.refused(&infrastructure, of_infrastructure(&hundred)).await, []);

    // Whoever may not see it, gets for a taken id what everybody gets, and for any other question what an id gets that never was.
    let outsider = fleet.user("outsider", &[]);
    let creates = of_project("CHURN");
    assert_eq!(outsider.refused(&creates, json!({})).await, refusal("ID_NOT_AVAILABLE", "key"));
    for question in [
        "{ infrastructure(id: ID) { id } }",
        "{ deployment(id: ID) { id } }",
        "{ publishedProject(key: ID) { key } }",
        "{ bundle(projectKey: ID, id: \"v1\") { id } }",
        "{ previewUpdate(deploymentId: ID) { preview { actingUser } refusals { code field message } } }",
        "mutation { checkInfrastructure(id: ID) { report { identity } refusals { code field message } } }",
        "mutation { startUpdate(deploymentId: ID) { update { id } refusals { code field message } } }",
        "mutation { deleteInfrastructure(id: ID) { deletedId refusals { code field message } } }",
        "mutation { deleteDeployment(id: ID) { deletedId refusals { code field message } } }",
        "mutation { deletePublishedProject(key: ID) { deletedKey refusals { code field message } } }",
        "mutation { deleteBundle(projectKey: ID, id: \"v1\") { deletedId refusals { code field message } } }",
        "mutation { setHooks(infrastructureId: ID, phase: PRE, hooks: [], expectedVersion: 1) { hooks { id } refusals { code field message } } }",
        "{ updates(filter: {deployment: ID}) { nodes { id } } }",
        "{ deployments(filter: {infrastructure: ID}) { nodes { id } pageInfo { hasNextPage endCursor } } }",
    ] {
        let never = bytes(
            &outsider,
            &question.replace("ID)", "\"never\")").replace("ID,", "\"never\",").replace("ID}", "\"never\"}"),
        )
        .await;
        for id in ["production", "churn", "CHURN"] {
            let id = quoted(id);
            let asked = question
                .replace("ID)", &format!("{id})"))
                .replace("ID,", &format!("{id},"))
                .replace("ID}", &format!("{id}}}"));
            assert_eq!(bytes(&outsider, &asked).await, never, "{asked}");
        }
    }
    // Nothing happened by all this.
    let left = api.ask("{ deployment(id: \"churn\") { id infrastructure { id } bundle { id } } }", json!({})).await;
    assert_eq!(left, json!({"id": "churn", "infrastructure": {"id": "production"}, "bundle": {"id": "v1"}}));
}

/// Status and body, to the byte.
async fn bytes(api: &tests::Client, document: &str) -> (u16, String) {
    let request =
        client::http().post(format!("{}/graphql", api.url())).bearer_auth(api.key()).json(&json!({"query": document}));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_nodes() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let api = &fleet.client;
    let create = format!(
        "mutation($input: CreateInfrastructureInput!) {{ createInfrastructure(input: $input) {{ {REFUSALS} }} }}"
    );
    for (url, code) in [
        ("node", "NODE_URL_INVALID"),
        ("ftp://node.example", "NODE_URL_INVALID"),
        ("file:///etc/passwd", "NODE_URL_INVALID"),
        ("http://user:password@node.example", "NODE_URL_INVALID"),
        ("http://node.example/?a=b", "NODE_URL_INVALID"),
        ("http://169.254.169.254/", "NODE_ADDRESS_FORBIDDEN"),
        ("http://[fe80::1]/", "NODE_ADDRESS_FORBIDDEN"),
        ("http://[::ffff:169.254.169.254]/", "NODE_ADDRESS_FORBIDDEN"),
        ("http://2852039166/", "NODE_ADDRESS_FORBIDDEN"),
        ("http://100.100.100.200", "NODE_ADDRESS_FORBIDDEN"),
        ("http://168.63.129.16", "NODE_ADDRESS_FORBIDDEN"),
        ("http://[fd00:ec2::254]", "NODE_ADDRESS_FORBIDDEN"),
    ] {
        let input = json!({"input": {"id": "node", "stage": "Test", "settings": {"nodeUrl": url}}});
        let refused = api.refused(&create, input).await;
        assert_eq!(refused, [(code.to_owned(), "nodeUrl".to_owned())], "{url}");
    }
    // Private addresses are where nodes live.
    for (at, url) in
        ["http://10.1.2.3:11200", "http://192.168.0.1", "http://[fd12::1]", "http://localhost:1"].iter().enumerate()
    {
        let input = json!({"input": {"id": format!("node-{at}"), "stage": "Test", "settings": {"nodeUrl": url}}});
        assert_eq!(api.refused(&create, input).await, [], "{url}");
    }
    // Moving a node drops its key.
    let node = practice::node().await;
    api.infrastructure("production", &node, json!({})).await;
    api.change_infrastructure("production", json!({"nodeUrl": "http://10.9.9.9"})).await;
    let now = api.ask("{ infrastructure(id: \"production\") { hasAdminKey } }", json!({})).await;
    assert_eq!(now["hasAdminKey"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_of_asking() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let (url, key) = (format!("{}/graphql", fleet.client.url()), fleet.client.key());
    let http = client::http();
    let code = |answer: reqwest::Response| async move {
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let mutation = "mutation { createGroup(name: \"g\") { refusals { code } } }";
    let by_link = http.get(&url).query(&[("query", mutation)]).bearer_auth(key).send().await.unwrap();
    assert_eq!(code(by_link).await, (405, "MUTATION_NEEDS_POST".to_owned()));
    let by_form = http
        .post(&url)
        .bearer_auth(key)
        .header("content-type", "text/plain")
        .body(json!({"query": mutation}).to_string());
    assert_eq!(code(by_form.send().await.unwrap()).await, (415, "CONTENT_TYPE_INVALID".to_owned()));
    let by_page = http
        .post(&url)
        .bearer_auth(key)
        .header("origin", "https://elsewhere.example")
        .json(&json!({"query": mutation}));
    assert_eq!(code(by_page.send().await.unwrap()).await, (403, "ORIGIN_NOT_ALLOWED".to_owned()));
    for stranger in [None, Some("slw_"), Some("nobody"), Some(&key[..key.len() - 1])] {
        let mut request = http.post(&url).json(&json!({"query": mutation}));
        if let Some(stranger) = stranger {
            request = request.bearer_auth(stranger);
        }
        assert_eq!(code(request.send().await.unwrap()).await, (401, "UNAUTHENTICATED".to_owned()), "{stranger:?}");
    }
    let many: Vec<Value> = (0..11).map(|_| json!({"query": "{ viewer { login } }"})).collect();
    let batch = http.post(&url).bearer_auth(key).json(&many).send().await.unwrap();
    assert_eq!(code(batch).await, (400, "BATCH_TOO_LARGE".to_owned()));
    let deep = format!(
        "{{ infrastructures {{ nodes {} }} }}",
        "{ deployments { nodes { infrastructure ".repeat(8) + "{ id }" + &" } } }".repeat(8)
    );
    let deep = http.post(&url).bearer_auth(key).json(&json!({"query": deep})).send().await.unwrap();
    assert_eq!(code(deep).await, (200, "DOCUMENT_OVER_LIMIT".to_owned()));
    let large = http.post(&url).bearer_auth(key).json(&json!({"query": "x".repeat(3 << 20)})).send().await.unwrap();
    assert_eq!(code(large).await, (413, "BODY_TOO_LARGE".to_owned()));
    // None of them did anything; the key as the user name of Basic authentication does.
    let groups = "{ groups { nodes { name } } }";
    let basic = http.post(&url).basic_auth(key, Some("")).json(&json!({"query": groups})).send().await.unwrap();
    let names: Value = basic.json().await.unwrap();
    assert_eq!(names["data"]["groups"]["nodes"], json!([{"name": "administrators"}]));
    // A query by link is fine, and GraphiQL is there without a network.
    let by_link = http.get(&url).query(&[("query", groups)]).bearer_auth(key).send().await.unwrap();
    assert_eq!(by_link.status(), 200);
    let page = http.get(format!("{}/graphiql", fleet.client.url())).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(!page.contains("https://") && !page.contains("http://"), "{page}");
}
