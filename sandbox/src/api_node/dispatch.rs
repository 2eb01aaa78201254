//! Which generation answers a query: the one that it forces, the one that its key belongs to, or one by chance.

use super::state::Service;
use super::version::Version;
use crate::reply::Refusal;
use crate::request::Json;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The golden ratio's part after the point: its multiples, of which only the parts after the point count, are spread
/// as evenly as can be, so that after any number of queries each generation has had its share.
const STEP: f64 = 0.618_033_988_749_894_9;

/// What a query says of it.
#[derive(Default)]
pub(super) struct Dispatch {
    forced: Option<String>,
    key: Option<String>,
}

impl Dispatch {
    /// The field `dispatch` of a body. A function's and an SQL query's body are parameters, and nothing else.
    pub(super) fn of(json: &Json, verb: &str) -> Result<Self, Refusal> {
        let Json::Value(body) = json else { return Ok(Self::default()) };
        if matches!(verb, "run" | "query") {
            return Ok(Self::default());
        }
        let dispatch = match &body["dispatch"] {
            Value::Null => return Ok(Self::default()),
            Value::Object(dispatch) => dispatch,
            _ => return Err(Refusal::bad("dispatch is no object")),
        };
        let text = |name: &str| match dispatch.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::bad(format!("dispatch.{name} is no text"))),
        };
        Ok(Self { forced: text("forcedGeneration")?, key: text("dispatchKey")? })
    }
}

impl Service {
    /// The generation that answers. It must be mapped, also if it is forced: what is not mapped may ask for other keys.
    pub(super) fn pick(&mut self, dispatch: &Dispatch) -> Result<Arc<Version>, Refusal> {
        if !self.enabled {
            return Err(Refusal::missing("this service is disabled"));
        }
        let name = match dispatch {
            Dispatch { forced: Some(forced), .. } if self.is_mapped(forced) => forced.clone(),
            Dispatch { forced: Some(forced), .. } => {
                return Err(Refusal::missing(format!("generation {forced} is not active")));
            }
            Dispatch { key: Some(key), .. } => self.at(fraction(key)),
            Dispatch { .. } => {
                self.dispatched = self.dispatched.wrapping_add(1);
                #[expect(clippy::cast_precision_loss, reason = "2^53 queries are never asked")]
                let turn = self.dispatched as f64;
                self.at((turn * STEP).fract())
            }
        };
        Ok(Arc::clone(&self.generation(&name)?.version))
    }

    /// The generation at a place from 0 to 1 along the mapping.
    fn at(&self, place: f64) -> String {
        let mut below = 0.0;
        let mut last = "";
        for share in self.mapping.iter().filter(|share| share.proba > 0.0) {
            below += share.proba;
            last = &share.generation;
            if place < below {
                break;
            }
        }
        last.to_owned()
    }
}

/// Where a key lies from 0 to 1: always at the same place.
fn fraction(key: &str) -> f64 {
    let hash = Sha256::digest(key.as_bytes());
    let number = hash.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}
