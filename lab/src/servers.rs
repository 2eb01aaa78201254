//! Real servers and real `slipway` processes, on free ports of 127.0.0.1, which end when we do, however that is.
//!
//! * [`guard`]: the processes. [`scratch`]: their folders.
//! * [`postgres`], [`redis`]: servers that may be stopped, started and emptied. [`footing`]: both, and what else a fleet needs.
//! * [`slipway`]: the binary's commands.
//! * [`programs`]: finding what must be on this machine.

pub mod footing;
pub mod guard;
pub mod postgres;
pub mod programs;
pub mod redis;
pub mod scratch;
pub mod slipway;
