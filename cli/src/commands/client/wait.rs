//! Waits for an update's end and shows it coming: it outlives the loss of any connection.

use std::{cell::Cell, process::ExitCode, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{logs, report};
use crate::{
    args::Waiting,
    ci,
    client::{Client, Following, Pauses},
    commands::{say_json, show::Show, signals::Signals},
    failure::{Failure, Kind},
    plain::plain,
};

const EVENTS: &str = "subscription($id: ID!, $after: Long) { updateEvents(updateId: $id, afterSeq: $after) {
  seq at kind step stepName attempt status retried waitMs pool warnings by failure { code message } } }";

/// How an update is waited for.
pub(super) struct Wait {
    /// For how long.
    pub(super) timeout: Duration,
    /// What it says is shown, too.
    pub(super) logs: bool,
    pub(super) json: bool,
    /// An interrupt cancels it.
    pub(super) cancel_on_interrupt: bool,
    /// It was asked for before.
    pub(super) repeated: bool,
}

impl Waiting {
    /// The idempotency key of a request about this deployment.
    pub(super) fn key(&self, deployment: &str, what: &str) -> String {
        let of_job = || ci::idempotency_key(|name| std::env::var(name).ok(), deployment, what);
        self.idempotency_key.clone().or_else(of_job).unwrap_or_else(ci::fresh_key)
    }

    /// What becomes of the command once its update has begun.
    pub(super) async fn go_on(
        &self,
        client: &Client,
        update: &Value,
        repeated: bool,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        // How one failed that was asked for before is told all the same.
        if repeated && report::is_over(update) && (!self.wait || report::exit(update) == 0) {
            refuse_superseded(update)?;
        }
        if !self.wait {
            return Ok(ExitCode::SUCCESS);
        }
        let (timeout, logs, cancel_on_interrupt) = (self.patience.timeout, self.logs, self.cancel_on_interrupt);
        Wait { timeout, logs, json, cancel_on_interrupt, repeated }.on(client, update).await.map(ExitCode::from)
    }
}

/// An update that is over did what was asked for; what is live is another's work once one came after it.
fn refuse_superseded(update: &Value) -> Result<(), Failure> {
    let newest = &update["deployment"]["latestUpdate"];
    if newest.is_null() || newest["id"] == update["id"] {
        return Ok(());
    }
    let (number, status, later) = (&update["number"], update["status"].as_str().unwrap_or("-"), &newest["number"]);
    let message = format!(
        "Update {number} did this ({status}), and update {later} came after it. Nothing was done now. To deploy again, start a new attempt of the CI job, or give another --idempotency-key."
    );
    Err(Failure::new("UPDATE_SUPERSEDED", message))
}

/// Why nobody waits any more.
enum Stop {
    /// It will not go on by itself.
    Over(Value),
    /// A signal came, which makes this exit code.
    Signal(u8),
}

impl Wait {
    /// Waits, and tells how it ended: the exit code.
    pub(super) async fn on(&self, client: &Client, update: &Value) -> Result<u8, Failure> {
        let id = update["id"].as_str().unwrap_or_default();
        let steps: Vec<String> = logs::step_names(update);
        let mut view = View { json: self.json, show: None, steps, away: Cell::new(false) };
        if !self.json {
            view.show = Some(Show::new(Some(view.steps.len() as u64)).wide(&view.steps));
        }
        let stopped = self.follow(client, id, &mut view).await;
        if let Some(show) = &view.show {
            show.end();
        }
        let stopped = stopped.map_err(|failure| match failure.code() {
            "WAIT_TIMED_OUT" | "" => failure,
            // A key that is no longer good, for one: it ends the waiting, not the update.
            _ => failure.with(&format!("That does not cancel update {id}: it goes on.")),
        });
        match stopped? {
            Stop::Over(update) => report::tell(client, &update, self.json, self.repeated).await,
            Stop::Signal(exit) => {
                let message =
                    format!("The update goes on. `slipway logs -f {id}` follows it, `slipway cancel {id}` stops it.");
                if self.json {
                    say_json(&json!({ "type": "interrupted", "updateId": id, "message": message, "exitCode": exit }))?;
                }
                crate::tell(message);
                Ok(exit)
            }
        }
    }

    async fn follow(&self, client: &Client, id: &str, view: &mut View) -> Result<Stop, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut signals = Signals::listen()?;
        let mut events = Following::new(client, EVENTS, id);
        let mut log = self.logs.then(|| Following::new(client, logs::LINES, id));
        let (mut cancelled, mut pauses) = (false, Pauses::default());
        loop {
            let moved = tokio::select! {
                moved = view.until_over(&mut events, &mut log) => Some(moved?),
                () = sleep_until(deadline) => return Err(self.too_late(client, id).await),
                exit = signals.which() => {
                    if !self.cancel_on_interrupt || cancelled {
                        return Ok(Stop::Signal(exit));
                    }
                    cancelled = true;
                    view.note("cancels the update; once more leaves it to itself");
                    tokio::select! {
                        answer = super::cancel::ask(client, id) => match answer {
                            // It ended meanwhile: how, is told.
                            Err(failure) if failure.code() == "UPDATE_ENDED" => {}
                            answer => drop(answer?),
                        },
                        exit = signals.which() => return Ok(Stop::Signal(exit)),
                    }
                    None
                }
            };
            if moved.is_some() {
                let update = tokio::select! {
                    update = report::read(client, id) => update?,
                    exit = signals.which() => return Ok(Stop::Signal(exit)),
                };
                if report::is_over(&update) {
                    return Ok(Stop::Over(update));
                }
                // It was stuck, and somebody decided meanwhile.
                pauses.rest().await;
            }
        }
    }

    async fn too_late(&self, client: &Client, id: &str) -> Failure {
        // At most a moment for that: the time is up.
        let status = client.run("query($id: ID!) { update(id: $id) { status } }", json!({ "id": id }));
        let status = tokio::time::timeout(Duration::from_secs(5), status).await.ok().and_then(Result::ok);
        let status = status.and_then(|update| update["status"].as_str().map(str::to_owned));
        let state = status.map_or_else(|| "not over".to_owned(), |status| format!("still {status}"));
        let seconds = self.timeout.as_secs();
        let message = format!(
            "After {seconds} s the update is {state}. It goes on: `slipway logs -f {id}` follows it, `slipway cancel {id}` stops it."
        );
        Failure::of(Kind::TimedOut, "WAIT_TIMED_OUT", message)
    }
}

/// Where what happens is shown.
struct View {
    json: bool,
    show: Option<Show>,
    steps: Vec<String>,
    /// An outage was told of: events and log have one connection each, and lose both.
    away: Cell<bool>,
}

impl View {
    /// Shows what happens until nothing more does: the update ended, or is stuck.
    async fn until_over(&mut self, events: &mut Following, log: &mut Option<Following>) -> Result<(), Failure> {
        let (mut more_events, mut more_lines) = (true, log.is_some());
        while more_events || more_lines {
            let lost = |failure: &Failure| self.lost(failure);
            let next_line = async {
                match log.as_mut() {
                    Some(log) => log.next(&lost).await,
                    None => Ok(None),
                }
            };
            tokio::select! {
                event = events.next(&lost), if more_events => match event? {
                    Some(event) => {
                        self.event(&event)?;
                        if event["kind"] == "Stuck" {
                            return Ok(());
                        }
                    }
                    None => more_events = false,
                },
                line = next_line, if more_lines => match line? {
                    Some(line) => self.line(&line)?,
                    None => more_lines = false,
                },
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Value) -> Result<(), Failure> {
        self.away.set(false);
        if self.json {
            return say_json(&logs::typed("event", event));
        }
        self.show.as_mut().map_or(Ok(()), |show| show.event(event))
    }

    fn line(&self, line: &Value) -> Result<(), Failure> {
        self.away.set(false);
        match &self.show {
            Some(show) => show.line(&format!("    {}", logs::text(line, &self.steps))),
            None => say_json(&logs::typed("log", line)),
        }
    }

    fn lost(&self, failure: &Failure) {
        if !self.away.replace(true) {
            self.note(&plain(&format!("no connection ({failure}); it is tried again, the update goes on")));
        }
    }

    fn note(&self, words: &str) {
        match &self.show {
            Some(show) => show.note(words),
            None => crate::tell(words),
        }
    }
}
