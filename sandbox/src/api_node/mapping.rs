//! Which generations answer. A switch is one write behind the lock that each query takes once: a query is answered by
//! what was mapped before or by what is mapped after, never by nothing.

use super::ApiAsked;
use super::fields::Fields;
use super::state::{Service, Share};
use crate::reply::{Answer, Refusal, Reply};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How far the sum of the probabilities may be from 1: thirds are written with a few digits.
const NEAR: f64 = 1e-3;

/// `POST services/S/actions/setMapping` `{"entries": [{"generation", "proba"}]}`: enables the service, too.
pub(super) fn set(asked: &ApiAsked<'_>, id: &str) -> Answer {
    let body = Fields::new(asked.json.object()?, "");
    let mut shares = Vec::new();
    for entry in body.list("entries")? {
        let entry = Fields::of(entry, "entries[]")?;
        let proba = entry.get("proba").and_then(Value::as_f64);
        let proba = proba.ok_or_else(|| entry.wrong("proba", "is no number"))?;
        shares.push(Share { generation: entry.needed("generation")?.to_owned(), proba });
    }
    asked.core.state().service_mut(id)?.map(shares)?;
    Ok(Reply::Empty)
}

/// `POST services/S/actions/switchTo/G`.
pub(super) fn switch_to(asked: &ApiAsked<'_>, id: &str, generation: &str) -> Answer {
    asked.core.state().service_mut(id)?.map(vec![Share { generation: generation.to_owned(), proba: 1.0 }])?;
    Ok(Reply::Empty)
}

/// `POST services/S/actions/switchToNewest`: the one that was imported last.
pub(super) fn switch_to_newest(asked: &ApiAsked<'_>, id: &str) -> Answer {
    let mut state = asked.core.state();
    let service = state.service_mut(id)?;
    let newest = service.generations.last().map(|known| known.version.generation.clone());
    let newest = newest.ok_or_else(|| Refusal::bad(format!("service {id} has no generation")))?;
    service.map(vec![Share { generation: newest.clone(), proba: 1.0 }])?;
    Ok(Reply::Json(json!({"ok": true, "generation": newest})))
}

/// Probabilities that sum to 1.
fn check_sum(shares: &[Share]) -> Result<(), Refusal> {
    if shares.iter().any(|share| !(0.0..=1.0).contains(&share.proba)) {
        return Err(Refusal::bad("entries[].proba is not from 0 to 1"));
    }
    let sum: f64 = shares.iter().map(|share| share.proba).sum();
    if (sum - 1.0).abs() > NEAR {
        return Err(Refusal::bad(format!("the probabilities sum to {sum}, not to 1")));
    }
    Ok(())
}

impl Service {
    /// From now on these generations answer, and the service is enabled.
    pub(super) fn map(&mut self, shares: Vec<Share>) -> Result<(), Refusal> {
        if shares.is_empty() {
            return Err(Refusal::bad("entries is empty: a mapping has at least one generation"));
        }
        let mut seen = BTreeSet::new();
        for share in &shares {
            self.generation(&share.generation)?;
            if !seen.insert(&share.generation) {
                return Err(Refusal::bad(format!("entries has generation {} twice", share.generation)));
            }
        }
        check_sum(&shares)?;
        self.mapping = shares;
        self.enabled = true;
        Ok(())
    }
}
