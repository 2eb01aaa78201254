//! Pools: the numbers are for everybody, whose they are for those who may see the deployment.

use deployer::{pools, rights::Level};

use crate::identity::support::{House, house, refused, viewer};

/// Two deployments, `open` that `dev` sees and `shut` that it does not; runs 1 and 2 of theirs under worker 9.
async fn walk(house: &House) {
    house.infrastructure("open", Level::View).await;
    house.infrastructure("shut", Level::None).await;
    house.sql("INSERT INTO published_project (key, name, owner, version, created_at, created_by) VALUES ('P', 'P', 'bob', 1, 0, 'bob')").await;
    house
        .sql("INSERT INTO worker (id, name, started_at, lease_until, facts) VALUES (9, 'w', 0, 9000000000000000, '{}')")
        .await;
    for (n, id) in [(1, "open"), (2, "shut"), (3, "third")] {
        let at = if id == "shut" { "shut" } else { "open" };
        house
            .sql(&format!(
                "INSERT INTO deployment (id, project_key, infrastructure_id, bundle_id, deployed_project_key, settings, version, last_run_no, created_at, created_by, updated_at, updated_by) VALUES ('{id}', 'P', '{at}', 'v', 'P{n}', '{{}}', 1, 1, 0, 'x', 0, 'x')"
            ))
            .await;
        house
            .sql(&format!(
                "INSERT INTO run (id, deployment_id, run_no, status, epoch, seq, worker_id, step, attempt, requester, requested_at) \
                 VALUES ({n}, '{id}', 1, 'RUNNING', 4, 1, 9, 1, 1, 'bob', 0)"
            ))
            .await;
    }
}

#[tokio::test]
async fn holders_and_waiters_as_far_as_they_may_be_seen() {
    let house = house().await;
    walk(&house).await;
    house.sql("INSERT INTO pool_holder VALUES (1, 1, 1, 'hooks', 1, 4, 9, 100)").await;
    house.sql("INSERT INTO pool_waiter VALUES (2, 1, 1, 'hooks', 5, 4, 9, 200, 300), (3, 1, 1, 'hooks', 6, 4, 9, 201, 301)").await;
    house.sql("UPDATE pool SET grants = 4, timeouts = 2").await;
    // What belongs to an earlier epoch, or to an ended worker, is no slot in use.
    house.sql("INSERT INTO pool_holder VALUES (2, 0, 1, 'hooks', 2, 3, 9, 100)").await;

    let bob = viewer("bob", &["dev"]);
    let pool = pools::get(&house.deployer, &bob, pools::HOOKS).await.unwrap().unwrap();
    assert_eq!((pool.limit, pool.live_holders, pool.slots_held, pool.waiting), (3, 1, 2, 2));
    assert_eq!((pool.grants, pool.timeouts), (4, 2));
    assert_eq!((pool.holders[0].deployment_id.as_str(), pool.holders[0].granted_at), ("open", 100));
    let [waiter] = &pool.waiters[..] else { panic!("{pool:?}") };
    assert_eq!((waiter.deployment_id.as_str(), waiter.position, waiter.since, waiter.deadline), ("third", 2, 201, 301));

    let nobody = pools::get(&house.deployer, &viewer("eve", &[]), pools::HOOKS).await.unwrap().unwrap();
    assert_eq!((nobody.live_holders, nobody.waiting), (1, 2));
    assert!(nobody.holders.is_empty() && nobody.waiters.is_empty());
    let all = pools::get(&house.deployer, &house.admin, pools::HOOKS).await.unwrap().unwrap();
    assert_eq!((all.holders.len(), all.waiters.len()), (1, 2));

    // Its lease is over, and nobody has ended it yet: as good as ended.
    house.sql("UPDATE worker SET lease_until = 1").await;
    let lapsed = pools::get(&house.deployer, &bob, pools::HOOKS).await.unwrap().unwrap();
    assert_eq!((lapsed.live_holders, lapsed.slots_held), (0, 2));
    house.sql("UPDATE worker SET lease_until = 9000000000000000, ended_at = 1").await;
    let ended = pools::get(&house.deployer, &bob, pools::HOOKS).await.unwrap().unwrap();
    assert_eq!((ended.live_holders, ended.waiting), (0, 0));
    assert!(pools::get(&house.deployer, &bob, "none").await.unwrap().is_none());
}

#[tokio::test]
async fn the_limit() {
    let house = house().await;
    let ops = viewer("ann", &["ops"]);
    let set = async |viewer, name, limit| pools::set_limit(&house.deployer, viewer, name, limit).await;
    assert_eq!(refused(set(&ops, pools::HOOKS, 5).await), "FORBIDDEN");
    for wrong in [0, -1, 1_001] {
        assert_eq!(refused(set(&house.admin, pools::HOOKS, wrong).await), "LIMIT_INVALID");
    }
    assert_eq!(refused(set(&house.admin, "none", 5).await), "NOT_FOUND");
    assert_eq!(set(&house.admin, pools::HOOKS, 1_000).await.unwrap().limit, 1_000);
    assert_eq!(set(&house.admin, pools::HOOKS, 1).await.unwrap().limit, 1);
}
