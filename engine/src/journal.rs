//! The journal of a run: pure. [`event`] says what is in it, [`state`] folds it, [`next`] says what follows, [`outcome`] records what an attempt
//! came to, [`follow`] makes one edge of that.

pub mod event;
pub mod follow;
pub mod next;
pub mod outcome;
pub mod state;
#[cfg(test)]
mod tests;

pub use event::{Event, Kind, NewEvent, Status, Then};
pub use next::Next;
pub use state::{AttemptState, Illegal, Phase, SlotState, State, StepState};
