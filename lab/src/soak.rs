//! `slipway soak`: the real thing, under traffic, while it is killed one part after another. At the end: were the promises kept?
//!
//! * `settings`: what is wanted. `stage`: the servers, proxies and processes. `scene`: infrastructures, hooks, bundles, deployments.
//! * `traffic`: who goes on requesting, whatever happens. `watch`: what hooks say, and when their last process is gone.
//! * `faults`: what can be done to the stage, one function each; `late_call`: one of them. `schedule`: which of it when, drawn from a seed. `disk`: a full one.
//! * `seen`: everything that was left behind, read without any API. `calls`: what was asked of the node. `progress`: how long a killed
//!   worker's runs stood still; which writes came too late. `ends`: whether the node is as the last run says. `records`: the history.
//! * `report`: the table.

mod calls;
mod dice;
mod disk;
mod ends;
mod faults;
mod late_call;
mod progress;
mod records;
mod report;
mod scene;
mod schedule;
mod seen;
mod settings;
mod stage;
mod traffic;
mod watch;

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use engine::clock::now_micros;

pub use report::{Report, Spread};
pub use settings::{Plan, Settings, Size, Times};

use crate::{
    checker::{self, Violation},
    failure::LabError,
    history,
};

/// Where lines of progress go.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// The most that the clocks of one machine's processes, and the moments at which we hear of things, differ: hooks date their beginnings themselves, their
/// ends are dated by us.
pub const SLACK_US: i64 = 100_000;

/// How long all runs may take to end, once nothing disturbs them.
const CALM: Duration = Duration::from_secs(150);

/// Runs the soak from its start to its verdict.
///
/// # Errors
/// When a part of it can't be made, or can't be judged. A promise that was broken is no error: it stands in the report.
pub async fn run(settings: &Settings, tell: Tell) -> Result<Report, LabError> {
    let kept = match &settings.history {
        // Before all the work: a file that can't be made is known at once.
        Some(path) => {
            let unwritable = |source| LabError::History { path: path.clone(), source };
            Some((path, File::create(path).map_err(unwritable)?))
        }
        None => None,
    };
    tell(&settings.told());
    let watch = watch::Watch::start().await?;
    let mut stage = stage::Stage::build(settings, &tell).await?;
    let scene = scene::Scene::furnish(&stage, &watch, settings).await?;
    let began = now_micros();
    let traffic = traffic::Traffic::start(&stage, &scene, settings)?;
    let gathering = calls::Gathering::start(&stage.node);
    tell("Everything is up; updates are being requested.");
    let mut log = faults::Log::new(Arc::clone(&tell));
    let played = schedule::play(settings, &mut stage, &traffic, &mut log).await;
    let calmed = stage.calm(&mut log).await;
    played?;
    calmed?;
    let book = traffic.stop().await;
    tell("All faults are off. Waiting until every update has ended.");
    let db = stage.db().await?;
    let open = seen::until_over(&db, &book, CALM).await?;
    let last = traffic::last_round(&stage, &scene, &book, CALM).await;
    // Holders of what has just ended are forgotten by the next turn.
    let pool = ends::pool(&stage).await?;
    let closed = now_micros();
    let calls = gathering.finish().await;
    let seen = seen::Seen::read(&db).await?;
    let hooks = watch.acts();
    let records = records::of(&seen, &book, &hooks, &calls, began, closed);
    if let Some((path, file)) = kept {
        let mut file = BufWriter::new(file);
        history::write(&mut file, &records)?;
        file.flush()?;
        tell(&format!("The history is in {}.", path.display()));
    }
    let violations = checker::check(&records, SLACK_US);
    let differences = ends::differences(&stage, &scene, &seen);
    let report = report::Report::draw(report::Drawn {
        settings,
        book: &book,
        last,
        open,
        seen: &seen,
        hooks: &hooks,
        calls: &calls,
        log: &log,
        pool,
        violations,
        differences,
    });
    if !report.is_good() {
        tell(&format!("The processes' logs stay in {}.", stage.keep().display()));
    }
    Ok(report)
}

/// Checks a history that was written before.
///
/// # Errors
/// When it can't be read.
pub fn check(path: &Path) -> Result<(usize, Vec<Violation>), LabError> {
    let unreadable = |source| LabError::History { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let records = history::read(BufReader::new(file)).map_err(unreadable)?;
    if !history::is_whole(&records) {
        return Err(unreadable(io::Error::other("a part of it is missing: nothing can be said of the whole")));
    }
    Ok((records.len(), checker::check(&records, SLACK_US)))
}
