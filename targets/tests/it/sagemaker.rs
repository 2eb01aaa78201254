//! The target SAGEMAKER, driven over real HTTP against the practice SageMaker.

mod judges;
mod twice;
mod walk;
mod world;
