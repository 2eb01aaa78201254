//! Connections: whose credentials reach a platform, and where they may be sent. They have rights of their own, so that an infrastructure's administrator can use
//! one without knowing it. One type, one module and one line here.

use std::sync::Arc;

use async_trait::async_trait;
use engine::failure::Failure;

use crate::{
    aws::AwsConnection,
    azure::connection::AzureConnection,
    gcp::connection::GcpConnection,
    snowflake::Snowflake,
    spec::ConnectionSpec,
    target::{NodeReport, Secrets},
    tools::Tools,
};

/// What a type of connection is, for people and forms.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionDescription {
    /// Its stable name, such as `AWS`.
    pub kind: &'static str,
    /// What people read.
    pub label: &'static str,
    /// The JSON Schema (draft 2020-12) of its settings, with the marks of [`crate::target::Description::settings`].
    pub settings: &'static str,
}

/// A type of connection.
#[async_trait]
pub trait Connection: Send + Sync {
    /// What it is.
    fn describe(&self) -> ConnectionDescription;

    /// Signs in, asks whose the credentials are, and says what they lack. Changes nothing.
    async fn check(&self, connection: &ConnectionSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure>;
}

type Constructor = fn(&Tools) -> Arc<dyn Connection>;

/// Every type of connection, and how it is made.
pub fn all() -> &'static [Constructor] {
    &[
        |tools| Arc::new(AwsConnection::new(tools)),
        |tools| Arc::new(AzureConnection::new(tools)),
        |tools| Arc::new(GcpConnection::new(tools)),
        |tools| Arc::new(Snowflake::new(tools)),
    ]
}
