//! What hurts Slipway on purpose, and finds out whether it held.
//!
//! * [`history`]: what was seen of a system, as records; [`checker`]: whether that keeps the promises. Neither knows the engine.
//! * [`rows`]: the truth in memory, by the same rules as SQL. [`simulation`]: the engine and the worker's runner over these rows, under a
//!   scheduler that draws every fault from a seed.

pub mod checker;
pub mod history;
pub mod rows;
pub mod simulation;
