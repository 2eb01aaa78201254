//! A subscription that outlives its connections: what has a `seq` is taken up after the last one that came.

use serde_json::{Value, json};

use super::{Client, Events, Pauses};
use crate::failure::Failure;

/// Follows one update's events, or its log.
pub(crate) struct Following {
    client: Client,
    document: &'static str,
    update: String,
    after: i64,
    events: Option<Events>,
    pauses: Pauses,
    away: bool,
    over: bool,
}

impl Following {
    /// The document has the variables `id` and `after`, and asks for `seq`.
    pub(crate) fn new(client: &Client, document: &'static str, update: &str) -> Self {
        Self {
            client: client.clone(),
            document,
            update: update.to_owned(),
            after: 0,
            events: None,
            pauses: Pauses::default(),
            away: false,
            over: false,
        }
    }

    /// The next thing, each once and in order; None at the end, and ever after. `lost` hears of each outage once. It may be dropped at any moment
    /// and called again: nothing is missed by that.
    pub(crate) async fn next(&mut self, lost: impl Fn(&Failure)) -> Result<Option<Value>, Failure> {
        while !self.over {
            match self.attempt().await {
                Ok(Some(event)) => {
                    let seq = event["seq"].as_i64().or_else(|| event["seq"].as_str()?.parse().ok()).unwrap_or(0);
                    self.away = false;
                    self.pauses.over();
                    if seq > self.after {
                        self.after = seq;
                        return Ok(Some(event));
                    }
                }
                Ok(None) => self.over = true,
                Err(failure) if failure.is_lost() => {
                    self.events = None;
                    if !self.away {
                        self.away = true;
                        lost(&failure);
                    }
                    self.pauses.rest().await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    async fn attempt(&mut self) -> Result<Option<Value>, Failure> {
        let events = match &mut self.events {
            Some(events) => events,
            None => {
                let variables = json!({ "id": self.update, "after": self.after });
                self.events.insert(self.client.subscribe(self.document, variables).await?)
            }
        };
        events.next().await
    }
}
