//! What callers see of a switch: every query is answered. What is put back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use sandbox::{Fault, FaultKind};
use serde_json::json;
use targets::target::ServiceQuery;

use super::world::{SERVICE, World, world};
use crate::support::Step;

#[tokio::test]
async fn no_query_is_lost_while_versions_switch() {
    let mut world = world().await;
    world.update().await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (target, spec, stop, asked) =
                (world.target(), world.spec.clone(), Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                let contents = Default::default();
                let secrets = crate::support::OneKey(crate::support::KEY);
                let look = targets::target::Look {
                    spec: &spec,
                    contents: &contents,
                    secrets: &secrets,
                    imports: &crate::support::Ledger::default(),
                };
                let endpoint = spec.service.as_ref().unwrap().versions[0].endpoints[0].clone();
                let query = ServiceQuery {
                    headers: Vec::new(),
                    endpoint,
                    body: json!({"features": {"amount": 1}}),
                    timeout: std::time::Duration::from_secs(10),
                };
                let mut seen = std::collections::BTreeSet::new();
                while !stop.load(Ordering::SeqCst) {
                    let answer = target.services().unwrap().query(look, &query).await.unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    seen.insert(answer.body["apiContext"]["serviceGeneration"].as_str().unwrap().to_owned());
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                seen
            })
        })
        .collect();
    for versions in [&[("v2", 1.0)][..], &[("v2", 0.5), ("v3", 0.5)], &[("v4", 1.0)], &[("v1", 0.1), ("v4", 0.9)]] {
        world.new_run();
        world.take(versions).await;
        let before = asked.load(Ordering::SeqCst);
        world.update().await;
        // Queries go on in between: the switch was under load.
        while asked.load(Ordering::SeqCst) < before + 40 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut seen = std::collections::BTreeSet::new();
    for caller in callers {
        seen.extend(caller.await.unwrap());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["v1", "v2", "v3", "v4"]);
}

/// `v1` and `v2` answer with their shares; `v3` is activated and fails later.
async fn half_done() -> World {
    let mut world = world().await;
    world.take(&[("v1", 0.25), ("v2", 0.75)]).await;
    world.update().await;
    world.new_run();
    world.take(&[("v3", 1.0)]).await;
    world.until(Step::Activate).await.unwrap();
    assert_eq!(world.mapping(), [("v3".to_owned(), 1.0)].into());
    world
}

#[tokio::test]
async fn what_answered_before_answers_again() {
    let world = half_done().await;
    for _ in 0..2 {
        let (receipt, warnings) = world.step(Step::Restore).await.unwrap();
        assert_eq!(warnings, [""; 0]);
        assert_eq!(receipt["service"]["enabled"], true);
        assert_eq!(world.mapping(), [("v1".to_owned(), 0.25), ("v2".to_owned(), 0.75)].into());
    }
    assert_eq!(world.effects("POST", "/setMapping"), 2, "once by the update before, once by the restore");
}

#[tokio::test]
async fn a_restore_whose_answer_is_lost_looks_first() {
    for kind in [FaultKind::LostAnswer, FaultKind::CutAnswer, FaultKind::Reset] {
        let world = half_done().await;
        world.node.arm(Fault::on("POST", "/admin/api/services/*/actions/setMapping", kind)).unwrap();
        world.step(Step::Restore).await.unwrap();
        assert_eq!(world.mapping().len(), 2);
        assert_eq!(world.effects("POST", "/setMapping"), 2);
    }
}

#[tokio::test]
async fn a_restore_that_can_do_nothing_says_so() {
    // Nothing answered before.
    let world = world().await;
    world.until(Step::Activate).await.unwrap();
    let (receipt, warnings) = world.step(Step::Restore).await.unwrap();
    assert!(receipt.is_null() && warnings.len() == 1 && warnings[0].contains("stands"), "{warnings:?}");
    assert_eq!(world.mapping().len(), 1);
    // It was disabled before.
    let mut world = half_done().await;
    world.step(Step::SwitchOff).await.unwrap();
    world.new_run();
    world.until(Step::Activate).await.unwrap();
    world.step(Step::Restore).await.unwrap();
    assert_eq!(world.on_node()[SERVICE]["enabled"], false);
    // What answered before is gone: a human must look.
    let mut world = half_done().await;
    world.settings().insert("cleanUnusedGenerations".into(), true.into());
    world.run.notes.lock().unwrap().remove("cleaned");
    world.step(Step::Push).await.unwrap();
    let (failure, retryable) = world.failure(Step::Restore).await;
    assert_eq!((failure.code.as_str(), retryable, failure.outcome_unknown), ("GENERATION_MISSING", false, true));
}

#[tokio::test]
async fn a_generation_that_was_cleaned_up_before_the_switch_is_brought_again() {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    world.take(&[("v2", 1.0)]).await;
    world.until(Step::Push).await.unwrap();
    // Somebody cleans up the node.
    world.settings().insert("cleanUnusedGenerations".into(), true.into());
    world.run.notes.lock().unwrap().remove("cleaned");
    let pushed = world.attempt(Step::Push).await;
    assert!(pushed.is_ok());
    world.settings().insert("cleanUnusedGenerations".into(), false.into());
    world.step(Step::Activate).await.unwrap();
    let on_node = world.on_node();
    let generations = on_node[SERVICE]["generations"].as_array().unwrap();
    assert_eq!(generations.len(), 2);
    assert!(generations.iter().all(|one| one["preloaded"] == true), "{generations:?}");
    assert_eq!(world.mapping(), [("v2".to_owned(), 1.0)].into());
}
