//! The folder that a project lies in. A new project is made there; one that lies elsewhere is moved, if the deployment names a folder.

use engine::failure::StepError;

use super::{
    client::{Api, id},
    flight::effect_missing,
    session::Session,
};
use crate::{codes, http::CallError};

/// Moves the project into its deployment's folder. Without one it lies where it lies.
pub(super) async fn ensure(session: &Session<'_>) -> Result<(), StepError> {
    let Some(wanted) = session.spec().project_folder.as_deref() else { return Ok(()) };
    let found = locate(session).await?;
    if found == wanted {
        return Ok(());
    }
    let (api, key) = (&session.api, session.key());
    let path = ["project-folders", found.as_str(), "projects", key, "move"];
    api.create(&path, &[("destination", wanted)], serde_json::json!({}), "moving the project into its folder").await?;
    if locate(session).await? != wanted {
        return Err(effect_missing("moving the project into its folder").retryable(None));
    }
    session.log(format!("The project lies in folder {} now.", api.clean(wanted))).await;
    Ok(())
}

/// Whether there is such a folder.
pub(super) async fn exists(api: &Api, folder: &str) -> Result<bool, CallError> {
    match api.get(&["project-folders", folder], "looking for the project's folder").await {
        Ok(_) => Ok(true),
        Err(error) if error.failure.code == codes::NODE_NOT_FOUND => Ok(false),
        Err(error) => Err(error),
    }
}

async fn locate(session: &Session<'_>) -> Result<String, CallError> {
    let doing = "looking for the project's folder";
    let folder = session.api.get(&["project-folders", "locate-project", session.key()], doing).await?;
    id(&folder, "id", doing)
}
