//! Images: a base image and one layer with a service, made without a container engine and pushed to a registry over HTTP.
//!
//! * [`reference`]: how an image is named. [`Digest`]: what a content is known by.
//! * [`contract`]: what a base image finds in the layer.
//! * [`layer`]: the layer's file.

pub mod contract;
mod digest;
pub mod layer;
pub mod reference;

pub use digest::{Digest, DigestInvalid};
