//! Amazon Web Services: the connection `AWS`, and what every target there speaks with. Signed HTTP, and no vendor's client.
//!
//! * `settings`: what the connection says. `place`: where a region's services are.
//! * `sign`: a request's signature. `client`: calls, with a fresh token or a corrected clock when the first was refused.
//! * `words`: what AWS' errors mean. `xml`: the few elements of STS' answers.
//! * `wallet`: temporary credentials, kept until shortly before their end. `sts`: how they are got. `machine`: the identity of this machine, where its operator lends it.
//! * `ecr`: repositories of images. `connection`: testing it.

mod client;
mod connection;
mod ecr;
mod machine;
mod place;
mod settings;
mod sign;
mod sts;
mod wallet;
mod words;
mod xml;

pub(crate) use client::{Account, Ask, Aws};
pub use connection::AwsConnection;
pub(crate) use connection::{is_root, judge};
pub(crate) use ecr::{Login, Repository};
pub(crate) use place::Service;
pub(crate) use settings::AwsSettings;
pub(crate) use sts::Caller;
pub(crate) use words::{AwsError, Kind};

/// The type of connection.
pub(crate) const KIND: &str = "AWS";
