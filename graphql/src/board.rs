//! Where all deployments stood at the last look, and which changed after which: so that whoever follows them can ask what changed since.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use deployer::updates::tail::Standing;
use tokio::time::Instant;

/// How many deleted deployments are remembered.
const GONE: usize = 1_000;

/// Where deployments stand. Each change has a number, from 1; of one deployment only the newest is kept.
#[derive(Default)]
pub(crate) struct Board {
    newest: u64,
    looked: Option<Instant>,
    standings: HashMap<String, (Standing, u64)>,
    changes: BTreeMap<u64, String>,
    gone: VecDeque<u64>,
}

impl Board {
    /// The number of the newest change; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether all was looked at no longer ago than that.
    pub(crate) fn is_fresh(&self, age: Duration) -> bool {
        self.looked.is_some_and(|looked| looked.elapsed() < age)
    }

    /// The deployments that changed after this number, in order, each once.
    pub(crate) fn since(&self, number: u64) -> Vec<String> {
        self.changes.range(number.saturating_add(1)..).map(|(_, id)| id.clone()).collect()
    }

    /// Takes in what a look saw. If it was at `all`, what it did not see is gone: that is a change, too.
    pub(crate) fn take(&mut self, seen: Vec<(String, Standing)>, all: bool) {
        let mut before = if all { std::mem::take(&mut self.standings) } else { HashMap::new() };
        for (id, now) in seen {
            let old = if all { before.remove(&id) } else { self.standings.remove(&id) };
            let number = match old {
                Some((standing, number)) if standing == now => number,
                old => {
                    if let Some((_, number)) = old {
                        self.changes.remove(&number);
                    }
                    self.change(&id)
                }
            };
            self.standings.insert(id, (now, number));
        }
        for (id, (_, number)) in before {
            self.changes.remove(&number);
            let number = self.change(&id);
            self.gone.push_back(number);
            if self.gone.len() > GONE
                && let Some(oldest) = self.gone.pop_front()
            {
                self.changes.remove(&oldest);
            }
        }
        if all {
            self.looked = Some(Instant::now());
        }
    }

    fn change(&mut self, id: &str) -> u64 {
        self.newest += 1;
        self.changes.insert(self.newest, id.to_owned());
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: i64) -> Standing {
        Standing { version, created_at: 0, newest: None }
    }

    fn seen(all: &[(&str, i64)]) -> Vec<(String, Standing)> {
        all.iter().map(|(id, version)| ((*id).to_owned(), at(*version))).collect()
    }

    #[test]
    fn what_changed_since() {
        let mut board = Board::default();
        assert!(!board.is_fresh(Duration::MAX));
        board.take(seen(&[("a", 1), ("b", 1), ("c", 1)]), true);
        let first = board.newest();
        assert!(board.is_fresh(Duration::MAX));
        board.take(seen(&[("a", 1), ("b", 1), ("c", 1)]), true);
        assert_eq!(board.since(first), Vec::<String>::new());
        board.take(seen(&[("b", 2)]), false);
        board.take(seen(&[("a", 2)]), false);
        board.take(seen(&[("b", 3)]), false);
        assert_eq!(board.since(first), ["a", "b"], "each once, the newest last");
        assert_eq!(board.since(first + 2), ["b"]);
    }

    #[test]
    fn what_is_made_and_what_is_gone_changed() {
        let mut board = Board::default();
        board.take(seen(&[("a", 1), ("b", 1)]), true);
        let first = board.newest();
        board.take(seen(&[("b", 1), ("c", 1)]), true);
        assert_eq!(board.since(first), ["c", "a"]);
        // Nothing piles up.
        for n in 0..3 * i64::try_from(GONE).unwrap_or_default() {
            board.take(vec![(format!("d{n}"), at(1))], true);
        }
        assert!(board.changes.len() <= GONE + 1 && board.standings.len() == 1, "{}", board.changes.len());
    }
}
