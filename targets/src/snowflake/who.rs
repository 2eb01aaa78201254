//! Who signs in.

use super::{
    client::Api,
    statements::{Context, Statement},
};
use crate::http::CallError;

/// A session, as Snowflake sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Whoami {
    pub(crate) user: String,
    /// As Snowflake keeps it.
    pub(crate) role: String,
    pub(crate) account: String,
    pub(crate) version: String,
}

impl Api {
    /// Asks who runs statements in this context.
    pub(crate) async fn whoami(&self, context: &Context) -> Result<Whoami, CallError> {
        let sql = "SELECT CURRENT_USER() AS \"user\", CURRENT_ROLE() AS \"role\", CURRENT_ACCOUNT() AS \"account\", CURRENT_VERSION() AS \"version\"";
        let statement =
            Statement { sql: sql.to_owned(), bindings: Vec::new(), context, doing: "asking who is signed in" };
        let rows = self.read(&statement).await.map_err(|error| self.explained(error))?;
        let text = |column| rows.first().map(|row| self.clean(row.text(column), 255)).unwrap_or_default();
        Ok(Whoami { user: text("user"), role: text("role"), account: text("account"), version: text("version") })
    }
}
