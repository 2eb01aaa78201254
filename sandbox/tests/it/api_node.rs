//! The practice API node, driven over real HTTP.

mod admin;
mod archives;
mod auditing;
mod client;
mod faults;
mod queries;
mod switching;
mod tokens;
