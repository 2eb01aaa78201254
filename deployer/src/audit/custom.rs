//! Records that somebody else asks us to keep, as Dataiku's clients do.

use serde_json::{Map, Value};

use super::{
    act::{ACTED_BY, Act},
    object::{Object, ObjectKind},
};
use crate::{
    Deployer,
    error::{Error, Problems, Result},
    names, rights,
    viewer::Viewer,
};

/// The most bytes of data, as JSON.
const MOST_DATA: usize = 16 << 10;

/// Keeps a record of a type of the caller's own, with data. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`; `ID_INVALID` for the type; `TEXT_INVALID` for data that is too long.
pub async fn custom(deployer: &Deployer, viewer: &Viewer, kind: &str, data: &Value) -> Result<()> {
    let act = Act::new(deployer, viewer, "custom", Object::new(ObjectKind::Custom, kind));
    act.once(keep(deployer, viewer, kind, data, &act)).await
}

async fn keep(deployer: &Deployer, viewer: &Viewer, kind: &str, data: &Value, act: &Act<'_>) -> Result<()> {
    rights::require_global_admin(viewer)?;
    let mut problems = Problems::default();
    names::check(kind, "type", &mut problems);
    problems.check()?;
    // PostgreSQL stores no NUL, and JSON writes one as an escape: the column is a text.
    if data.to_string().len() > MOST_DATA {
        return Err(Error::field("TEXT_INVALID", "data", format!("At most {MOST_DATA} bytes of JSON.")));
    }
    let fields = match data {
        // What we say under this name ourselves nobody else does.
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                (if name == ACTED_BY { "data.actedBy".to_owned() } else { name.clone() }, value.clone())
            })
            .collect(),
        Value::Null => Map::new(),
        other => Map::from_iter([("data".to_owned(), other.clone())]),
    };
    act.note(fields);
    let tx = deployer.db.begin().await?;
    act.commit(tx).await
}
