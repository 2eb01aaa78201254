//! Each operation, for each level on the infrastructure and each right on the published project. What may not be seen answers like what is not there.

use deployer::{
    audit, bundles,
    deployments::{self, Change, Filter},
    infrastructures,
    paging::Page,
    preview, projects, updates,
    viewer::Viewer,
};
use engine::ids::RunId;

use crate::deployments::support::{LEVELS, RIGHTS, World, bundle, code, key, new_deployment, world};

fn rank(of: &[&str], name: &str) -> usize {
    of.iter().position(|other| *other == name).unwrap()
}

/// What a deployment's operations answer, by both rights.
struct Expected {
    sees: bool,
    changes: bool,
}

fn expected(level: &str, right: &str) -> Expected {
    let levels: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
    let level = rank(&levels, level);
    Expected { sees: level >= 1 && right != "none", changes: level >= 2 && matches!(right, "deploy" | "admin") }
}

impl Expected {
    fn change(&self, allowed: &'static str) -> &'static str {
        match (self.sees, self.changes) {
            (false, _) => "NOT_FOUND",
            (true, false) => "FORBIDDEN",
            (true, true) => allowed,
        }
    }
}

#[tokio::test]
async fn deployments_and_updates() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let first = updates::start(&world.deployer, &world.root, "d", None).await.unwrap().update.id;
    updates::cancel(&world.deployer, &world.root, first).await.unwrap();
    for (level, _) in LEVELS {
        for right in RIGHTS {
            let viewer = world.somebody(level, right).await;
            let case = format!("{level} and {right}");
            reads(&world, &viewer, first, &expected(level, right), &case).await;
            writes(&world, &viewer, first, &expected(level, right), &case).await;
        }
    }
}

async fn reads(world: &World, viewer: &Viewer, run: RunId, expected: &Expected, case: &str) {
    let deployer = &world.deployer;
    let page = Page::new(None, None).unwrap();
    let sees = expected.sees;
    assert_eq!(deployments::get(deployer, viewer, "d").await.unwrap().is_some(), sees, "{case}");
    assert_eq!(
        deployments::list(deployer, viewer, &Filter::default(), &page).await.unwrap().items.len(),
        usize::from(sees),
        "{case}"
    );
    assert_eq!(updates::get(deployer, viewer, run).await.unwrap().is_some(), sees, "{case}");
    assert_eq!(updates::events(deployer, viewer, run, 0, 10).await.unwrap().is_some(), sees, "{case}");
    assert_eq!(updates::log(deployer, viewer, run, 0, 10).await.unwrap().is_some(), sees, "{case}");
    let listed = updates::list(deployer, viewer, &updates::Filter::default(), &page).await.unwrap();
    assert_eq!(!listed.items.is_empty(), sees, "{case}");
    let latest = updates::latest_of(deployer, viewer, &["d".to_owned()]).await.unwrap();
    assert_eq!(latest.contains_key("d"), sees, "{case}");
}

async fn writes(world: &World, viewer: &Viewer, run: RunId, expected: &Expected, case: &str) {
    let deployer = &world.deployer;
    // Each of these is refused for another reason where the right is there: so nothing changes for the next one.
    let stale = Change { expected_version: 99, ..Change::default() };
    assert_eq!(
        code(&deployments::update_settings(deployer, viewer, "d", stale).await),
        expected.change("VERSION_CONFLICT"),
        "{case}"
    );
    assert_eq!(code(&updates::cancel(deployer, viewer, run).await), expected.change("UPDATE_ENDED"), "{case}");
    assert_eq!(code(&updates::abandon(deployer, viewer, run).await), expected.change("UPDATE_NOT_STUCK"), "{case}");
    // Both sides are asked, each for itself: neither answer tells of the other.
    let made = deployments::create(deployer, viewer, new_deployment("d", "X")).await;
    assert_eq!(code(&made) == "ID_NOT_AVAILABLE", expected.changes, "{case}");
    assert!(expected.changes || matches!(code(&made), "NOT_FOUND" | "FORBIDDEN"), "{case}");
    assert_eq!(code(&preview::preview_update(deployer, viewer, "d").await), expected.change("OK"), "{case}");
    let started = updates::start(deployer, viewer, "d", None).await;
    assert_eq!(code(&started), expected.change("OK"), "{case}");
    assert_eq!(code(&updates::retry(deployer, viewer, run, None).await), expected.change("RETRY_SUPERSEDED"), "{case}");
    if let Ok(started) = started {
        assert_eq!(code(&deployments::delete(deployer, viewer, "d").await), "UPDATE_RUNNING", "{case}");
        updates::cancel(deployer, viewer, started.update.id).await.unwrap();
    } else {
        assert_eq!(code(&deployments::delete(deployer, viewer, "d").await), expected.change("OK"), "{case}");
    }
}

#[tokio::test]
async fn projects_and_bundles() {
    let world = world().await;
    let deployer = &world.deployer;
    world.deployment("d", "CHURN").await;
    let page = Page::new(None, None).unwrap();
    let v1 = key("CHURN", "v1");
    for right in RIGHTS {
        let viewer = world.somebody("admin", right).await;
        let needs = |enough: &[&str], allowed: &'static str, hidden: &'static str| match right {
            "none" => hidden,
            right if enough.contains(&right) => allowed,
            _ => "FORBIDDEN",
        };
        let sees = right != "none";
        assert_eq!(projects::get(deployer, &viewer, "CHURN").await.unwrap().is_some(), sees, "{right}");
        assert_eq!(
            projects::list(deployer, &viewer, None, &page).await.unwrap().items.len(),
            usize::from(sees),
            "{right}"
        );
        assert_eq!(bundles::get(deployer, &viewer, &v1).await.unwrap().is_some(), sees, "{right}");
        assert_eq!(bundles::list(deployer, &viewer, "CHURN", &page).await.unwrap().is_some(), sees, "{right}");
        assert_eq!(
            code(&bundles::open(deployer, &viewer, &v1).await),
            if sees { "OK" } else { "NOT_FOUND" },
            "{right}"
        );
        let shown = projects::get(deployer, &viewer, "CHURN").await.unwrap().and_then(|project| project.permissions);
        assert_eq!(shown.is_some(), right == "admin", "{right}");
        let stale = projects::Change { expected_version: 99, ..Default::default() };
        let updated = projects::update(deployer, &viewer, "CHURN", stale).await;
        assert_eq!(code(&updated), needs(&["admin"], "VERSION_CONFLICT", "NOT_FOUND"), "{right}");
        assert_eq!(
            code(&projects::delete(deployer, &viewer, "CHURN").await),
            needs(&["admin"], "IN_USE", "NOT_FOUND"),
            "{right}"
        );
        assert_eq!(
            code(&bundles::delete(deployer, &viewer, &v1).await),
            needs(&["write", "admin"], "IN_USE", "NOT_FOUND"),
            "{right}"
        );
        let again = world.upload(&viewer, Some("CHURN"), &bundle("CHURN", "v1")).await;
        assert_eq!(code(&again), needs(&["write", "admin"], "BUNDLE_EXISTS", "ID_NOT_AVAILABLE"), "{right}");
        let unnamed = world.upload(&viewer, None, &bundle("CHURN", "v1")).await;
        assert_eq!(code(&unnamed), needs(&["write", "admin"], "BUNDLE_EXISTS", "ID_NOT_AVAILABLE"), "{right}");
        // A project of one's own is open to everybody, whichever way it is made.
        let mine = projects::create(deployer, &viewer, &format!("NEW-{right}"), None).await.unwrap();
        assert!(mine.owner == viewer.login && mine.rights.admin);
    }
}

#[tokio::test]
async fn hidden_and_absent_are_the_same() {
    let world = world().await;
    let deployer = &world.deployer;
    world.deployment("d", "CHURN").await;
    let run = updates::start(deployer, &world.root, "d", None).await.unwrap().update.id;
    let nobody = world.somebody("none", "none").await;
    let (absent, gone) = ("absent", RunId(7));
    let text = |error: deployer::error::Error| format!("{error:?}");
    macro_rules! same {
        ($hidden:expr, $absent:expr) => {
            assert_eq!(text($hidden.await.unwrap_err()), text($absent.await.unwrap_err()))
        };
    }
    same!(updates::start(deployer, &nobody, "d", None), updates::start(deployer, &nobody, absent, None));
    same!(updates::cancel(deployer, &nobody, run), updates::cancel(deployer, &nobody, gone));
    same!(updates::retry(deployer, &nobody, run, None), updates::retry(deployer, &nobody, gone, None));
    same!(updates::abandon(deployer, &nobody, run), updates::abandon(deployer, &nobody, gone));
    same!(deployments::delete(deployer, &nobody, "d"), deployments::delete(deployer, &nobody, absent));
    same!(preview::preview_update(deployer, &nobody, "d"), preview::preview_update(deployer, &nobody, absent));
    same!(projects::delete(deployer, &nobody, "CHURN"), projects::delete(deployer, &nobody, absent));
    let nul = "d\0";
    assert!(deployments::get(deployer, &world.root, nul).await.unwrap().is_none());
    assert!(projects::get(deployer, &world.root, nul).await.unwrap().is_none());
    assert!(bundles::get(deployer, &world.root, &key("CHURN", nul)).await.unwrap().is_none());
}

#[tokio::test]
async fn the_audit_of_a_refusal_does_not_tell_of_a_hidden_deployment() {
    let mut told = Vec::new();
    for id in ["taken", "deployment"] {
        let world = world().await;
        world.infrastructure("ELSEWHERE", "http://127.0.0.1:2").await;
        let there = infrastructures::get(&world.deployer, &world.root, "ELSEWHERE").await.unwrap().unwrap();
        infrastructures::set_permissions(&world.deployer, &world.root, "ELSEWHERE", there.version, &[]).await.unwrap();
        let mut other = new_deployment("taken", "CHURN");
        other.infrastructure_id = "ELSEWHERE".to_owned();
        deployments::create(&world.deployer, &world.root, other).await.unwrap();
        let alice = world.somebody("admin", "deploy").await;
        // Refused for the one or the other reason.
        let mut new = new_deployment(id, "CHURN");
        if id != "taken" {
            new.bundle_id = "v9".to_owned();
        }
        assert!(deployments::create(&world.deployer, &alice, new).await.is_err());
        let page = Page::new(None, None).unwrap();
        let filter = audit::list::Filter { login: Some(alice.login.clone()), ..Default::default() };
        let events = audit::list::list(&world.deployer, &alice, &filter, &page).await.unwrap();
        let event = &events.items[0].1;
        told.push((events.items.len(), event.infrastructure_id.clone(), event.project_key.clone()));
    }
    assert_eq!(told[0], (1, Some("PROD".to_owned()), Some("CHURN".to_owned())));
    assert_eq!(told[0], told[1]);
}
