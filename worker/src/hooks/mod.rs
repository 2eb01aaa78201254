//! Deployment hooks: Python code of infrastructure admins, run beside a deployment.
//!
//! [`run`] runs one hook under a supervisor process (see [`crate::hook_exec`]) and returns when **no process of it is left**, whatever it did.
//! Dropping the future closes the supervisor's control socket, which ends the hook as well, only unobserved; to end one and know that it is
//! gone, cancel its token and await.
//!
//! ```text
//! worker ── control socket (spec, lease deadlines, kill / statuses) ── hook-exec ── result socket ── python runner.py + the hook
//!    └───────────────────────────── stdout, stderr: pipes ────────────────────────────────────────────┘
//! ```
//!
//! What is promised, and what is not:
//! * A hook's prints can't forge its result: that travels on a descriptor which no program started by the hook inherits. Code *inside* the
//!   hook's interpreter could find the descriptor; it gains nothing, since it decides the result anyway.
//! * Secrets in output are masked line by line, also when encoded as base64 or percent-encoded. A hook that wants to give a secret away can
//!   (it holds the infrastructure's key and has a network): hooks are code that infrastructure admins trust.
//! * A hook that runs under the worker's own OS user can attack the worker and the supervisor. Give hooks an OS user of their own.
//!
//! * `call`: what to run. `outcome`: what came of it. `said`: the runner's answers. `session`: the conversation with the supervisor.
//! * `lines`: output to lines, with bounds. `mask`: secrets in them.
//! * [`orphans`]: the end of a hook whose supervisor was killed.

mod call;
mod lines;
mod mask;
pub mod orphans;
mod outcome;
mod said;
mod session;

pub use call::{
    ClientAccess, DeploymentReport, HookArguments, HookCall, HookControl, HookEnvironment, HookLimits, Supervisor,
};
pub use lines::{HookLine, HookStream};
pub use outcome::{HookOutcome, HookReport};
pub use session::run;

pub use crate::hook_exec::{ProcessLimits, harden_worker as worker_startup};
