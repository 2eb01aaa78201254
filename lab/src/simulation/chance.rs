//! Chance from a seed: the same seed, the same draws.

/// A stream of draws (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far apart.
        let mut chance = Self(seed.wrapping_mul(0xA076_1D64_78BD_642F) ^ 0xE703_7ED1_A0B4_28DB);
        chance.next();
        chance
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).unwrap_or(0) + 1;
        low + i64::try_from(self.next() % span).unwrap_or(0)
    }

    /// True so many times in a million.
    pub(super) fn in_a_million(&mut self, times: i64) -> bool {
        self.between(0, 999_999) < times
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, times: i64) -> bool {
        self.between(0, 99) < times
    }

    /// One of them.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T], otherwise: T) -> T {
        let last = i64::try_from(choices.len()).unwrap_or(0) - 1;
        if last < 0 {
            return otherwise;
        }
        let index = self.between(0, last);
        usize::try_from(index).ok().and_then(|index| choices.get(index).copied()).unwrap_or(otherwise)
    }

    /// In any order.
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = usize::try_from(self.between(0, last as i64)).unwrap_or(0);
            list.swap(last, other);
        }
    }
}
