//! The one HTTP client. It follows no redirect, uses no proxy, checks addresses after DNS, reads bounded answers, and turns every bad one into a failure with a
//! code of its own that says whether another attempt is worth it.
//!
//! * `address`: the networks that no node may be in.
//! * `url`: what a node's URL may be.
//! * `client`: the clients, requests and how they are sent.
//! * `answer`: what a status and a body mean.
//! * `trouble`: what a broken connection means; [`CallError`].
//! * `text`: a node's words, made harmless.

mod address;
mod answer;
mod client;
mod text;
mod trouble;
mod url;

pub use address::{AddressForbidden, BlockList, Network, NetworkInvalid};
pub(crate) use client::{Body, Method, Node, Request, Upload};
pub use client::{Http, HttpSettings, SetupError, install_crypto_provider};
pub use text::unseen;
pub use trouble::CallError;
pub(crate) use trouble::Effect;
pub use url::{NodeUrl, NodeUrlError};
