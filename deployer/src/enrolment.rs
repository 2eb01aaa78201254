//! Nodes that register themselves.
//!
//! An infrastructure's administrator makes a one-time token ([`create_token`]), and a fleet's start-up script hands it to a node. With it the node
//! enrolls ([`enroll`]): it says its URL and key, and becomes *managed*, that is, read-only by hand. It gets a credential of its own, with which it
//! changes what it said ([`rotate`]) or leaves ([`remove`]). An administrator may make it a node managed by hand again ([`release_node`]).
//!
//! * `tokens`: one-time tokens. `credentials`: finding and making both kinds of secrets. `calls`: what a node does. `release`: what a person does.
//!
//! A token that is unknown, used, expired or revoked is always refused with the same words: [`TOKEN_INVALID`]. All that changes one is done under the
//! infrastructure's lock, so that of two who use it at once one wins.

mod calls;
mod credentials;
mod release;
mod tokens;

pub use calls::{Enrolled, Left, enroll, remove, rotate};
pub(crate) use credentials::forget_all;
pub use credentials::{Bearer, TOKEN_INVALID, admit, invalid};
pub use release::release_node;
pub use tokens::{EnrolmentToken, LONGEST_MINUTES, MOST_TOKENS, create_token, revoke_token, tokens_by_infrastructures};
