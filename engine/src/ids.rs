//! Ids that the engine gives. They say nothing about how many others there are.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::clock;

/// One execution of a plan. 42 bits of milliseconds, then 21 random bits: in order of time, not countable, exact in JSON as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

/// One life of one worker process; a restarted process is another worker. Made like a [`RunId`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub i64);

impl WorkerId {
    /// In a journal: whoever ended a run without being a worker.
    pub const NOBODY: Self = Self(0);
}

const RANDOM_BITS: u32 = 21;

/// A fresh id. Two equal ones within a millisecond (1 in 2 million) are refused by the primary key and drawn again by the caller.
pub fn fresh() -> i64 {
    first_of(clock::now_micros()) | (clock::random_u64() >> (64 - RANDOM_BITS)) as i64
}

/// The smallest id of this moment, in microseconds: older ones are below it, as far as the clocks of those who made them agree.
pub(crate) fn first_of(micros: i64) -> i64 {
    ((micros / 1_000) & ((1 << 42) - 1)) << RANDOM_BITS
}

macro_rules! text_form {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $id {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

text_form!(RunId);
text_form!(WorkerId);
