//! The batches that are recognised, in memory: for so long, and so many.

use std::collections::{HashMap, VecDeque};

use super::{BatchId, Digest, Intent};

/// What is known of filed batches.
#[derive(Debug)]
pub struct Known {
    batches: HashMap<BatchId, Digest>,
    order: VecDeque<(i64, BatchId)>,
    most: usize,
    micros: i64,
}

impl Known {
    /// At most so many, for at most so long.
    pub fn new(most: usize, micros: i64) -> Self {
        Self { batches: HashMap::new(), order: VecDeque::new(), most, micros }
    }

    /// What was filed under this id.
    pub fn find(&self, id: &BatchId) -> Option<Digest> {
        self.batches.get(id).copied()
    }

    /// How many are recognised.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Remembers what was filed, and forgets what is too old or too many.
    pub fn add(&mut self, intent: &Intent, now: i64) {
        for (id, digest) in &intent.batches {
            if self.batches.insert(*id, *digest).is_none() {
                self.order.push_back((intent.at, *id));
            }
        }
        let old = now.saturating_sub(self.micros);
        while self.order.front().is_some_and(|(at, _)| *at < old || self.order.len() > self.most) {
            if let Some((_, id)) = self.order.pop_front() {
                self.batches.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Grant;

    #[test]
    fn the_oldest_are_forgotten_first() {
        let id = |n: i64| BatchId::of(&Grant::all("any"), &n.to_string());
        let intent = |n: i64| Intent { n: 1, at: n, files: Vec::new(), batches: vec![(id(n), Digest::of(&[1]))] };
        let mut known = Known::new(3, 100);
        assert!(known.is_empty());
        for n in 0..5 {
            known.add(&intent(n), n);
        }
        let seen = |known: &Known| (0..6).filter(|n| known.find(&id(*n)).is_some()).collect::<Vec<_>>();
        assert_eq!((seen(&known), known.len()), (vec![2, 3, 4], 3));
        known.add(&intent(5), 104);
        assert_eq!(seen(&known), [4, 5]);
    }
}
