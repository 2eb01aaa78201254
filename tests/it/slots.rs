//! The distributed semaphore.
//!
//! * `bench`: workers and runs as rows, without anything that drives them. `turns`: random histories, turn by turn.
//! * `races`: interleavings that were seen to go wrong on paper, each made by hand.
//! * `keepers`: what a step sees, several keepers in one process. `contenders`: hundreds of real hooks in real processes.

mod bench;
mod contenders;
mod keepers;
mod races;
mod turns;
