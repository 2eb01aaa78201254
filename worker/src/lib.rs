//! The worker: takes runs from the queue and drives them, step by step, under a lease.
//!
//! * [`process`]: a worker process, its lease and how it stops; `sweeper`: what makes lost bells good.
//! * `attend`: one look at one run; `held`: the run while this worker holds it; `runner`: fold, next, do, append.
//! * `needs`: runs that another worker should take, since this one lacks what their hook needs.
//! * [`doer`]: who does the steps; `steps`: the real one, by kind; `context`: the run as a step sees it.
//! * [`hooks`]: a hook from the worker's side; [`hook_exec`]: its supervisor, a process of its own.
//! * [`settings`]: what an operator sets; [`metrics`]: what an operator watches.

mod attend;
pub mod context;
pub mod doer;
mod held;
pub mod hook_exec;
pub mod hooks;
pub mod metrics;
mod needs;
pub mod process;
pub mod runner;
pub mod settings;
pub mod steps;
mod sweeper;

pub use held::Lost;
pub use metrics::Metrics;
pub use process::{Worker, WorkerState};
pub use settings::{HookSettings, WorkerSettings};
