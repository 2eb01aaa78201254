//! Connections: whose credentials reach a platform, and where they may be sent. They have rights of their own, so that an infrastructure's administrator can use
//! one without knowing it. One type, one module and one line here.

use std::sync::Arc;

use async_trait::async_trait;
use engine::failure::Failure;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    aws::AwsConnection,
    azure::connection::AzureConnection,
    codes,
    gcp::connection::GcpConnection,
    snowflake::Snowflake,
    spec::ConnectionSpec,
    target::{Entered, NodeReport, Secrets},
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

    /// What is wrong with secrets that were just entered, as [`crate::target::Target::unreadable`].
    fn unreadable(&self, settings: &Map<String, Value>, entered: Entered<'_>) -> Vec<(String, String)> {
        let _ = (settings, entered);
        Vec::new()
    }

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

/// The connection of an infrastructure, which must be of this type.
///
/// # Errors
/// `CONNECTION_UNFIT` where there is none, or one of another type.
pub(crate) fn of_kind<'a>(connection: Option<&'a ConnectionSpec>, kind: &str) -> Result<&'a ConnectionSpec, Failure> {
    let message = match connection {
        Some(connection) if connection.kind == kind => return Ok(connection),
        None => format!("This infrastructure has no connection. Choose one of type {kind} in its settings."),
        Some(connection) => {
            format!("Connection {} is of type {}, and one of type {kind} is needed.", connection.id, connection.kind)
        }
    };
    Err(Failure::new(codes::CONNECTION_UNFIT, message))
}

/// The settings of a connection. What its schema lets through can be read.
///
/// # Errors
/// `CONNECTION_UNFIT` where they are another build's.
pub(crate) fn settings<T: DeserializeOwned>(connection: &ConnectionSpec) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(connection.settings.clone())).map_err(|error| {
        let message = format!("The settings of connection {} can't be read. Enter them again.", connection.id);
        Failure::new(codes::CONNECTION_UNFIT, message).detail(error.to_string())
    })
}
