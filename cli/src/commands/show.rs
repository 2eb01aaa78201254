//! What people see of an update: a live display on a terminal, plain lines elsewhere; at the end what is on the node.

use std::{
    io::{IsTerminal, stderr, stdout},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;

use crate::{commands::say, failure::Failure, half::Half, plain::plain};

/// How wide the names of steps are shown at least, and at most.
const NARROW: usize = 16;
const WIDE: usize = 48;

/// The steps, as they happen.
pub(crate) struct Show {
    /// The step under way; only on a terminal.
    live: Option<ProgressBar>,
    began: Option<Timestamp>,
    /// So wide are the names of steps.
    width: usize,
}

impl Show {
    /// Of a plan of so many steps.
    pub(crate) fn new(steps: Option<u64>) -> Self {
        let live = (stdout().is_terminal() && stderr().is_terminal()).then(|| live(steps));
        Self { live, began: None, width: NARROW }
    }

    /// Wide enough for the names of these steps: with several nodes they are longer.
    pub(crate) fn wide(mut self, steps: &[String]) -> Self {
        self.width = steps.iter().map(|step| step.chars().count()).fold(NARROW, usize::max).min(WIDE);
        self
    }

    pub(crate) fn event(&mut self, event: &Value) -> Result<(), Failure> {
        let step = plain(event["stepName"].as_str().unwrap_or_default());
        let width = self.width;
        let at = event["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        match event["kind"].as_str().unwrap_or_default() {
            "StepStarted" => {
                self.began = at;
                if let (Some(live), Some(index)) = (&self.live, event["step"].as_u64()) {
                    live.set_position(index);
                }
                self.now(&step);
            }
            "SlotWaiting" => self.now(&format!("{step}: waits for a slot of pool {}", text(&event["pool"]))),
            "StepSucceeded" => {
                let warnings: Vec<_> = list(&event["warnings"]).map(text).collect();
                let mark = if warnings.is_empty() { "✓" } else { "!" };
                self.line(&format!("  {mark} {step:<width$} {}", self.took(at)))?;
                for warning in warnings {
                    self.line(&format!("    {warning}"))?;
                }
            }
            "StepFailed" => {
                let again = if event["retried"] == true { " (another attempt follows)" } else { "" };
                let failure = &event["failure"];
                self.line(&format!(
                    "  ✗ {step:<width$} {}: {}{again}",
                    text(&failure["code"]),
                    text(&failure["message"])
                ))?;
            }
            "CancelRequested" => self.line(&format!("  {} asked to cancel it", text(&event["by"])))?,
            "Finished" => {
                if let Some(live) = &self.live {
                    live.set_position(live.length().unwrap_or_default());
                }
                self.line(&format!("  {}", text(&event["status"])))?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn end(&self) {
        if let Some(live) = &self.live {
            live.finish_and_clear();
        }
    }

    /// A line of standard output, without disturbing what is live.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        match &self.live {
            Some(live) => live.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Something besides, on standard error.
    pub(crate) fn note(&self, line: &str) {
        match &self.live {
            Some(live) => live.suspend(|| crate::tell(line)),
            None => crate::tell(line),
        }
    }

    fn now(&self, what: &str) {
        if let Some(live) = &self.live {
            live.set_message(what.to_owned());
        }
    }

    fn took(&self, at: Option<Timestamp>) -> String {
        let took = self.began.zip(at).map(|(began, at)| at.duration_since(began).as_secs_f64());
        took.map_or_else(String::new, |seconds| format!("{seconds:.2} s"))
    }
}

fn live(steps: Option<u64>) -> ProgressBar {
    let (bar, template) = match steps {
        Some(steps) => (ProgressBar::new(steps), "  [{bar:24}] {pos}/{len} {msg} {elapsed}"),
        None => (ProgressBar::new_spinner(), "  {spinner} {msg}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = bar.with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(80));
    bar
}

/// What is on the node, or on each of several, after an update that nothing came after yet (`now`), or that something may have.
pub(crate) fn receipt(update: &Value, now: bool) -> Result<(), Failure> {
    if let Some(code) = update["failure"]["code"].as_str() {
        say(format!("{code}: {}", text(&update["failure"]["message"])))?;
    }
    let receipt = &update["receipt"];
    if receipt.is_null() {
        return nodes(update);
    }
    say("")?;
    let several = list(&update["nodes"]).next().is_some();
    let when = match (now, several) {
        (true, false) => "On the node now".to_owned(),
        (true, true) => "On the nodes now".to_owned(),
        (false, _) => format!("After update {}", update["number"]),
    };
    let half = Half::of(update);
    say(format!(
        "{when}, {} {}:",
        if half == Half::Service { "as service" } else { "in project" },
        text(&receipt["projectKey"])
    ))?;
    if several {
        nodes(update)?;
        shares(&receipt["service"])?;
        list(&update["nodes"]).try_for_each(|node| urls(&node["receipt"]["service"]))?;
        let as_asked = |node: &Value| !node["receipt"].is_null() && list(&node["receipt"]["differences"]).count() == 0;
        return if list(&update["nodes"]).all(as_asked) {
            say("  They are as this update was to leave them.")
        } else {
            Ok(())
        };
    }
    if receipt["service"].is_null() {
        say(format!("  bundle      {}", text(&receipt["bundle"])))?;
    }
    shares(&receipt["service"])?;
    urls(&receipt["service"])?;
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
        0 => say("  It is as this update was to leave it."),
        n => say(format!("  {} than this update was to leave it.", otherwise(n))),
    }
}

/// The versions of a service with their shares.
fn shares(service: &Value) -> Result<(), Failure> {
    for version in list(&service["versions"]) {
        let share = version["probability"].as_f64().unwrap_or(1.0) * 100.0;
        say(format!("  version     {:<10} {share:.0} % of the queries", text(&version["version"])))?;
    }
    Ok(())
}

/// Where it is called.
fn urls(service: &Value) -> Result<(), Failure> {
    list(&service["urls"]).try_for_each(|url| say(format!("  called at   {}", text(url))))
}

/// What became of each of several nodes; nothing where there is one.
pub(crate) fn nodes(update: &Value) -> Result<(), Failure> {
    let word = Half::of(update).package();
    let width = list(&update["nodes"]).map(|node| text(&node["name"]).chars().count()).max().unwrap_or(0).max(10);
    for node in list(&update["nodes"]) {
        let (name, status) = (text(&node["name"]), text(&node["status"]));
        let mut more = String::new();
        if let (Some(_), step) = (node["step"].as_str(), text(&node["step"])) {
            more = format!("  {step}");
        }
        let failure = &node["failure"];
        if !failure.is_null() {
            more = format!("{more}: {}", text(&failure["code"]));
            // What stopped the update is said beside this, in full.
            if failure["message"] != update["failure"]["message"] {
                more = format!("{more}: {}", text(&failure["message"]));
            }
        }
        let receipt = &node["receipt"];
        if !receipt.is_null() {
            more = match list(&receipt["differences"]).count() {
                0 => format!("{more}  {word} {}", text(&receipt["bundle"])),
                n => format!("{more}  {word} {}, {} than asked for", text(&receipt["bundle"]), otherwise(n)),
            };
        }
        say(format!("  {name:<width$}  {status:<9}{more}").trim_end())?;
    }
    Ok(())
}

fn otherwise(n: usize) -> String {
    if n == 1 { "1 thing is otherwise".to_owned() } else { format!("{n} things are otherwise") }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or("-"))
}
