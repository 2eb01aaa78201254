//! Transactions that the database breaks off for another one's sake.

use crate::error::{Error, Result};

/// So often is a transaction begun at most.
const TRIES: u32 = 3;

/// Does the work over when the database broke its transaction off because of a deadlock or a serialization failure: nothing of it happened. The
/// work is one whole transaction, and what it reads, it reads anew.
pub(crate) async fn again<T, F: Future<Output = Result<T>>>(mut work: impl FnMut() -> F) -> Result<T> {
    for attempt in 1..TRIES {
        match work().await {
            Err(Error::Fault(fault)) if fault.conflict => {
                tracing::debug!(attempt, detail = fault.detail, "a transaction was broken off and begins again");
            }
            answer => return answer,
        }
    }
    work().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[tokio::test]
    async fn three_tries_and_conflicts_alone() {
        for (fails, conflict, tries, good) in
            [(0, true, 1, true), (2, true, 3, true), (3, true, 3, false), (1, false, 1, false)]
        {
            let done = std::cell::Cell::new(0);
            let answer = again(|| async {
                done.set(done.get() + 1);
                if done.get() > fails {
                    return Ok(());
                }
                Err(Error::Fault(Fault { detail: "deadlock detected".to_owned(), transient: conflict, conflict }))
            })
            .await;
            assert_eq!((done.get(), answer.is_ok()), (tries, good), "{fails} {conflict}");
        }
    }
}
