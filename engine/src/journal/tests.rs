//! The journal, driven as the worker drives it, on a list of events instead of a database.
//!
//! * `sim`: plan, script and driver. `crashes`: every step, every outcome, a crash at every edge. `cancels`: a cancel at every point.
//! * `rules`: single rules of fold and next. `random`: lists of events that nobody wrote. `rows`: how events are stored.

mod cancels;
mod crashes;
mod lanes;
mod random;
mod rows;
mod rules;
mod sim;
