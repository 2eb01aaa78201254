//! Lists: all pages of them, and how they are written.

use serde_json::{Value, json};

use crate::{client::Client, commands::say, failure::Failure};

/// The bundles of a published project, newest first.
pub(super) async fn bundles(client: &Client, project: &str) -> Result<Vec<Value>, Failure> {
    let document = "query($of: String!, $after: String) { publishedProject(key: $of) { packages: bundles(first: 100, after: $after) {
  nodes { id projectKey fileName sha256 size uploadedAt uploadedBy releaseNotes } pageInfo { hasNextPage endCursor } } } }";
    packages(client, document, project, "project").await
}

/// The versions of a published service, newest first.
pub(super) async fn versions(client: &Client, service: &str) -> Result<Vec<Value>, Failure> {
    let document = "query($of: ID!, $after: String) { publishedService(id: $of) { packages: versions(first: 100, after: $after) {
  nodes { version serviceId fileName sha256 size uploadedAt uploadedBy authMethod endpoints { id type } } pageInfo { hasNextPage endCursor } } } }";
    packages(client, document, service, "service").await
}

async fn packages(client: &Client, document: &str, of: &str, parent: &str) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut after = Value::Null;
    loop {
        let found = client.ask(document, json!({ "of": of, "after": after })).await?;
        if found.is_null() {
            return Err(absent(parent));
        }
        match page(&found["packages"], &mut all) {
            Some(next) => after = next,
            None => return Ok(all),
        }
    }
}

/// All pages of a connection that is the document's one field and takes `after`; `variables` are its others.
pub(super) async fn all(client: &Client, document: &str, variables: &Value) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut variables = variables.clone();
    loop {
        let found = client.ask(document, variables.clone()).await?;
        match page(&found, &mut all) {
            Some(next) => variables["after"] = next,
            None => return Ok(all),
        }
    }
}

/// Takes a page's nodes: where the next one begins, if there is one.
fn page(connection: &Value, all: &mut Vec<Value>) -> Option<Value> {
    all.extend(connection["nodes"].as_array().into_iter().flatten().cloned());
    let info = &connection["pageInfo"];
    (info["hasNextPage"] == true).then(|| info["endCursor"].clone())
}

/// What is not there, or hidden from who asks.
pub(super) fn absent(what: &str) -> Failure {
    Failure::refused("NOT_FOUND", "There is nothing here that you may see.").about(Some(what))
}

/// Rows under their headings, in columns.
pub(super) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), Failure> {
    let rows: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        say(cells.join("  ").trim_end())?;
    }
    Ok(())
}
