//! Images: a base image and one layer with a service, made without a container engine and pushed to a registry over HTTP.
//!
//! * [`mod@reference`]: how an image is named. [`Digest`]: what a content is known by.
//! * [`contract`]: what a base image finds in the layer.
//! * [`layer`]: the layer's file.
//! * `manifest`: what an image is made of, in both families of media types.
//! * [`registry`]: a registry's API. [`build`]: base image and layers become an image of the target's registry.
//! * [`front`]: what makes it an image for a cloud.
//! * `failure`: what a registry's refusals mean.

pub mod build;
pub mod contract;
mod digest;
mod failure;
pub mod front;
pub mod layer;
mod manifest;
pub mod reference;
pub mod registry;

pub use digest::{Digest, DigestInvalid};
pub use manifest::{Platform, PlatformInvalid};
