//! What the demo shows: a live display on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal, stdout},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;

use crate::{commands::say, failure::Failure};

/// The steps, as they happen.
pub(super) struct Show {
    /// The step under way; only on a terminal.
    spinner: Option<ProgressBar>,
    began: Option<Timestamp>,
}

impl Show {
    pub(super) fn new() -> Self {
        let spinner = stdout().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("  {spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = ProgressBar::new_spinner().with_style(style);
            spinner.enable_steady_tick(Duration::from_millis(80));
            spinner
        });
        Self { spinner, began: None }
    }

    pub(super) fn event(&mut self, event: &Value) -> Result<(), Failure> {
        let step = event["stepName"].as_str().unwrap_or_default();
        let at = event["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        match event["kind"].as_str().unwrap_or_default() {
            "StepStarted" => {
                self.began = at;
                self.now(step);
            }
            "SlotWaiting" => self.now(&format!("{step}: waits for a slot of pool {}", text(&event["pool"]))),
            "StepSucceeded" => {
                let warnings: Vec<_> = event["warnings"].as_array().into_iter().flatten().map(text).collect();
                let mark = if warnings.is_empty() { "✓" } else { "!" };
                self.line(&format!("  {mark} {step:<16} {}", self.took(at)))?;
                for warning in warnings {
                    self.line(&format!("    {warning}"))?;
                }
            }
            "StepFailed" => {
                let again = if event["retried"] == true { " (another attempt follows)" } else { "" };
                let failure = &event["failure"];
                self.line(&format!("  ✗ {step:<16} {}: {}{again}", text(&failure["code"]), text(&failure["message"])))?;
            }
            "Finished" => self.line(&format!("  {}", text(&event["status"])))?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn end(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    fn now(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(what.to_owned());
        }
    }

    fn line(&self, line: &str) -> Result<(), Failure> {
        match &self.spinner {
            Some(spinner) => {
                spinner.println(line);
                Ok(())
            }
            None => say(line),
        }
    }

    fn took(&self, at: Option<Timestamp>) -> String {
        let took = self.began.zip(at).map(|(began, at)| at.duration_since(began).as_secs_f64());
        took.map_or_else(String::new, |seconds| format!("{seconds:.2} s"))
    }
}

/// What is on the node now.
pub(super) fn receipt(update: &Value) -> Result<(), Failure> {
    if let Some(code) = update["failure"]["code"].as_str() {
        say(format!("{code}: {}", text(&update["failure"]["message"])))?;
    }
    let receipt = &update["receipt"];
    if receipt.is_null() {
        return Ok(());
    }
    say("")?;
    say(format!("On the node now, in project {}:", text(&receipt["projectKey"])))?;
    say(format!("  bundle      {}", text(&receipt["bundle"])))?;
    for connection in list(&receipt["connections"]) {
        let (source, target, kind) = (&connection["source"], &connection["target"], &connection["foundType"]);
        say(format!("  connection  {} -> {} ({})", text(source), text(target), text(kind)))?;
    }
    for scenario in list(&receipt["scenarios"]) {
        let switch = if scenario["active"] == true { "on" } else { "off" };
        say(format!("  scenario    {:<10} {switch:<8} runs as {}", text(&scenario["id"]), text(&scenario["runAs"])))?;
    }
    for webapp in list(&receipt["webapps"]) {
        let state = if webapp["active"] == true { "running" } else { "stopped" };
        say(format!("  web app     {:<10} {state:<8} runs as {}", text(&webapp["id"]), text(&webapp["runAs"])))?;
    }
    match list(&receipt["differences"]).count() {
        0 => say("  It is what the deployment asks for."),
        n => say(format!("  {} than the deployment asks for.", otherwise(n))),
    }
}

/// How to go on by hand.
pub(super) fn what_next(base: &str, key: &str) -> Result<(), Failure> {
    say("")?;
    say(format!("GraphiQL            {base}/graphiql"))?;
    say(format!("Administrator's key {key}"))?;
    say("Try:")?;
    say(format!(
        "  curl -s {base}/graphql -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n    -d '{{\"query\":\"{{ updates(first: 1) {{ nodes {{ id status steps {{ name status }} }} }} }}\"}}'"
    ))?;
    say("Ctrl-C ends it; nothing is kept.")
}

fn otherwise(n: usize) -> String {
    if n == 1 { "1 thing is otherwise".to_owned() } else { format!("{n} things are otherwise") }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
