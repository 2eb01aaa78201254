//! What must hold, whatever happened.

use std::collections::BTreeMap;

use engine::{
    ids::{RunId, WorkerId},
    journal::{Event, Kind, Status},
};
use serde_json::Value;
use tests::{Size, history::tell};
use tokio::sync::OnceCell;

use super::scene::{STEPS, Scene, holders, soon};

/// How an update ends that nobody disturbs.
#[derive(Debug)]
pub(super) struct Reference {
    snapshot: Value,
}

impl Reference {
    /// Made once.
    pub(super) async fn get() -> &'static Self {
        static MADE: OnceCell<Reference> = OnceCell::const_new();
        MADE.get_or_init(Self::make).await
    }

    async fn make() -> Self {
        let mut scene = Scene::new(soon(Size::Fleet), None).await;
        let run = scene.request(None).await;
        scene.pre.let_go();
        scene.post.let_go();
        scene.start_workers(1).await;
        let journal = scene.ends(run, Status::Succeeded).await;
        let reference = Self { snapshot: scene.node.snapshot() };
        assert_eq!(holders(&journal).len(), 1, "nobody disturbed it: {}", tell(&journal));
        node(&scene, &reference, None, true);
        hooks(&scene, run, &journal);
        reference
    }
}

/// Each step is recorded once, whoever did it, and whoever lost the run wrote nothing after that. `lapsed`: the first one vanished, else it gave
/// the run back.
pub(super) fn journal(journal: &[Event], ends: Status, lost: i64, lapsed: bool) {
    let told = tell(journal);
    assert!(journal.is_sorted_by_key(|event| event.epoch), "epochs only grow:\n{told}");
    let workers = holders(journal);
    assert_eq!(workers.first(), Some(&WorkerId(lost)), "{told}");
    assert!(workers.len() >= 2 && !workers[1..].contains(&WorkerId(lost)), "an ended worker never comes back:\n{told}");
    let takeover = journal.iter().find(|event| event.epoch == 2).map(|event| &event.kind);
    assert!(matches!(takeover, Some(Kind::Claimed { lapsed: found, .. }) if *found == lapsed), "{told}");
    let count = |step: usize, wanted: fn(&Kind) -> bool| {
        journal.iter().filter(|event| event.step == Some(step) && wanted(&event.kind)).count()
    };
    for (step, name) in STEPS.iter().enumerate() {
        let succeeds = ends == Status::Succeeded || step + 1 < STEPS.len();
        assert_eq!(count(step, |kind| matches!(kind, Kind::StepStarted)), 1, "{name} begins once:\n{told}");
        let ended = count(step, |kind| matches!(kind, Kind::StepSucceeded { .. }));
        assert_eq!(ended, usize::from(succeeds), "{name} is recorded once:\n{told}");
        let failed = count(step, |kind| matches!(kind, Kind::StepFailed { .. }));
        assert_eq!(failed, usize::from(!succeeds), "{name}:\n{told}");
    }
    let Some(Event { kind: Kind::Finished { status, failure }, .. }) = journal.last() else {
        panic!("the end is the last:\n{told}");
    };
    assert_eq!(*status, ends);
    let code = failure.as_ref().map(|failure| failure.code.as_str());
    assert_eq!(code, (ends == Status::Failed).then_some("OUTCOME_UNKNOWN"), "{told}");
}

/// The node is as the deployment says, and was asked for each effect once. `again`: the end of the path of a call that may be made twice.
/// `dead`: nobody else was there who could write a setting that was on its way a second time.
pub(super) fn node(scene: &Scene, reference: &Reference, again: Option<&str>, dead: bool) {
    let (found, wanted) = (scene.node.snapshot(), &reference.snapshot);
    assert_eq!(found, *wanted, "the node ends otherwise:\n{}", scene.fleet.logs());
    let mut asked: BTreeMap<(String, String), Vec<Option<u16>>> = BTreeMap::new();
    for call in scene.effects() {
        asked.entry((call.method, call.path)).or_default().push(call.status);
    }
    for ends in ["/projectsFromBundle", "/activate"] {
        let calls = asked.iter().filter(|((_, path), _)| path.ends_with(ends)).flat_map(|(_, calls)| calls);
        let worked = calls.filter(|status| **status == Some(200)).count();
        assert_eq!(worked, 1, "{ends} works once: {asked:#?}");
    }
    for ((method, path), calls) in &asked {
        let may_twice = again.is_some_and(|again| path.ends_with(again)) || (method == "PUT" && !dead);
        assert!(calls.len() <= 1 + usize::from(may_twice), "{method} {path} was asked for again: {asked:#?}");
    }
}

/// Each beginning of a hook had the run's key for it and a number of its own; nothing of them is left.
pub(super) fn hooks(scene: &Scene, run: RunId, journal: &[Event]) {
    for (step, hook) in [(1, &scene.pre), (7, &scene.post)] {
        let effects = hook.effects();
        let granted = |event: &&Event| event.step == Some(step) && matches!(event.kind, Kind::SlotGranted { .. });
        let began = journal.iter().filter(granted).count();
        assert_eq!(effects.len(), began, "as often as it had a slot:\n{}", tell(journal));
        for (nth, effect) in (1..).zip(effects) {
            assert_eq!((effect.key.as_str(), effect.attempt), (format!("{run}/{}", STEPS[step]).as_str(), nth));
            assert_eq!(effect.processes(), Vec::<String>::new());
        }
    }
}
