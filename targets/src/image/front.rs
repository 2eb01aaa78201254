//! The front of an image for a cloud: `slipway` itself, in a layer of its own, as the entrypoint around the base image's command.

use std::path::{Path, PathBuf};

use engine::failure::Failure;

use super::{
    build::Changes,
    contract::BINARY,
    layer::{Content, Layer, LayerError, LayerPlan, Mode},
};
use crate::{codes, tools::HostSettings};

/// Whose contract a front speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// Amazon SageMaker.
    SageMaker,
    /// Google Vertex AI.
    VertexAi,
    /// Azure Machine Learning.
    AzureMl,
    /// Snowflake's Snowpark Container Services.
    Snowflake,
}

/// The program that goes into images as their front: the operator's, or the running one.
///
/// # Errors
/// `IMAGE_LAYER_FAILED` when it can't be found.
pub fn program(host: &HostSettings) -> Result<PathBuf, Failure> {
    if !host.front.as_os_str().is_empty() {
        return Ok(host.front.clone());
    }
    std::env::current_exe().map_err(|error| {
        let message =
            "The program that goes into images as their front can't be found. An operator names it (targets.front).";
        Failure::new(codes::IMAGE_LAYER_FAILED, message).detail(error.to_string())
    })
}

impl Front {
    /// What `slipway front --platform` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SageMaker => "sagemaker",
            Self::VertexAi => "vertex",
            Self::AzureMl => "azure",
            Self::Snowflake => "snowflake",
        }
    }

    /// Where it listens, unless the platform says another port.
    pub fn port(self) -> u16 {
        match self {
            Self::SageMaker | Self::VertexAi | Self::Snowflake => 8080,
            Self::AzureMl => 5001,
        }
    }

    /// The front starts what the base image would have started. What a platform adds to the command comes after the semicolon, and means nothing.
    pub fn changes(self) -> Changes {
        let before = [BINARY, "front", "--platform", self.name(), "--run"].map(str::to_owned);
        Changes {
            around_command: Some((before.into(), vec![";".to_owned()])),
            ports: vec![self.port()],
            ..Changes::default()
        }
    }

    /// The layer with the front: `binary` is a `slipway` for the image's platform. The same for every cloud and every service.
    ///
    /// # Errors
    /// [`LayerError`], when it can't be read or written.
    pub async fn layer(binary: &Path, folder: &Path) -> Result<Layer, LayerError> {
        let mut plan = LayerPlan::default();
        plan.add(BINARY, Mode::Program, Content::File(binary.to_owned()))?;
        plan.make(folder).await
    }
}
