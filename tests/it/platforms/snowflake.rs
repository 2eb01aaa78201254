//! A strict stand-in of Snowflake.

#[path = "../../../targets/tests/it/snowflake/account.rs"]
pub(super) mod account;
#[path = "../../../targets/tests/it/snowflake/login.rs"]
pub(super) mod login;
#[path = "../../../targets/tests/it/snowflake/sql.rs"]
mod sql;
#[path = "../../../targets/tests/it/snowflake/statements.rs"]
mod statements;
