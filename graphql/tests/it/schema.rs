//! The schema's text is committed: a change of it is seen in review.

use std::path::Path;

#[test]
fn the_committed_schema_is_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let now = graphql::schema_text();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "graphql/schema.graphql is not the schema: run this test with UPDATE_SCHEMA=1 and commit the file"
    );
}

#[tokio::test]
async fn everything_is_described() {
    let query = "{ __schema { types { name kind description fields { name description args { name description } }
        inputFields { name description } enumValues { name description } } } }";
    let answer = graphql::builder().finish().execute(query).await.into_result().unwrap().data.into_json().unwrap();
    let mut bare = Vec::new();
    let mut look = |path: String, thing: &serde_json::Value| {
        if thing["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            bare.push(path);
        }
    };
    for kind in answer["__schema"]["types"].as_array().unwrap() {
        let name = kind["name"].as_str().unwrap();
        // Introspection, Relay's connections and IDs come from the library.
        if name.starts_with("__")
            || name == "ID"
            || name.ends_with("Connection")
            || name.ends_with("Edge")
            || name == "PageInfo"
        {
            continue;
        }
        look(name.to_owned(), kind);
        for list in ["fields", "inputFields", "enumValues"] {
            for field in kind[list].as_array().into_iter().flatten() {
                let path = format!("{name}.{}", field["name"].as_str().unwrap());
                look(path.clone(), field);
                for arg in field["args"].as_array().into_iter().flatten() {
                    look(format!("{path}({})", arg["name"].as_str().unwrap()), arg);
                }
            }
        }
    }
    assert!(bare.is_empty(), "without a description: {bare:#?}");
}

#[test]
fn nothing_secret_can_be_asked_for() {
    let schema = graphql::schema_text();
    let outputs = schema.split("\ninput ").next().unwrap_or_default();
    assert!(!outputs.contains("adminKey:"), "a node's key is write-only");
    assert!(!outputs.contains("governanceKey:"), "a governance source's key is write-only");
}
