//! `slipway bundle` and `slipway service-version`: packages into a published project or service, and what is there.

use std::{
    io::{IsTerminal as _, stderr},
    path::Path,
    time::Duration,
};

use deployer::archive::{self, Limits};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::list;
use crate::{
    args::{BundleCommand, ServiceVersionCommand},
    ci::hex,
    client::{Client, Pauses},
    commands::{say, say_json},
    failure::Failure,
    half::Half,
    login::Login,
    plain::plain,
};

/// How often an upload is sent that breaks off.
const UPLOADS: u32 = 4;

pub(super) async fn bundles(command: BundleCommand) -> Result<(), Failure> {
    match command {
        BundleCommand::Upload { file, project, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            bring(&client, Half::Project, &file, project.as_deref()).await?.tell(output.json)
        }
        BundleCommand::List { project, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let bundles = list::bundles(&client, &project).await?;
            if output.json {
                return bundles.iter().try_for_each(say_json);
            }
            list::table(["BUNDLE", "UPLOADED", "BY", "SIZE"], bundles.iter().map(|bundle| row(bundle, "id")))
        }
    }
}

pub(super) async fn versions(command: ServiceVersionCommand) -> Result<(), Failure> {
    match command {
        ServiceVersionCommand::Upload { file, service, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            bring(&client, Half::Service, &file, service.as_deref()).await?.tell(output.json)
        }
        ServiceVersionCommand::List { service, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let versions = list::versions(&client, &service).await?;
            if output.json {
                return versions.iter().try_for_each(say_json);
            }
            list::table(["VERSION", "UPLOADED", "BY", "SIZE"], versions.iter().map(|version| row(version, "version")))
        }
    }
}

fn row(package: &Value, id: &str) -> [String; 4] {
    let text = |name: &str| plain(package[name].as_str().unwrap_or("-"));
    [text(id), text("uploadedAt"), text("uploadedBy"), format!("{} bytes", package["size"])]
}

/// A package that is there now.
pub(super) struct Uploaded {
    half: Half,
    /// The published project or service.
    pub(super) parent: String,
    /// The bundle or version.
    pub(super) id: String,
    sha256: String,
    /// It was there before.
    there: bool,
    warnings: Vec<String>,
}

impl Uploaded {
    pub(super) fn tell(&self, json: bool) -> Result<(), Failure> {
        let Self { half, parent, id, sha256, there, warnings } = self;
        let (word, of) = (half.package(), half.parent());
        if json {
            let (_, of) = half.uploads();
            return say_json(&json!({
                "type": word, of: parent, half.id(): id, "sha256": sha256, "alreadyThere": there, "warnings": warnings,
            }));
        }
        let what = if *there { "The same content is there already:" } else { "Uploaded" };
        say(plain(&format!("{what} {word} {id} of {of} {parent}.")))?;
        warnings.iter().try_for_each(|warning| say(format!("  {}", plain(warning))))
    }
}

/// Sees to it that a package's content is there.
pub(super) async fn bring(client: &Client, half: Half, file: &Path, parent: Option<&str>) -> Result<Uploaded, Failure> {
    let sha256 = digest(file).await?;
    let named = named(half, file).await.map(|(own, id)| (parent.map_or(own, str::to_owned), id));
    let mut pauses = Pauses::default();
    for attempt in 1.. {
        if let Some((parent, id)) = &named
            && let Some(found) = look(client, half, parent, id).await?
        {
            if found == sha256 {
                let (parent, id) = (parent.clone(), id.clone());
                return Ok(Uploaded { half, parent, id, sha256, there: true, warnings: Vec::new() });
            }
            let (of, word) = (half.parent(), half.package());
            let message = format!(
                "There is a {word} {id} of {of} {parent} with another content. A {word} never changes: make a new one with another id."
            );
            return Err(Failure::refused("BUNDLE_EXISTS", message).about(Some(half.id())));
        }
        let progress = Progress::of(file).await?;
        match client.upload_file(half, file, parent, progress.counter()).await {
            Ok(stored) => {
                let text = |name: &str| stored[name].as_str().unwrap_or_default().to_owned();
                let warnings = stored["warnings"].as_array().into_iter().flatten();
                return Ok(Uploaded {
                    half,
                    parent: text(half.uploads().1),
                    id: text(half.id()),
                    sha256: text("sha256"),
                    there: false,
                    warnings: warnings.filter_map(|warning| Some(warning.as_str()?.to_owned())).collect(),
                });
            }
            // Somebody else's upload, or ours whose answer was lost: the next look tells.
            Err(failure) if failure.code() == "BUNDLE_EXISTS" && named.is_some() && attempt < UPLOADS => {}
            Err(failure) if failure.is_lost() && named.is_some() && attempt < UPLOADS => {
                drop(progress);
                crate::tell(plain(&format!("the upload broke off ({failure}); it is sent again")));
                pauses.rest().await;
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::new("SERVER_UNREACHABLE", "the upload broke off again and again"))
}

/// What an archive says of itself: its project or service, and its own id. What can't be read here is the API's to judge: it may know more kinds.
async fn named(half: Half, file: &Path) -> Option<(String, String)> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("bundle.zip");
    match half {
        Half::Project => {
            let contents = archive::read_bundle(file, name, Limits::default()).await.ok()?;
            Some((contents.project_key, contents.bundle_id))
        }
        Half::Service => {
            let contents = archive::read_service(file, Limits::default()).await.ok()?;
            Some((contents.service_id, contents.generation))
        }
    }
}

/// The SHA-256 of a package that is there.
async fn look(client: &Client, half: Half, parent: &str, id: &str) -> Result<Option<String>, Failure> {
    let document = match half {
        Half::Project => "query($of: String!, $id: ID!) { bundle(projectKey: $of, id: $id) { sha256 } }",
        Half::Service => "query($of: ID!, $id: ID!) { serviceVersion(serviceId: $of, version: $id) { sha256 } }",
    };
    let found = client.ask(document, json!({ "of": parent, "id": id })).await?;
    Ok(found["sha256"].as_str().map(str::to_owned))
}

async fn digest(file: &Path) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| Failure::refused("IO_FAILED", format!("{}: {error}", file.display()));
    let mut open = tokio::fs::File::open(file).await.map_err(unreadable)?;
    if !open.metadata().await.map_err(unreadable)?.is_file() {
        return Err(Failure::refused("IO_FAILED", format!("{} is no file.", file.display())));
    }
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match open.read(&mut piece).await.map_err(unreadable)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&piece[..read]),
        }
    }
}

/// How far an upload is; seen on a terminal alone.
struct Progress(Option<ProgressBar>);

impl Progress {
    async fn of(file: &Path) -> Result<Self, Failure> {
        if !stderr().is_terminal() {
            return Ok(Self(None));
        }
        let length = tokio::fs::metadata(file).await?.len();
        let style = ProgressStyle::with_template("  upload [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(length).with_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(200));
        Ok(Self(Some(bar)))
    }

    fn counter(&self) -> impl Fn(u64) + Send + 'static {
        let bar = self.0.clone();
        move |bytes| {
            if let Some(bar) = &bar {
                bar.inc(bytes);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
