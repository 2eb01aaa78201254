//! The one HTTP client. It follows no redirect, uses no proxy, checks addresses after DNS, reads bounded answers, and turns every bad one into a failure with a
//! code of its own that says whether another attempt is worth it.
//!
//! * `address`: the networks that no node may be in.
//! * `url`: what a node's URL may be.
//! * `client`: the clients, requests and how they are sent.
//! * `answer`: what a node's status and body mean. `exchange`: a platform's, whose words are its own.
//! * `trouble`: what a broken connection means; [`CallError`].
//! * `text`: a node's words, made harmless.

mod address;
mod answer;
mod client;
mod exchange;
mod text;
mod trouble;
mod url;

pub use address::{AddressForbidden, BlockList, Network, NetworkInvalid};
pub(crate) use client::header::HeaderName;
pub(crate) use client::{Auth, Body, Method, Node, Request, Tls, Upload, header};
pub use client::{Http, HttpSettings, SetupError, install_crypto_provider, is_certificates};
pub(crate) use exchange::{Exchange, Opened, Said};
pub(crate) use text::Scrubber;
pub use text::unseen;
pub use trouble::CallError;
pub(crate) use trouble::{Effect, Who};
pub use url::{NodeUrl, NodeUrlError};
