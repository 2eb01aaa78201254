//! The supervisor alone, as a program: what the worker's tests start in place of `slipway hook-exec`.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker::hook_exec::main()
}
