//! What came of a hook.

use std::time::Duration;

/// The end of one hook. When it is there, no process of the hook is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReport {
    /// How it ended.
    pub outcome: HookOutcome,
    /// Processes that were still there after the hook had ended by itself; they were killed. More than 0 is worth a warning.
    pub leftovers: u32,
    /// From the call to the last process's end.
    pub duration: Duration,
}

/// How a hook ended. Texts come from the hook, masked and bounded; tracebacks may show its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOutcome {
    /// It returned `HookResult.success(message)`.
    Success(String),
    /// It returned `HookResult.warning(message)`.
    Warning(String),
    /// It returned `HookResult.error(message)`.
    Error(String),
    /// It raised an exception.
    Raised {
        /// The exception's class, with its module unless built in.
        exception: String,
        /// The exception's text.
        message: String,
        /// For infrastructure admins alone.
        traceback: String,
    },
    /// `execute` returned None.
    ReturnedNothing,
    /// `execute` returned something else than a `HookResult`, or more than fits.
    BadResult {
        /// The class of what it returned.
        found: String,
    },
    /// The code has no function `execute`.
    NoExecuteFunction,
    /// The code does not compile.
    CompileError {
        /// The compiler's words, with the line's number.
        message: String,
        /// For infrastructure admins alone.
        traceback: String,
    },
    /// Its process ended without a result (`sys.exit`, `os._exit`).
    Exited {
        /// Exit code.
        code: i32,
    },
    /// A signal that Slipway did not send ended its process (a crash, the kernel for want of memory, a resource limit).
    KilledBySignal {
        /// The signal's number.
        signal: i32,
    },
    /// It ran longer than the step deadline.
    DeadlineExceeded,
    /// The run was cancelled.
    Cancelled,
    /// The worker's lease was no longer confirmed: somebody else may run the step.
    LeaseDeadline,
    /// It wrote more than the hard bound of output.
    OutputFlood,
    /// This machine has no such OS user, or the worker may not become it. Nothing was run.
    UserUnavailable {
        /// For operators.
        detail: String,
    },
    /// The code env's interpreter is not there. Nothing was run.
    InterpreterMissing {
        /// For operators.
        detail: String,
    },
    /// The interpreter ended before it asked for the hook (too old, no Python, broken). Nothing of the hook was run.
    InterpreterFailed {
        /// For operators.
        detail: String,
    },
    /// This machine could not start it. Nothing was run.
    NotStarted {
        /// For operators.
        detail: String,
    },
    /// Its supervisor was killed; the worker ended the hook.
    SupervisorDied,
}

impl HookOutcome {
    /// A stable code, for journals and clients.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Success(_) => "HOOK_SUCCEEDED",
            Self::Warning(_) => "HOOK_WARNING",
            Self::Error(_) => "HOOK_ERROR",
            Self::Raised { .. } => "HOOK_RAISED",
            Self::ReturnedNothing => "HOOK_RETURNED_NOTHING",
            Self::BadResult { .. } => "HOOK_BAD_RESULT",
            Self::NoExecuteFunction => "HOOK_NO_EXECUTE",
            Self::CompileError { .. } => "HOOK_COMPILE_ERROR",
            Self::Exited { .. } => "HOOK_EXITED",
            Self::KilledBySignal { .. } => "HOOK_KILLED_BY_SIGNAL",
            Self::DeadlineExceeded => "HOOK_DEADLINE_EXCEEDED",
            Self::Cancelled => "HOOK_CANCELLED",
            Self::LeaseDeadline => "HOOK_LEASE_LOST",
            Self::OutputFlood => "HOOK_OUTPUT_FLOOD",
            Self::UserUnavailable { .. } => "HOOK_USER_UNAVAILABLE",
            Self::InterpreterMissing { .. } => "HOOK_INTERPRETER_MISSING",
            Self::InterpreterFailed { .. } => "HOOK_INTERPRETER_FAILED",
            Self::NotStarted { .. } => "HOOK_NOT_STARTED",
            Self::SupervisorDied => "HOOK_SUPERVISOR_DIED",
        }
    }

    /// What happened and what to do, for whoever may see the deployment: the hook's own words, or ours. No traceback, no path, no user.
    pub fn message(&self) -> String {
        const RESULT: &str = "It must return HookResult.success, .warning or .error.";
        match self {
            Self::Success(text) | Self::Warning(text) | Self::Error(text) => text.clone(),
            Self::Raised { exception, message, .. } => format!("The hook raised {exception}: {message}"),
            Self::ReturnedNothing => format!("The hook returned nothing. {RESULT}"),
            Self::BadResult { found } => format!("The hook returned {found}. {RESULT}"),
            Self::NoExecuteFunction => "The hook's code defines no function `execute`. Add one.".to_owned(),
            Self::CompileError { message, .. } => format!("The hook's code does not compile: {message}"),
            Self::Exited { code } => format!("The hook's process ended with exit code {code} and no result. {RESULT}"),
            Self::KilledBySignal { signal } => {
                format!(
                    "The hook's process was ended by signal {signal}. Look at the worker's machine: was memory short, or did the hook end itself?"
                )
            }
            Self::DeadlineExceeded => {
                "The hook ran longer than its deadline and was ended. Make it shorter, or raise its deadline."
                    .to_owned()
            }
            Self::Cancelled => "The hook was ended because the update was cancelled.".to_owned(),
            Self::LeaseDeadline => "The hook was ended because its worker could not confirm its lease.".to_owned(),
            Self::OutputFlood => "The hook was ended because it wrote too much output. Let it print less.".to_owned(),
            Self::UserUnavailable { .. } => {
                "The OS user of the hook is not available on the worker. Ask an operator, or change the hook."
                    .to_owned()
            }
            Self::InterpreterMissing { .. } => {
                "The interpreter of the hook's code env is missing on the worker. Ask an operator to mend the code env."
                    .to_owned()
            }
            Self::InterpreterFailed { .. } => {
                "The interpreter of the hook's code env failed before the hook began. Ask an operator to mend it."
                    .to_owned()
            }
            Self::NotStarted { .. } => "The hook could not be started on the worker. Ask an operator.".to_owned(),
            Self::SupervisorDied => {
                "The hook's supervisor was killed, so the hook was ended. Retry the update.".to_owned()
            }
        }
    }

    /// The part that only infrastructure admins may see: a traceback, a path, a user.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Raised { traceback, .. } | Self::CompileError { traceback, .. } => Some(traceback),
            Self::UserUnavailable { detail }
            | Self::InterpreterMissing { detail }
            | Self::InterpreterFailed { detail }
            | Self::NotStarted { detail } => Some(detail),
            _ => None,
        }
    }
}
