//! `slipway bundle`: bundles into a published project, and what is there.

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
    args::BundleCommand,
    ci::hex,
    client::{Client, Pauses},
    commands::{say, say_json},
    failure::Failure,
    login::Login,
    plain::plain,
};

/// How often an upload is sent that breaks off.
const UPLOADS: u32 = 4;

pub(super) async fn run(command: BundleCommand) -> Result<(), Failure> {
    match command {
        BundleCommand::Upload { file, project, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let uploaded = bring(&client, &file, project.as_deref()).await?;
            uploaded.tell(output.json)
        }
        BundleCommand::List { project, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let bundles = list::bundles(&client, &project).await?;
            if output.json {
                return bundles.iter().try_for_each(say_json);
            }
            let row = |bundle: &Value| {
                let text = |name: &str| plain(bundle[name].as_str().unwrap_or("-"));
                [text("id"), text("uploadedAt"), text("uploadedBy"), format!("{} bytes", bundle["size"])]
            };
            list::table(["BUNDLE", "UPLOADED", "BY", "SIZE"], bundles.iter().map(row))
        }
    }
}

/// A bundle that is there now.
pub(super) struct Uploaded {
    pub(super) project: String,
    pub(super) bundle: String,
    sha256: String,
    /// It was there before.
    there: bool,
    warnings: Vec<String>,
}

impl Uploaded {
    pub(super) fn tell(&self, json: bool) -> Result<(), Failure> {
        let Self { project, bundle, sha256, there, warnings } = self;
        if json {
            return say_json(&json!({
                "type": "bundle", "projectKey": project, "bundleId": bundle, "sha256": sha256, "alreadyThere": there, "warnings": warnings,
            }));
        }
        let what = if *there { "The same content is there already:" } else { "Uploaded" };
        say(plain(&format!("{what} bundle {bundle} of project {project}.")))?;
        warnings.iter().try_for_each(|warning| say(format!("  {}", plain(warning))))
    }
}

/// Sees to it that a bundle's content is there.
pub(super) async fn bring(client: &Client, file: &Path, project: Option<&str>) -> Result<Uploaded, Failure> {
    let sha256 = digest(file).await?;
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("bundle.zip");
    // What can't be read here is the API's to judge: it may know more kinds of bundles.
    let named = archive::read_bundle(file, name, Limits::default()).await.ok();
    let named = named.map(|contents| (project.map_or(contents.project_key, str::to_owned), contents.bundle_id));
    let mut pauses = Pauses::default();
    for attempt in 1.. {
        if let Some((project, bundle)) = &named
            && let Some(found) = look(client, project, bundle).await?
        {
            if found == sha256 {
                let (project, bundle) = (project.clone(), bundle.clone());
                return Ok(Uploaded { project, bundle, sha256, there: true, warnings: Vec::new() });
            }
            let message = format!(
                "Project {project} has a bundle {bundle} of another content. Bundles never change: make a new one with another id."
            );
            return Err(Failure::refused("BUNDLE_EXISTS", message).about(Some("bundleId")));
        }
        let progress = Progress::of(file).await?;
        match client.upload_file(file, project, progress.counter()).await {
            Ok(stored) => {
                let text = |name: &str| stored[name].as_str().unwrap_or_default().to_owned();
                let warnings = stored["warnings"].as_array().into_iter().flatten();
                return Ok(Uploaded {
                    project: text("projectKey"),
                    bundle: text("bundleId"),
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

/// The SHA-256 of a bundle that is there.
async fn look(client: &Client, project: &str, bundle: &str) -> Result<Option<String>, Failure> {
    let document = "query($project: String!, $id: ID!) { bundle(projectKey: $project, id: $id) { sha256 } }";
    let found = client.ask(document, json!({ "project": project, "id": bundle })).await?;
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
