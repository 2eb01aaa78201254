//! The SQL API: a statement is submitted under a request id of ours, so that one whose answer was lost is not done twice.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    client::{Api, Call, Trouble, late, refused},
    ident::Ident,
};
use crate::{
    codes,
    http::{CallError, Effect, Exchange, Method as Verb},
};

/// The first and the longest pause between looks at a statement that runs.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LATEST_LOOK: Duration = Duration::from_secs(3);
/// So much of Snowflake's sentence reaches the user's.
const SAID: usize = 500;
/// More rows than this are not read.
const MOST_ROWS: usize = 50_000;

/// In whose name and where a statement runs. Names as Snowflake keeps them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    pub(crate) role: Option<Ident>,
    pub(crate) warehouse: Option<Ident>,
    pub(crate) database: Option<Ident>,
    pub(crate) schema: Option<Ident>,
}

/// A statement.
pub(crate) struct Statement<'a> {
    pub(crate) sql: String,
    /// Texts for its question marks; None is NULL.
    pub(crate) bindings: Vec<Option<String>>,
    pub(crate) context: &'a Context,
    pub(crate) doing: &'a str,
}

/// A statement's answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is done.
    Done(Rows),
    /// It runs; ask by this handle.
    Running(String),
}

/// Rows, by the names of their columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }

    pub(crate) fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    columns: &'a [String],
    values: &'a [Option<String>],
}

impl<'a> Row<'a> {
    /// The value of a column; empty if there is none.
    pub(crate) fn text(&self, column: &str) -> &'a str {
        let at = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column));
        at.and_then(|at| self.values.get(at)).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The values of all columns; None is NULL.
    pub(crate) fn all(&self) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        self.values.iter().map(Option::as_deref)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    statement_handle: String,
    result_set_meta_data: MetaData,
    data: Vec<Vec<Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MetaData {
    row_type: Vec<Column>,
    partition_info: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Column {
    name: String,
}

impl Api {
    /// Submits a statement. `request` is the id under which it is known; `again` says that it may have been submitted before.
    pub(crate) async fn submit(
        &self,
        statement: &Statement<'_>,
        request: Option<(&str, bool)>,
    ) -> Result<Answer, CallError> {
        let mut query = Vec::new();
        if let Some((id, again)) = request {
            query.push(("requestId", id));
            if again {
                query.push(("retry", "true"));
            }
        }
        let body = body(statement, self.patience());
        let call = Call {
            verb: Verb::POST,
            path: &["api", "v2", "statements"],
            query: &query,
            body: Some(body),
            doing: statement.doing,
        };
        self.answered(&self.raw(call).await?, statement.doing)
    }

    /// How a statement is that was submitted.
    pub(crate) async fn ask(&self, handle: &str, doing: &str) -> Result<Answer, CallError> {
        self.answered(&self.raw(Call::get(&["api", "v2", "statements", handle], doing)).await?, doing)
    }

    /// Runs a statement that changes nothing, to its end.
    pub(crate) async fn read(&self, statement: &Statement<'_>) -> Result<Rows, CallError> {
        let until = tokio::time::Instant::now() + self.patience();
        let mut answer = self.submit(statement, None).await?;
        let mut pause = FIRST_LOOK;
        loop {
            match answer {
                Answer::Done(rows) => return Ok(rows),
                Answer::Running(_) if tokio::time::Instant::now() + pause > until => return Err(late(statement.doing)),
                Answer::Running(handle) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LATEST_LOOK);
                    answer = self.ask(&handle, statement.doing).await?;
                }
            }
        }
    }

    fn answered(&self, answer: &Exchange, doing: &str) -> Result<Answer, CallError> {
        match answer.status {
            202 => {
                let wire: Wire = answer.json(doing)?;
                let sound = (1..=200).contains(&wire.statement_handle.len())
                    && wire.statement_handle.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                if sound { Ok(Answer::Running(wire.statement_handle)) } else { Err(unexpected(doing)) }
            }
            200 => {
                let wire: Wire = answer.json(doing)?;
                if wire.result_set_meta_data.partition_info.len() > 1 || wire.data.len() > MOST_ROWS {
                    let message = format!("Snowflake answered with more rows than Slipway reads ({doing}).");
                    return Err(CallError::permanent(codes::NODE_ANSWER_TOO_LARGE, message, Effect::Ended));
                }
                let columns = wire.result_set_meta_data.row_type.into_iter().map(|column| column.name).collect();
                Ok(Answer::Done(Rows { columns, rows: wire.data }))
            }
            422 => Err(self.sql_error(answer, doing)),
            _ => Err(refused(answer, doing)),
        }
    }

    /// The statement was understood, and failed: with Snowflake's code, SQL state and sentence.
    fn sql_error(&self, answer: &Exchange, doing: &str) -> CallError {
        let trouble = Trouble::of(answer);
        let code = match trouble.sql_state.as_str() {
            // "does not exist or not authorized": Snowflake does not tell which.
            "42S02" | "02000" => codes::NODE_NOT_FOUND,
            "42501" => codes::NODE_FORBIDDEN,
            _ => codes::SNOWFLAKE_SQL_FAILED,
        };
        let said = self.clean(&trouble.message, SAID);
        let state =
            if trouble.sql_state.is_empty() { String::new() } else { format!(", SQL state {}", trouble.sql_state) };
        let numbers = self.clean(&format!("{}{state}", trouble.code), 60);
        let message = format!("Snowflake refused {doing}: {said} ({numbers})");
        CallError::permanent(code, message, Effect::Ended).detail(answer.seen())
    }
}

fn unexpected(doing: &str) -> CallError {
    let message = format!("Snowflake's answer does not have the shape that its API promises ({doing}).");
    CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, Effect::Unknown)
}

fn body(statement: &Statement<'_>, patience: Duration) -> Value {
    let mut body = Map::new();
    body.insert("statement".into(), json!(statement.sql));
    body.insert("timeout".into(), json!(patience.as_secs().clamp(1, 604_800)));
    let context = statement.context;
    for (name, value) in [
        ("role", &context.role),
        ("warehouse", &context.warehouse),
        ("database", &context.database),
        ("schema", &context.schema),
    ] {
        if let Some(value) = value {
            body.insert(name.into(), json!(value.as_str()));
        }
    }
    if !statement.bindings.is_empty() {
        let bound =
            |(n, value): (usize, &Option<String>)| ((n + 1).to_string(), json!({"type": "TEXT", "value": value}));
        body.insert("bindings".into(), Value::Object(statement.bindings.iter().enumerate().map(bound).collect()));
    }
    Value::Object(body)
}
