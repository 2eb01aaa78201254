//! At least one enabled user stays in `administrators`: without one, nobody could ever change rights again.

use engine::db::{Tx, sql_with};
use sea_orm::ConnectionTrait;

use crate::{
    error::{Error, Result},
    viewer::ADMINISTRATORS,
};

/// Taken before a change that may remove an administrator, and asked again after it. Holds the group's row, so that two changes can't each
/// remove the other's last one.
pub(crate) struct Guard {
    before: i64,
}

impl Guard {
    /// Locks the group and counts.
    pub(crate) async fn take(tx: &Tx) -> Result<Self> {
        tx.lock("user_group", "name = $1", ADMINISTRATORS).await?;
        Ok(Self { before: enabled(tx).await? })
    }

    /// Refuses the change if it removed the last one. The transaction must then be dropped.
    pub(crate) async fn check(self, tx: &Tx) -> Result<()> {
        if self.before > 0 && enabled(tx).await? == 0 {
            return Err(Error::refused(
                "LAST_ADMINISTRATOR",
                "This would leave no enabled user in the group administrators. Add another one first.",
            ));
        }
        Ok(())
    }
}

/// How many enabled users the group has.
pub(crate) async fn enabled(tx: &Tx) -> Result<i64> {
    let sql = "SELECT COUNT(*) AS n FROM membership m JOIN account a ON a.login = m.login \
               WHERE m.group_name = $1 AND a.enabled";
    match tx.query_one_raw(sql_with(&**tx, sql, [ADMINISTRATORS.into()])).await? {
        Some(row) => Ok(row.try_get("", "n")?),
        None => Ok(0),
    }
}
