//! Notes of a run, read and written as what they are.

use engine::{failure::StepError, step::StepContext};
use serde::{Serialize, de::DeserializeOwned};

use super::opener::internal;

/// Reads a note. One that can't be read (another version's) is told of and taken for absent.
pub(crate) fn read<T: DeserializeOwned>(run: &dyn StepContext, key: &str) -> Option<T> {
    let value = run.note(key).filter(|value| !value.is_null())?;
    match serde_json::from_value(value) {
        Ok(note) => Some(note),
        Err(error) => {
            tracing::warn!(run = %run.run(), note = key, error = %error, "a note of this run can't be read");
            None
        }
    }
}

/// Writes a note.
pub(crate) async fn write<T: Serialize + Sync>(run: &dyn StepContext, key: &str, note: &T) -> Result<(), StepError> {
    let value = serde_json::to_value(note).map_err(|error| internal(&error.to_string()).permanent())?;
    run.put_note(key, value).await
}
