//! Whether whoever asked is still who they were. A request can take long: its node is slow, its upload runs for hours, or an earlier field of the same
//! document ended the very key that it came with.

use std::collections::BTreeSet;

use engine::db::{Tx, clock_sql, sql_with};
use sea_orm::ConnectionTrait as _;

use crate::{
    audit::act::Caller,
    error::{Error, Result},
    viewer::ADMINISTRATORS,
};

/// Asks once more, in the transaction of the change. One query by primary keys.
///
/// # Errors
/// `UNAUTHENTICATED` if the key is dead or the user gone or disabled by now; `FORBIDDEN` if a group that was counted on was left since. Both change nothing.
pub(crate) async fn require(tx: &Tx, caller: &Caller) -> Result<()> {
    let clock = clock_sql(tx.get_database_backend());
    // Who acts in another's place does so by their own key, and as an administrator.
    let owner = caller.origin.acting.as_ref().unwrap_or(&caller.login);
    let mut sql = "SELECT a.login, m.group_name FROM account a LEFT JOIN membership m ON m.login = a.login \
                   JOIN account o ON o.login = $2 AND o.enabled WHERE a.login = $1 AND a.enabled"
        .to_owned();
    let mut values = vec![caller.login.as_str().into(), owner.as_str().into()];
    if caller.origin.acting.is_some() {
        values.push(ADMINISTRATORS.into());
        sql += " AND EXISTS (SELECT 1 FROM membership x WHERE x.login = o.login AND x.group_name = $3)";
    }
    if let Some(key) = &caller.key_id {
        values.push(key.as_str().into());
        sql += &format!(
            " AND EXISTS (SELECT 1 FROM api_key k LEFT JOIN run r ON r.id = k.hooks_run_id \
             WHERE k.id = ${} AND k.login = o.login AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > {clock}) \
             AND (k.hooks_run_id IS NULL OR (r.id IS NOT NULL AND r.ended_at IS NULL)))",
            values.len()
        );
    }
    let rows = tx.query_all_raw(sql_with(&**tx, sql, values)).await?;
    if rows.is_empty() {
        let message = "The key that this was asked with is dead by now, or its user is disabled. Nothing was changed.";
        return Err(Error::refused("UNAUTHENTICATED", message));
    }
    let mut now = BTreeSet::new();
    for row in rows {
        now.extend(row.try_get::<Option<String>>("", "group_name")?);
    }
    if !caller.groups.is_subset(&now) {
        let message = "Your groups were changed while this was on its way, so your rights may be others now. Nothing was changed: ask again.";
        return Err(Error::refused("FORBIDDEN", message));
    }
    Ok(())
}
