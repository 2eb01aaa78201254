//! How an update ended: for people, and for programs.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{
    advice,
    client::Client,
    commands::{say, say_json, show},
    failure::Failure,
    plain::plain,
};

/// How many lines of a failing step's log are shown.
const TAIL: usize = 20;
/// How many pages of a log are looked through for them.
const PAGES: u32 = 200;

const UPDATE: &str = "query($id: ID!) { update(id: $id) {
  id number kind status deploymentId infrastructureId projectKey bundleId requester requestedAt startedAt endedAt cancelRequestedBy warnings
  failure { code message detail help }
  steps { index name status hookName attempts { number failure { code } } }
  deployment { latestUpdate { id number } }
  nodes { name status step failure { code message } receipt { projectKey bundle service { serviceId versions { version probability } urls } differences { what found wanted } } }
  receipt { projectKey bundle service { serviceId enabled versions { version probability } urls } connections { source target wantedType foundType }
    scenarios { id runAs active } webapps { id runAs active } differences { what found wanted } } } }";

const LOG: &str = "query($id: ID!, $after: String) { update(id: $id) { log(first: 999, after: $after) {
  nodes { step line } pageInfo { hasNextPage endCursor } } } }";

/// An update as it is now.
pub(super) async fn read(client: &Client, id: &str) -> Result<Value, Failure> {
    let update = client.ask(UPDATE, json!({ "id": id })).await?;
    if update.is_null() { Err(super::list::absent("id")) } else { Ok(update) }
}

/// Whether it will not go on by itself.
pub(super) fn is_over(update: &Value) -> bool {
    matches!(update["status"].as_str(), Some("SUCCEEDED" | "WARNING" | "FAILED" | "CANCELLED" | "STUCK"))
}

/// The exit code of an update that is over.
pub(super) fn exit(update: &Value) -> u8 {
    if matches!(update["status"].as_str(), Some("SUCCEEDED" | "WARNING")) { 0 } else { 1 }
}

/// Tells how an update ended, and answers the exit code for that.
/// Of one that was asked for before, it says what was on the node then: that is all it can tell.
pub(super) async fn tell(client: &Client, update: &Value, json: bool, repeated: bool) -> Result<u8, Failure> {
    let exit = exit(update);
    let is_newest = update["deployment"]["latestUpdate"]["id"] == update["id"];
    let failure = if exit == 0 { None } else { Some(Trouble::of(client, update).await?) };
    if json {
        let failure = failure.map(|trouble| trouble.json());
        say_json(
            &json!({ "type": "result", "status": update["status"], "exitCode": exit, "update": update, "failure": failure }),
        )?;
        return Ok(exit);
    }
    match failure {
        Some(trouble) => trouble.say(update)?,
        None => show::receipt(update, is_newest && !repeated)?,
    }
    Ok(exit)
}

/// What stopped an update.
struct Trouble {
    step: Option<String>,
    hook: Option<String>,
    attempt: Option<u64>,
    code: Option<String>,
    message: String,
    detail: Option<String>,
    help: Option<String>,
    log: VecDeque<String>,
}

impl Trouble {
    async fn of(client: &Client, update: &Value) -> Result<Self, Failure> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let steps = update["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let code = &update["failure"]["code"];
        let last = |step: &Value| step["attempts"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
        // The one that failed as the update did: a failed restore comes after it.
        let failing = steps.iter().find(|step| step["status"] == "FAILED" && last(step)["failure"]["code"] == *code);
        let failing = failing.or_else(|| steps.iter().rev().find(|step| step["status"] == "FAILED"));
        let log = match failing.and_then(|step| step["index"].as_u64()) {
            Some(index) => tail(client, update["id"].as_str().unwrap_or_default(), index).await?,
            None => VecDeque::new(),
        };
        let failure = &update["failure"];
        let by = update["cancelRequestedBy"].as_str().map(|login| format!("{login} cancelled it."));
        Ok(Self {
            step: failing.and_then(|step| text(&step["name"])),
            hook: failing.and_then(|step| text(&step["hookName"])),
            attempt: failing.and_then(|step| last(step)["number"].as_u64()),
            code: text(code),
            message: text(&failure["message"]).or(by).unwrap_or_default(),
            detail: text(&failure["detail"]),
            help: text(&failure["help"]),
            log,
        })
    }

    fn what_to_do(&self) -> Option<&'static str> {
        advice::on(self.code.as_deref()?)
    }

    fn json(&self) -> Value {
        json!({
            "step": self.step, "hookName": self.hook, "attempt": self.attempt, "code": self.code, "message": self.message,
            "detail": self.detail, "whatToDo": self.what_to_do(), "help": self.help, "log": self.log,
        })
    }

    fn say(&self, update: &Value) -> Result<(), Failure> {
        let line = |text: String| say(plain(&text));
        let status = update["status"].as_str().unwrap_or("-");
        let (number, deployment) = (&update["number"], update["deploymentId"].as_str().unwrap_or("-"));
        line(format!("Update {number} of {deployment} ended as {status}."))?;
        if let Some(step) = &self.step {
            let hook = self.hook.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            let attempt = self.attempt.map_or_else(String::new, |number| format!(", attempt {number}"));
            line(format!("  step        {step}{hook}{attempt}"))?;
        }
        match &self.code {
            Some(code) => line(format!("  failure     {code}: {}", self.message))?,
            None if self.message.is_empty() => {}
            None => line(format!("  why         {}", self.message))?,
        }
        for (at, detail) in self.detail.iter().flat_map(|detail| detail.lines()).take(TAIL).enumerate() {
            line(format!("  {:<11} {detail}", if at == 0 { "seen" } else { "" }))?;
        }
        if let Some(advice) = self.what_to_do() {
            line(format!("  what to do  {advice}"))?;
        }
        if let Some(help) = &self.help {
            line(format!("  more        {help}"))?;
        }
        show::nodes(update)?;
        if !self.log.is_empty() {
            let step = self.step.as_deref().unwrap_or("-");
            line(format!("The last lines of the log of {step}:"))?;
            self.log.iter().try_for_each(|one| say(format!("  | {}", plain(one))))?;
        }
        Ok(())
    }
}

/// The last lines that a step said.
async fn tail(client: &Client, id: &str, step: u64) -> Result<VecDeque<String>, Failure> {
    let mut lines = VecDeque::with_capacity(TAIL);
    let mut after = Value::Null;
    for _ in 0..PAGES {
        let update = client.ask(LOG, json!({ "id": id, "after": after })).await?;
        let log = &update["log"];
        for line in log["nodes"].as_array().into_iter().flatten().filter(|line| line["step"] == step) {
            if lines.len() == TAIL {
                lines.pop_front();
            }
            lines.push_back(line["line"].as_str().unwrap_or_default().to_owned());
        }
        if log["pageInfo"]["hasNextPage"] != true {
            break;
        }
        after = log["pageInfo"]["endCursor"].clone();
    }
    Ok(lines)
}
