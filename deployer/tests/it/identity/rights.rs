//! The tables of rights, in the database; hidden answers like absent, byte for byte.

use deployer::{
    infrastructures::{self, Filter, InfrastructurePatch},
    paging::Page,
    rights::{self, Access, Level, ProjectRights, Right},
};
use entities::{deployment, infrastructure, published_project};
use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryFilter as _};

use crate::identity::support::{house, refused, viewer};

const LEVELS: [Level; 4] = [Level::None, Level::View, Level::Deploy, Level::Admin];

#[tokio::test]
async fn each_level_does_what_it_says_and_no_more() {
    let house = house().await;
    let bob = viewer("bob", &["dev"]);
    let db = house.deployer.db.pool();
    for level in LEVELS {
        let id = format!("infra-{level:?}");
        house.infrastructure(&id, level).await;
        assert_eq!(rights::infrastructure_level(db, &bob, &id).await.unwrap(), level);
        for wanted in LEVELS {
            let answer = rights::require_infrastructure(db, &bob, &id, wanted, "id").await;
            match (level, wanted) {
                (Level::None, _) => assert_eq!(refused(answer), "NOT_FOUND"),
                _ if level >= wanted => assert_eq!(answer.unwrap().id, id),
                _ => assert_eq!(refused(answer), "FORBIDDEN"),
            }
            let listed = infrastructure::Entity::find()
                .filter(rights::infrastructures_where(&bob, infrastructure::Column::Id, wanted))
                .count(db)
                .await
                .unwrap();
            let expected =
                LEVELS.iter().take_while(|l| **l <= level).filter(|l| **l >= wanted.max(Level::View)).count();
            assert_eq!(listed, expected as u64, "{level:?} {wanted:?}");
        }
        assert_eq!(rights::infrastructure_level(db, &house.admin, &id).await.unwrap(), Level::Admin);
    }
    // The best of several groups counts; a stranger has none.
    let both = viewer("ann", &["dev", "ops"]);
    assert_eq!(rights::infrastructure_level(db, &both, "infra-View").await.unwrap(), Level::Admin);
    let nobody = viewer("nobody", &[]);
    assert_eq!(rights::infrastructure_level(db, &nobody, "infra-Admin").await.unwrap(), Level::None);
}

#[tokio::test]
async fn hidden_answers_like_absent() {
    let house = house().await;
    let bob = viewer("bob", &["dev"]);
    house.infrastructure("secret", Level::None).await;
    let deployer = &house.deployer;
    let page = Page::new(None, None).unwrap();
    for id in ["secret", "never-was", "\0"] {
        let told = [
            format!("{:?}", infrastructures::get(deployer, &bob, id).await),
            format!("{:?}", infrastructures::update(deployer, &bob, id, 1, InfrastructurePatch::default()).await),
            format!("{:?}", infrastructures::set_permissions(deployer, &bob, id, 99, &[]).await),
            format!("{:?}", infrastructures::delete(deployer, &bob, id).await),
            format!("{:?}", infrastructures::check(deployer, &bob, id).await),
            format!("{:?}", infrastructures::permissions_by_ids(deployer, &bob, &[id.to_owned()]).await),
            format!("{:?}", infrastructures::list(deployer, &bob, &Filter::default(), &page).await),
            format!("{:?}", infrastructures::count(deployer, &bob, &Filter::default()).await),
            format!("{:?}", deployer::hooks::counts(deployer, &bob, &[id.to_owned()]).await),
            format!("{:?}", deployer::hooks::by_infrastructures(deployer, &bob, &[id.to_owned()]).await),
        ];
        let none = r#"Err(Refused([Refusal { code: "NOT_FOUND", field: Some("id"), message: "There is nothing with this id that you may see. Check the id and your rights." }]))"#;
        let empty = "Ok(Listing { items: [], has_next: false })";
        assert_eq!(told, ["Ok(None)", none, none, none, none, "Ok({})", empty, "Ok(0)", "Ok({})", "Ok({})"], "{id:?}");
    }
}

#[tokio::test]
async fn projects_and_deployments() {
    let house = house().await;
    let db = house.deployer.db.pool();
    let bob = viewer("bob", &["dev"]);
    let all = [ProjectRights::NONE, with(0), with(1), with(2), with(3)];
    for (n, rights) in all.iter().enumerate() {
        house.sql(&format!("INSERT INTO published_project (key, name, owner, version, created_at, created_by) VALUES ('P{n}', 'P', 'ann', 1, 0, 'ann')")).await;
        let flags =
            [rights.read, rights.write, rights.deploy, rights.admin].map(|flag| if flag { "TRUE" } else { "FALSE" });
        // The flags alone as they are kept: what they contain, the rights compute.
        let kept =
            if n == 0 { ["FALSE"; 4] } else { std::array::from_fn(|i| if i == n - 1 { "TRUE" } else { "FALSE" }) };
        assert_eq!(kept.contains(&"TRUE"), flags.contains(&"TRUE"));
        house
            .sql(&format!("INSERT INTO published_project_permission (project_key, group_name, can_read, can_write, can_deploy, can_admin) VALUES ('P{n}', 'dev', {})", kept.join(", ")))
            .await;
        let key = format!("P{n}");
        assert_eq!(rights::project_rights_on(db, &bob, &key).await.unwrap(), *rights, "{key}");
        assert_eq!(rights::project_rights_on(db, &viewer("ann", &[]), &key).await.unwrap(), ProjectRights::ALL);
        assert_eq!(rights::project_rights_on(db, &viewer("eve", &[]), &key).await.unwrap(), ProjectRights::NONE);
        for right in [Right::Read, Right::Write, Right::Deploy, Right::Admin] {
            let answer = rights::require_published_project(db, &bob, &key, right, "key").await;
            match rights {
                rights if rights.has(right) => assert_eq!(answer.unwrap().key, key),
                rights if rights.read => assert_eq!(refused(answer), "FORBIDDEN"),
                _ => assert_eq!(refused(answer), "NOT_FOUND"),
            }
        }
    }
    for right in [Right::Read, Right::Write, Right::Deploy, Right::Admin] {
        let listed = published_project::Entity::find()
            .filter(rights::projects_where(&bob, published_project::Column::Key, right))
            .count(db)
            .await
            .unwrap();
        assert_eq!(listed as usize, all.iter().filter(|rights| rights.has(right)).count(), "{right:?}");
    }

    for level in LEVELS {
        house.infrastructure(&format!("I{level:?}"), level).await;
        for n in 0..all.len() {
            house
                .sql(&format!(
                    "INSERT INTO deployment (id, project_key, infrastructure_id, bundle_id, deployed_project_key, settings, version, last_run_no, created_at, created_by, updated_at, updated_by) VALUES ('D{n}{level:?}', 'P{n}', 'I{level:?}', 'v1', 'P{n}', '{{}}', 1, 0, 0, 'ann', 0, 'ann')"
                ))
                .await;
        }
    }
    for access in [Access::See, Access::Change] {
        let mut expected = 0;
        for level in LEVELS {
            for (n, rights) in all.iter().enumerate() {
                let (needs, right) = match access {
                    Access::See => (Level::View, Right::Read),
                    Access::Change => (Level::Deploy, Right::Deploy),
                };
                let seen = level >= Level::View && rights.read;
                let may = level >= needs && rights.has(right);
                expected += u64::from(may);
                let answer = rights::require_deployment(db, &bob, &format!("D{n}{level:?}"), access, "id").await;
                match (seen, may) {
                    (_, true) => assert!(answer.is_ok()),
                    (true, false) => assert_eq!(refused(answer), "FORBIDDEN"),
                    (false, false) => {
                        let absent = rights::require_deployment(db, &bob, "none", access, "id").await;
                        assert_eq!(format!("{answer:?}"), format!("{absent:?}"));
                    }
                }
            }
        }
        let listed =
            deployment::Entity::find().filter(rights::deployments_where(&bob, access)).count(db).await.unwrap();
        assert_eq!(listed, expected, "{access:?}");
    }
}

fn with(flag: usize) -> ProjectRights {
    ProjectRights::granted(flag == 0, flag == 1, flag == 2, flag == 3)
}
