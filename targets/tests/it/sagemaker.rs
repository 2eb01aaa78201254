//! The target SAGEMAKER, driven over real HTTP against the practice SageMaker.

mod judges;
mod walk;
pub(crate) mod world;
