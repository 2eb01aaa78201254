//! The journal of a run: pure. [`event`] says what is in it, [`state`] folds it, [`next`] says what follows.

pub mod event;
pub mod next;
pub mod state;

pub use event::{Event, Kind, NewEvent, Status, Then};
pub use next::Next;
pub use state::{AttemptState, Illegal, Phase, SlotState, State, StepState};
