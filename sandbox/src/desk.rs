//! What every practice node has, whatever it speaks: a log of calls, and faults.

use crate::armed::{FaultHandle, Faults};
use crate::calls::{Call, Calls};
use crate::faults::Fault;
use std::sync::Arc;

/// The log of calls and the faults of a practice node.
#[derive(Default)]
pub struct Desk {
    pub(crate) calls: Calls,
    pub(crate) faults: Arc<Faults>,
}

impl Desk {
    /// The log of calls, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.all()
    }

    /// Empties the log of calls.
    pub fn clear_calls(&self) {
        self.calls.clear();
    }

    /// Waits until the log of calls satisfies `enough`, and returns it.
    pub async fn until_calls(&self, enough: impl FnMut(&[Call]) -> bool) -> Vec<Call> {
        self.calls.until(enough).await
    }

    /// Arms a fault. Of several that match a call, the one armed first does its work.
    ///
    /// # Errors
    /// A sentence, when the fault makes no sense.
    pub fn arm(&self, fault: Fault) -> Result<FaultHandle, String> {
        let (id, armed) = self.faults.arm(fault)?;
        Ok(FaultHandle { id, armed, faults: Arc::clone(&self.faults) })
    }

    /// Disarms all faults; held calls go on.
    pub fn disarm_all(&self) {
        self.faults.clear();
    }
}
