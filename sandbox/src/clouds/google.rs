//! Google.
/// The stand-in.
pub struct Google;
