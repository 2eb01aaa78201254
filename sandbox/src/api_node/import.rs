//! Generations from archives on the node's own disk. No call uploads one.

use super::state::{Generation, MOST, Service, Share};
use super::version::Version;
use super::{ApiAsked, ApiCore, LARGEST, Package};
use crate::clock::now_ms;
use crate::reply::{Answer, Refusal, Reply};
use crate::request::Object;
use crate::upload::{blocking, local};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// `POST services/S/generations/actions/importFromArchive?filePath=`: available afterwards, not active.
pub(super) async fn answer(asked: &ApiAsked<'_>, id: &str) -> Answer {
    asked.core.state().service(id)?;
    let generation = read(asked, "filePath").await?;
    if generation.version.service != id {
        let message = format!("the archive holds service {}, not {id}", generation.version.service);
        return Err(Refusal::bad(message));
    }
    // The service may be gone by now.
    asked.core.state().service_mut(id)?.import(generation)?;
    Ok(Reply::Empty)
}

async fn read(asked: &ApiAsked<'_>, parameter: &'static str) -> Result<Generation, Refusal> {
    let path = asked.query.get(parameter).ok_or_else(|| Refusal::bad(format!("{parameter} is needed")))?.to_owned();
    let core = Arc::clone(asked.core);
    blocking(move || open(&core.inside(Path::new(&path), parameter)?, parameter, &Object::new())).await
}

/// Blocks.
fn open(path: &Path, what: &str, amended: &Object) -> Result<Generation, Refusal> {
    let (file, size, sha256) = local(path, what, LARGEST)?;
    let version = Arc::new(Version::read(file, amended)?);
    Ok(Generation { version, sha256, size, preloaded: false, imported_on: now_ms() })
}

impl ApiCore {
    /// A path that a call names, as it really is: absolute, and in one of the folders that this node was given, also
    /// when all links are followed. Blocks.
    pub(super) fn inside(&self, path: &Path, what: &str) -> Result<PathBuf, Refusal> {
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(Refusal::bad(format!("{what} is no absolute path without ..")));
        }
        let within = |path: &Path| self.folders.iter().any(|folder| path.starts_with(folder));
        match path.canonicalize() {
            Ok(real) if within(&real) => Ok(real),
            // What is outside is not told apart from what is not there.
            Err(error) if path.parent().is_some_and(|above| above.canonicalize().is_ok_and(|above| within(&above))) => {
                Err(Refusal::bad(format!("can't read {what}: {error}")))
            }
            _ => Err(Refusal::forbidden(format!("{what} is not in a folder that this node imports from"))),
        }
    }
}

impl Service {
    /// The same content again is no error, as the answer of the first time may have been lost.
    fn import(&mut self, generation: Generation) -> Result<(), Refusal> {
        let id = &generation.version.generation;
        if let Ok(known) = self.generation(id) {
            if known.sha256 == generation.sha256 {
                return Ok(());
            }
            return Err(Refusal::bad(format!("there is a generation {id} already, with other content")));
        }
        if self.generations.len() >= MOST {
            return Err(Refusal::bad(format!("the service has {MOST} generations already")));
        }
        self.generations.push(generation);
        Ok(())
    }
}

/// Imports, preloads and maps archives that whoever starts the node names. Blocks.
pub(super) fn serve(core: &ApiCore, packages: &[Package]) -> Result<(), Refusal> {
    let mut services: BTreeMap<String, Vec<(Generation, f64)>> = BTreeMap::new();
    for Package { file, proba, amended } in packages {
        let generation = open(file, &file.display().to_string(), amended)?;
        services.entry(generation.version.service.clone()).or_default().push((generation, *proba));
    }
    let mut made = BTreeMap::new();
    for (id, generations) in services {
        let (mut service, mut shares) = (Service::default(), Vec::new());
        for (generation, proba) in generations {
            shares.push(Share { generation: generation.version.generation.clone(), proba });
            service.import(generation)?;
        }
        for share in &shares {
            service.preload(&share.generation);
        }
        service.map(shares)?;
        made.insert(id, service);
    }
    let mut state = core.state();
    if let Some(known) = made.keys().find(|id| state.services.contains_key(*id)) {
        return Err(Refusal::bad(format!("there is a service {known} already")));
    }
    state.services.append(&mut made);
    Ok(())
}
