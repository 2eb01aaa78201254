//! What one seed is about: how often each fault strikes. Most seeds know only some of them, so that each is met alone and in company.

use super::chance::Chance;

/// Times in a million for what is asked of the database or a node; others as they say.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    /// The process ends, before what it asked for was done, or after.
    pub(super) crash: i64,
    /// An error, before or after it was done.
    pub(super) error: i64,
    /// No answer, ever, before or after it was done.
    pub(super) hang: i64,
    /// An answer that takes long.
    pub(super) slow: i64,
    /// A commit that is delivered twice.
    pub(super) double: i64,
    /// A heartbeat's connection may fail like any other.
    pub(super) heartbeats_too: bool,
    /// Of a million moments of a process: it is paused.
    pub(super) pause: i64,
    /// It is killed or paused soon, at any await of any of its tasks.
    pub(super) strike: i64,
    /// It is told to drain.
    pub(super) drain: i64,
    /// Of a hundred bells: lost, doubled, delayed.
    pub(super) bell_lost: i64,
    /// See `bell_lost`.
    pub(super) bell_doubled: i64,
    /// See `bell_lost`.
    pub(super) bell_delayed: i64,
    /// Of a million moments: the queue is wiped.
    pub(super) wipe: i64,
    /// The queue goes away for a while.
    pub(super) away: i64,
    /// Of a million moments: somebody asks to cancel a run.
    pub(super) cancel: i64,
    /// The limit changes.
    pub(super) limit: i64,
    /// Of a hundred steps: not done at the first try.
    pub(super) trouble: i64,
    /// Of a hundred hooks: their driver panics.
    pub(super) panic: i64,
    /// Whether wall clocks are off, by up to ten minutes.
    pub(super) clocks_off: bool,
}

impl Profile {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let mut some = |most: i64| if chance.percent(50) { 0 } else { chance.between(1, most) };
        Self {
            crash: some(4_000),
            error: some(15_000),
            hang: some(1_500),
            slow: some(20_000),
            double: some(60_000),
            pause: some(6_000),
            strike: some(12_000),
            drain: some(1_500),
            bell_lost: some(60),
            bell_doubled: some(40),
            bell_delayed: some(60),
            wipe: some(20_000),
            away: some(5_000),
            cancel: some(12_000),
            limit: some(10_000),
            trouble: some(50),
            panic: some(15),
            heartbeats_too: chance.percent(50),
            clocks_off: chance.percent(50),
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        *self = Self { clocks_off: self.clocks_off, ..Self::default() };
    }
}
