//! The audit: a record of each change that was made, and of each that was refused.
//!
//! Every mutation runs inside an `act::Act`, which names who asks, what for, and the thing that is meant. The act's `commit` writes the record in the
//! mutation's own transaction: there is no change without its record, and no record of a change that was not made. What changed is not told by the
//! mutation but read, before and after, from the rows themselves. Whatever ends without a commit is recorded by the act's end: a refusal, a failure,
//! a request that changed nothing.
//!
//! Records are never changed and never removed. Each holds the hash of the one before and, where the master key is at hand, a signature; see
//! [`chain`] for what that finds and what it can't.
//!
//! * `act`: around every mutation. [`object`]: what is meant. `seen`: what a thing looked like.
//! * [`chain`]: the rows. [`verify`]: whether they are as they were written; all of them as lines.
//! * [`ledger`]: refusals in bulk. [`list`]: reading. [`custom`]: what others ask us to keep.

pub(crate) mod act;
pub mod chain;
mod custom;
pub mod ledger;
pub mod list;
pub mod object;
mod seen;
pub mod verify;

pub use self::{
    custom::custom,
    ledger::Ledger,
    object::{Object, ObjectKind, Outcome},
};
use crate::{
    Deployer,
    error::{Error, Result},
    viewer::Viewer,
};

/// Records a mutation that was refused before it came to the function that makes it (an id that can be none); hands the refusal back.
pub async fn refuse(deployer: &Deployer, viewer: &Viewer, action: &'static str, object: Object, why: Error) -> Error {
    act::Act::new(deployer, viewer, action, object).turned_down(&why).await;
    why
}

/// Does what somebody asks for. If that ends in a refusal which no mutation has recorded, because it came before one began, it is recorded here.
///
/// # Errors
/// The work's.
pub async fn told<T>(
    deployer: &Deployer,
    viewer: &Viewer,
    action: &'static str,
    object: Object,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (answer, recorded) = act::watched(work).await;
    match answer {
        Err(why) if !recorded => Err(refuse(deployer, viewer, action, object, why).await),
        answer => answer,
    }
}
