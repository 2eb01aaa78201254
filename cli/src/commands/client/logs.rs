//! `slipway logs`: what an update's hooks, steps and node say.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    find::{self, Which},
    report,
};
use crate::{
    args::Logs,
    client::{Client, Following},
    commands::{say, say_json, signals::Signals},
    failure::Failure,
    login::Login,
    plain::plain,
};

/// The subscription to what is said.
pub(super) const LINES: &str = "subscription($id: ID!, $after: Long) { updateLog(updateId: $id, afterSeq: $after) {
  seq at step attempt stream adminsOnly line } }";

const PAGE: &str = "query($id: ID!, $after: String) { update(id: $id) { log(first: 999, after: $after) {
  nodes { seq at step attempt stream adminsOnly line } pageInfo { hasNextPage endCursor } } } }";

pub(super) async fn run(args: Logs) -> Result<ExitCode, Failure> {
    let client = Client::of(&Login::find(&args.connect)?)?;
    let id = find::update(&client, &args.of, Which::Newest).await?;
    let steps = step_names(&report::read(&client, &id).await?);
    let tell = |line: &Value| if args.output.json { say_json(&typed("log", line)) } else { say(text(line, &steps)) };
    if !args.follow {
        let mut after = Value::Null;
        loop {
            let update = client.ask(PAGE, json!({ "id": id, "after": after })).await?;
            let log = &update["log"];
            log["nodes"].as_array().into_iter().flatten().try_for_each(tell)?;
            if log["pageInfo"]["hasNextPage"] != true {
                return Ok(ExitCode::SUCCESS);
            }
            after = log["pageInfo"]["endCursor"].clone();
        }
    }
    let mut signals = Signals::listen()?;
    let mut lines = Following::new(&client, LINES, &id);
    let lost = |failure: &Failure| crate::tell(plain(&format!("no connection ({failure}); it is tried again")));
    loop {
        tokio::select! {
            line = lines.next(lost) => match line? {
                Some(line) => tell(&line)?,
                None => break,
            },
            exit = signals.which() => return Ok(ExitCode::from(exit)),
        }
    }
    let update = report::read(&client, &id).await?;
    Ok(ExitCode::from(report::tell(&client, &update, args.output.json, false).await?))
}

/// The names of an update's steps, by index.
pub(super) fn step_names(update: &Value) -> Vec<String> {
    let steps = update["steps"].as_array().into_iter().flatten();
    steps.map(|step| step["name"].as_str().unwrap_or("-").to_owned()).collect()
}

/// A line of the log, with the step that said it.
pub(super) fn text(line: &Value, steps: &[String]) -> String {
    let step = line["step"].as_u64().and_then(|index| steps.get(usize::try_from(index).ok()?));
    plain(&format!("{} | {}", step.map_or("-", String::as_str), line["line"].as_str().unwrap_or_default()))
}

/// The same as an object that says what it is.
pub(super) fn typed(kind: &str, value: &Value) -> Value {
    let mut typed = value.clone();
    typed["type"] = kind.into();
    typed
}
