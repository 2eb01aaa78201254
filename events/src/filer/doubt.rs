//! What dead processes were about to file in a store that may still put it: such a store has taken the request, and puts the object when it comes to it. Until that is
//! past nobody knows whether a batch is filed, so whoever sends one again is asked to wait, and all others go on.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use crate::ledger::{BatchId, house::Left};

/// What is not settled yet.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    waiting: Vec<(Instant, Left)>,
    batches: HashSet<BatchId>,
}

impl Doubt {
    /// Its batches are in doubt for so long.
    pub(super) fn add(&mut self, left: Left, wait: Duration) {
        self.batches.extend(left.open.iter().flat_map(|open| &open.batches).map(|(id, _)| *id));
        self.waiting.push((Instant::now() + wait, left));
    }

    /// Whether nobody knows if this batch is filed.
    pub(super) fn holds(&self, id: &BatchId) -> bool {
        self.batches.contains(id)
    }

    /// When the next one can be settled.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.iter().map(|(due, _)| *due).min()
    }

    /// Those that can be settled now; they are in doubt no longer.
    pub(super) fn take_due(&mut self) -> Vec<Left> {
        let now = Instant::now();
        let due = self.waiting.extract_if(.., |(due, _)| *due <= now).map(|(_, left)| left).collect::<Vec<_>>();
        // A batch may be in another one's doubt, too.
        let rest = self.waiting.iter().filter_map(|(_, left)| left.open.as_ref());
        self.batches = rest.flat_map(|open| &open.batches).map(|(id, _)| *id).collect();
        due
    }
}
