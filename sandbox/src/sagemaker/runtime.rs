//! The runtime: a query goes to the first variant, which echoes it.

use super::door::{Heard, No};
use super::state::State;
use crate::reply::Finished;
use poem::http::StatusCode;
use serde_json::{Value, json};

pub(super) fn answer(state: &State, heard: &Heard) -> Result<Finished, No> {
    let name = heard.path.strip_prefix("/endpoints/").and_then(|rest| rest.strip_suffix("/invocations"));
    let endpoint = name.and_then(|name| state.endpoints.get(name));
    let Some(endpoint) = endpoint.filter(|one| one.serves()) else {
        return Err(No::new(400, "ValidationError", "Endpoint of this account not found."));
    };
    if let Some((status, body)) = &state.model_error {
        let framed = json!({
            "__type": "ModelError",
            "Message": "Received an error from the container",
            "OriginalStatusCode": status,
            "OriginalMessage": body,
        });
        return Ok(Finished::json(StatusCode::FAILED_DEPENDENCY, &framed));
    }
    let received: Value = serde_json::from_slice(&heard.body).unwrap_or_default();
    Ok(Finished::json(StatusCode::OK, &json!({"received": received, "config": endpoint.config})))
}
