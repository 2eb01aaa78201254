//! Taking a bundle in: first all of it, then what it says of itself, then the row.

use bytes::Bytes;
use engine::{db::Tx, packages::Staged};
use entities::{bundle, package_binding, published_project};
use futures_util::Stream;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait as _};
use serde_json::Map;

use super::{Bundle, BundleKey, hold_content, store_error};
use crate::{
    Deployer,
    archive::{self, Contents, Limits},
    audit::{Object, act::Act},
    error::{Error, Problems, Result},
    halves, names, projects,
    rights::{self, Right},
    text,
    viewer::Viewer,
};

/// What came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// The bundle.
    pub bundle: Bundle,
    /// The published project was made for it, and belongs to the uploader.
    pub created_project: bool,
    /// What the reader passed over, each a sentence.
    pub warnings: Vec<String>,
}

/// Takes a bundle in. `project_key` is the published project; None takes the project that the bundle was made from. A published project that
/// is missing is made, and belongs to the viewer. `limit` is the most bytes.
///
/// # Errors
/// `FORBIDDEN` without Write on the published project; `ID_INVALID`; `ID_NOT_AVAILABLE` for a key that is reserved or that the viewer may not
/// see; `PACKAGE_TOO_LARGE`, `UPLOAD_INTERRUPTED`; what [`archive::read_bundle`] refuses; `BUNDLE_EXISTS` for a second one of the same id;
/// `BUNDLE_ID_BOUND` for an id that a node knows with another content. Nothing is stored then.
pub async fn upload<S, E>(
    deployer: &Deployer,
    viewer: &Viewer,
    project_key: Option<&str>,
    file_name: &str,
    stream: S,
    limit: u64,
) -> Result<Upload>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let act = Act::new(deployer, viewer, "uploadBundle", Object::bundle(project_key.unwrap_or_default(), ""));
    act.once(take_in(deployer, viewer, project_key, file_name, stream, limit, &act)).await
}

async fn take_in<S, E>(
    deployer: &Deployer,
    viewer: &Viewer,
    project_key: Option<&str>,
    file_name: &str,
    stream: S,
    limit: u64,
    act: &Act<'_>,
) -> Result<Upload>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Some(key) = project_key {
        may_upload(deployer, viewer, key).await?;
    }
    let mut problems = Problems::default();
    // The whole name may name the bundle; what is kept of it is a line.
    let (whole, file_name) =
        (file_name, file_name.char_indices().nth(text::LINE).map_or(file_name, |(end, _)| &file_name[..end]));
    text::line(file_name, text::LINE, "fileName", &mut problems);
    problems.check()?;
    let staged = deployer.packages.stage(stream, limit).await.map_err(store_error)?;
    let read = archive::read_bundle(staged.path(), whole, Limits::default()).await?;
    let key = BundleKey {
        project_key: project_key.unwrap_or(&read.project_key).to_owned(),
        bundle_id: read.bundle_id.clone(),
    };
    act.about(Object::bundle(&key.project_key, &key.bundle_id));
    if project_key.is_none() {
        may_upload(deployer, viewer, &key.project_key).await?;
    }
    check_new(deployer.db.pool(), &key, staged.sha256()).await?;
    let name = read.project_name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&key.project_key);
    let row = bundle::ActiveModel {
        file_name: Set(file_name.to_owned()),
        contents: Set(serde_json::to_string(&read.for_target())?),
        manifest: Set(serde_json::to_string(&read.manifest)?),
        inferred: Set(read.contents == Contents::Inferred),
        release_notes: Set(read.manifest.release_notes.clone().unwrap_or_default().replace('\0', "")),
        design_node: Set(Some(serde_json::to_string(&read.design_node())?)),
        ..Default::default()
    };
    match publish(deployer, viewer, &key, &staged, name, row, act).await {
        Ok((row, created_project)) => {
            tracing::info!(
                project = key.project_key,
                bundle = key.bundle_id,
                by = viewer.login,
                "a bundle was published"
            );
            Ok(Upload { bundle: Bundle::of(row), created_project, warnings: read.warnings })
        }
        Err(error) => {
            // What nobody refers to only takes room; a refusal must leave nothing, so it goes unless another bundle has it.
            if let Err(left) = super::drop_package(deployer, staged.sha256()).await {
                tracing::warn!(error = ?left, sha256 = staged.sha256(), "the package of a refused upload could not be removed");
            }
            Err(error)
        }
    }
}

/// The package into the store, and the row. After an error the package may be there without a row.
async fn publish(
    deployer: &Deployer,
    viewer: &Viewer,
    key: &BundleKey,
    staged: &Staged,
    name: &str,
    row: bundle::ActiveModel,
    act: &Act<'_>,
) -> Result<(bundle::Model, bool)> {
    let package = deployer.packages.commit(staged).await.map_err(store_error)?;
    let tx = deployer.db.begin().await?;
    // Its removal by somebody who deletes the same content waits for us; if it came first, this puts the package back.
    hold_content(&tx, staged.sha256()).await?;
    deployer.packages.commit(staged).await.map_err(store_error)?;
    let row = bundle::ActiveModel { store_key: Set(package.as_str().to_owned()), ..row };
    let stored = store(&tx, viewer, key, staged, name, row).await?;
    if stored.1 {
        act.note(Map::from_iter([("createdProject".to_owned(), true.into())]));
    }
    act.commit(tx).await?;
    Ok(stored)
}

/// Whether the viewer may upload under this key: with Write, or because there is no such published project yet.
async fn may_upload(deployer: &Deployer, viewer: &Viewer, key: &str) -> Result<()> {
    let mut problems = Problems::default();
    names::check(key, "projectKey", &mut problems);
    problems.check()?;
    if names::is_reserved(key) {
        return Err(Error::id_not_available("projectKey"));
    }
    let exists = published_project::Entity::find_by_id(key.to_owned()).one(deployer.db.pool()).await?.is_some();
    let rights = rights::project_rights_on(deployer.db.pool(), viewer, key).await?;
    match (exists, rights.read) {
        (false, _) => Ok(()),
        (true, false) => Err(Error::id_not_available("projectKey")),
        (true, true) if rights.has(Right::Write) => Ok(()),
        (true, true) => Err(Error::forbidden("the right Write on the published project")),
    }
}

/// Adds the project if it is missing, and the bundle, after all checks that another upload could have made untrue meanwhile.
async fn store(
    tx: &Tx,
    viewer: &Viewer,
    key: &BundleKey,
    staged: &Staged,
    project_name: &str,
    row: bundle::ActiveModel,
) -> Result<(bundle::Model, bool)> {
    let name: String = project_name.chars().filter(|c| !c.is_control()).take(text::LINE).collect();
    let created = projects::insert(tx, &key.project_key, &name, viewer).await?;
    // Whoever else uploads into this project waits here.
    tx.lock("published_project", "key = $1", key.project_key.as_str()).await?;
    if !created && !rights::project_rights_on(&**tx, viewer, &key.project_key).await?.has(Right::Write) {
        return Err(Error::id_not_available("projectKey"));
    }
    check_new(&**tx, key, staged.sha256()).await?;
    Ok((insert(tx, viewer, key, staged, row).await?, created))
}

/// Adds the row of a package, with what every one has.
pub(crate) async fn insert(
    tx: &Tx,
    viewer: &Viewer,
    key: &BundleKey,
    staged: &Staged,
    row: bundle::ActiveModel,
) -> Result<bundle::Model> {
    let row = bundle::ActiveModel {
        project_key: Set(key.project_key.clone()),
        bundle_id: Set(key.bundle_id.clone()),
        sha256: Set(staged.sha256().to_owned()),
        size: Set(i64::try_from(staged.size()).unwrap_or(i64::MAX)),
        uploaded_by: Set(viewer.login.clone()),
        uploaded_at: Set(tx.now().await?),
        ..row
    };
    Ok(bundle::Entity::insert(row).exec_with_returning(&**tx).await?)
}

/// Refuses an id that is taken, or that means another content.
pub(crate) async fn check_new<C: ConnectionTrait>(db: &C, key: &BundleKey, sha256: &str) -> Result<()> {
    let id = (key.project_key.clone(), key.bundle_id.clone());
    let half = halves::half_of(&key.project_key);
    let (noun, package) = (halves::noun(half), halves::package(half));
    if bundle::Entity::find_by_id(id.clone()).one(db).await?.is_some() {
        let message = format!(
            "The {noun} has a {package} with this id. A {package} never changes: make a new one with another id."
        );
        return Err(Error::field("BUNDLE_EXISTS", super::field(half), message));
    }
    let bound = package_binding::Entity::find_by_id(id).one(db).await?;
    if bound.is_some_and(|bound| bound.sha256 != sha256) {
        let message =
            format!("This id stands for another content, and keeps it for good. Make the {package} with another id.");
        return Err(Error::field("BUNDLE_ID_BOUND", super::field(half), message));
    }
    Ok(())
}
