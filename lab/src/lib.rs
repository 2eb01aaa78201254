//! What hurts Slipway on purpose, and finds out whether it held.
//!
//! * [`history`]: what was seen of a system, as records; [`checker`]: whether that keeps the promises. Neither knows the engine.
//! * [`rows`]: the truth in memory, by the same rules as SQL. [`simulation`]: the engine and the worker's runner over these rows, under a
//!   scheduler that draws every fault from a seed.
//! * [`proxy`]: a network that misbehaves when it is told to. [`servers`]: real servers and `slipway` processes of our own, which die with us.
//!   [`soak`]: all of them together, under traffic, while they are killed one after another. [`load`]: a long line, a flood of requests.
//! * [`hook_test`]: one hook, killed after each of its effects and run again.
//! * [`failure`]: what keeps an experiment from being made. [`mod@until`]: waiting for a state. [`client`]: a client of the GraphQL API.
//!   [`furniture`]: what is deployed, and where.

pub mod checker;
pub mod client;
pub mod failure;
pub mod furniture;
pub mod history;
pub mod hook_test;
pub mod load;
pub mod proxy;
pub mod rows;
pub mod servers;
pub mod simulation;
pub mod soak;
pub mod until;
