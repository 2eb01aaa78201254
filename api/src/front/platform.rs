//! The platforms' contracts: where a container is asked.

/// Whose contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Amazon SageMaker.
    SageMaker,
    /// Google Vertex AI.
    VertexAi,
    /// Azure Machine Learning.
    AzureMl,
    /// Snowflake's Snowpark Container Services.
    Snowflake,
}

/// The addresses that a platform asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// Whether queries can be answered.
    pub health: String,
    /// Whether the front itself runs, where the platform tells these apart.
    pub alive: Option<String>,
    /// Queries.
    pub predict: String,
}

impl Platform {
    /// The usual addresses.
    pub fn routes(self) -> Routes {
        let (health, alive, predict) = match self {
            Self::SageMaker => ("/ping", None, "/invocations"),
            Self::VertexAi => ("/health", None, "/predict"),
            Self::AzureMl => ("/readiness", Some("/liveness"), "/score"),
            Self::Snowflake => ("/health", None, "/predict"),
        };
        Routes { health: health.to_owned(), alive: alive.map(str::to_owned), predict: predict.to_owned() }
    }

    /// The usual port.
    pub fn port(self) -> u16 {
        match self {
            Self::SageMaker | Self::VertexAi | Self::Snowflake => 8080,
            Self::AzureMl => 5001,
        }
    }
}
