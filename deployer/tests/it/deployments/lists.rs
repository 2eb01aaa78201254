//! What lists show of updates, and lists inside of lists: the same as one by one, on both databases.

use deployer::{
    bundles,
    deployments::{self, Parent},
    paging::Page,
    updates::{self, Brief, Filter, Frozen},
};
use engine::ids::RunId;

use crate::deployments::support::world;

#[tokio::test]
async fn briefs_say_what_updates_say() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    world.deployment("e", "OTHER").await;
    let stranger = world.account("stranger").await;
    for id in ["d", "e", "d", "d"] {
        updates::start(deployer, root, id, None).await.unwrap();
    }
    let page = Page::new(Some(2), None).unwrap();
    let whole = updates::list(deployer, root, &Filter::default(), &page).await.unwrap();
    let brief = updates::briefs(deployer, root, &Filter::default(), &page).await.unwrap();
    let expected: Vec<_> = whole.items.iter().map(|(cursor, one)| (cursor.clone(), Brief::from(one))).collect();
    assert_eq!((brief.items, brief.has_next), (expected, true));
    let both = ["d".to_owned(), "e".to_owned(), "nul\0".to_owned()];
    let latest = updates::latest_briefs(deployer, root, &both).await.unwrap();
    assert_eq!((latest["d"].number, latest["e"].number, latest.len()), (3, 1, 2));
    let each = updates::of_deployments(deployer, root, &both, &page).await.unwrap();
    let numbers = |id: &str| each[id].items.iter().map(|(_, one)| one.number).collect::<Vec<_>>();
    assert_eq!((numbers("d"), numbers("e")), (vec![3, 2], vec![1]));
    assert!(each["d"].has_next && !each["e"].has_next);
    let next = Page::new(Some(2), Some(&each["d"].items[1].0)).unwrap();
    let each = updates::of_deployments(deployer, root, &both, &next).await.unwrap();
    assert_eq!(each["d"].items.iter().map(|(_, one)| one.number).collect::<Vec<_>>(), [1]);
    let ids: Vec<RunId> = whole.items.iter().map(|(_, one)| one.id).collect();
    let frozen = updates::frozen(deployer, root, &ids).await.unwrap();
    assert_eq!(frozen[&ids[0]], Frozen::from(&whole.items[0].1));
    let newest = updates::tail::newest(deployer, &[ids[0], RunId(1)]).await.unwrap();
    assert_eq!((newest.len(), newest[0].1.seq, newest[0].1.log_seq, newest[0].1.ended), (1, 1, 0, false));
    assert_eq!(updates::tail::standings(deployer, Some(&ids[..1])).await.unwrap().len(), 1);
    let standings = updates::tail::standings(deployer, None).await.unwrap();
    assert_eq!(standings.iter().filter(|(_, standing)| standing.newest.is_some()).count(), 2);
    // Nobody else's.
    assert!(updates::briefs(deployer, &stranger, &Filter::default(), &page).await.unwrap().items.is_empty());
    assert!(updates::latest_briefs(deployer, &stranger, &both).await.unwrap().is_empty());
    assert!(updates::of_deployments(deployer, &stranger, &both, &page).await.unwrap().is_empty());
    assert!(updates::frozen(deployer, &stranger, &ids).await.unwrap().is_empty());
}

#[tokio::test]
async fn each_parent_has_its_own() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    world.deployment("e", "OTHER").await;
    let stranger = world.account("stranger").await;
    let page = Page::new(Some(1), None).unwrap();
    for (kind, parent) in [(Parent::Infrastructure, "PROD"), (Parent::Project, "CHURN")] {
        let parents = [parent.to_owned(), "NONE".to_owned()];
        let each = deployments::of_parents(deployer, root, kind, &parents, &page).await.unwrap();
        assert_eq!((each.len(), each[parent].items[0].1.id.as_str(), each[parent].has_next), (1, "d", true));
        let next = Page::new(Some(1), Some(&each[parent].items[0].0)).unwrap();
        let each = deployments::of_parents(deployer, root, kind, &parents, &next).await.unwrap();
        assert_eq!((each[parent].items[0].1.id.as_str(), each[parent].has_next), ("e", false));
        assert!(deployments::of_parents(deployer, &stranger, kind, &parents, &page).await.unwrap().is_empty());
    }
    let projects = ["CHURN".to_owned()];
    let all = bundles::list(deployer, root, "CHURN", &page).await.unwrap().unwrap();
    let each = bundles::of_projects(deployer, root, &projects, &page).await.unwrap();
    assert_eq!(each["CHURN"].items, all.items);
    assert!(bundles::of_projects(deployer, &stranger, &projects, &page).await.unwrap().is_empty());
    let keys: Vec<_> = all.items.into_iter().map(|(_, bundle)| bundle.key).collect();
    assert_eq!(bundles::by_ids(deployer, root, &keys).await.unwrap().len(), 1);
    assert_eq!(bundles::manifests_of(deployer, root, &keys).await.unwrap().len(), 1);
    assert!(bundles::contents_of(deployer, &stranger, &keys).await.unwrap().is_empty());
}
