//! Nodes that register themselves: what a token is good for, what it makes of the node, and what is refused.

use deployer::{
    accounts::users,
    audit::list::{self, Filter},
    enrolment::{self, Bearer, Enrolled},
    error::Result,
    infrastructures::{self, InfrastructurePatch, NodeOffer, NodePatch, Settings, SettingsPatch},
    keys,
    paging::Page,
    rights::Level,
    sealed,
    viewer::Origin,
};
use engine::secrets::{NodeToken, NodeTokenKind, Secret};
use entities::{infrastructure, node_enrolment, secret};
use sea_orm::EntityTrait as _;
use serde_json::{Map, json};

use crate::identity::support::{House, house, refusals, refused, viewer};

const INVALID: &str = "ENROLMENT_TOKEN_INVALID";

fn offer(node: &str, key: &str) -> NodeOffer {
    NodeOffer {
        node_id: node.to_owned(),
        url: format!("https://{node}.example.com"),
        external_url: None,
        trust_all_certificates: false,
        admin_key: Secret::from(key.to_owned()),
        auditing: None,
        logging: None,
    }
}

fn logging(target: &str) -> Option<Map<String, serde_json::Value>> {
    json!({"target": target}).as_object().cloned()
}

impl House {
    async fn several(&self, id: &str) {
        let patch = InfrastructurePatch {
            settings: SettingsPatch {
                multi_node: Some(true),
                node_url: Some(String::new()),
                ..SettingsPatch::default()
            },
            nodes: Some(vec![NodePatch {
                name: "hand".to_owned(),
                url: "https://hand.example.com".to_owned(),
                admin_key: Some(Some(Secret::from("hand-key".to_owned()))),
                ..NodePatch::default()
            }]),
            admin_key: Some(None),
            ..InfrastructurePatch::default()
        };
        infrastructures::update(&self.deployer, &self.admin, id, 1, patch).await.unwrap();
    }

    async fn token(&self, id: &str, node: Option<&str>) -> NodeToken {
        enrolment::create_token(&self.deployer, &self.admin, id, node, 60).await.unwrap().1
    }

    async fn admit(&self, kind: NodeTokenKind, token: &NodeToken) -> Result<Bearer> {
        enrolment::admit(&self.deployer, &Origin::default(), kind, token.expose()).await
    }

    async fn enroll(&self, token: &NodeToken, offer: NodeOffer) -> Result<Enrolled> {
        let bearer = self.admit(NodeTokenKind::Enrolment, token).await?;
        enrolment::enroll(&self.deployer, &bearer, offer).await
    }

    async fn rotate(&self, credential: &NodeToken, offer: NodeOffer) -> Result<Enrolled> {
        let bearer = self.admit(NodeTokenKind::Node, credential).await?;
        enrolment::rotate(&self.deployer, &bearer, offer).await
    }

    async fn remove(&self, credential: &NodeToken) -> Result<enrolment::Left> {
        let bearer = self.admit(NodeTokenKind::Node, credential).await?;
        enrolment::remove(&self.deployer, &bearer).await
    }

    async fn row(&self, id: &str) -> infrastructure::Model {
        infrastructure::Entity::find_by_id(id).one(self.deployer.db.pool()).await.unwrap().unwrap()
    }

    async fn settings(&self, id: &str) -> Settings {
        Settings::read(&self.row(id).await.settings).unwrap()
    }

    /// All stored keys, as workers would read them.
    async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for row in secret::Entity::find().all(self.deployer.db.pool()).await.unwrap() {
            let key = sealed::open(&self.deployer.db, &self.deployer.keyring, &row.id).await.unwrap().unwrap();
            keys.push(key.expose().to_owned());
        }
        keys.sort();
        keys
    }

    async fn stored(&self) -> usize {
        node_enrolment::Entity::find().all(self.deployer.db.pool()).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_token_bound_to_an_only_node_takes_it_over() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    let token = house.token("prod", None).await;
    let said = NodeOffer {
        external_url: Some(" https://people.example.com ".to_owned()),
        logging: logging("logs"),
        ..offer("auto-1", "key-1")
    };
    let enrolled = house.enroll(&token, said).await.unwrap();
    assert_eq!((enrolled.infrastructure_id.as_str(), enrolled.node_name.as_deref()), ("prod", None));
    let settings = house.settings("prod").await;
    assert_eq!(settings.node_url, "https://auto-1.example.com");
    assert_eq!(settings.external_url.as_deref(), Some("https://people.example.com"));
    assert_eq!(settings.managed.as_ref().unwrap().node_id, "auto-1");
    assert_eq!(settings.logging, logging("logs").unwrap());
    assert_eq!(house.keys().await, ["key-1"], "the key that was entered by hand is gone");
    let row = house.row("prod").await;
    assert_eq!((row.version, row.updated_by), (2, format!("enrolment:{}", token.prefix())));
    assert_eq!(refused(house.enroll(&token, offer("auto-1", "key-2")).await), INVALID, "once");

    // By hand nothing of it is changed; all else is.
    let update = async |settings, admin_key, version| {
        let patch = InfrastructurePatch { settings, admin_key, ..InfrastructurePatch::default() };
        infrastructures::update(&house.deployer, &house.admin, "prod", version, patch).await
    };
    let by_hand = SettingsPatch { node_url: Some("https://x".to_owned()), ..SettingsPatch::default() };
    assert_eq!(refused(update(by_hand, None, 2).await), "NODE_MANAGED");
    assert_eq!(refused(update(SettingsPatch::default(), Some(None), 2).await), "NODE_MANAGED");
    let run_as = SettingsPatch { run_as_scenarios: Some(Some("svc".to_owned())), ..SettingsPatch::default() };
    update(run_as, None, 2).await.unwrap();

    // It rotates: what it does not say of logs stays.
    let rotated = house.rotate(&enrolled.credential, offer("auto-2", "key-2")).await.unwrap();
    let settings = house.settings("prod").await;
    assert_eq!(settings.node_url, "https://auto-2.example.com");
    assert_eq!((settings.external_url, settings.run_as_scenarios.as_deref()), (None, Some("svc")));
    assert_eq!((settings.logging, settings.managed.unwrap().node_id), (logging("logs").unwrap(), "auto-2".to_owned()));
    assert_eq!(house.keys().await, ["key-2"]);
    assert_eq!(refused(house.rotate(&enrolled.credential, offer("auto-2", "key-3")).await), INVALID);
    assert_eq!(refused(house.remove(&enrolled.credential).await), INVALID);

    // Another token replaces it, and its credential.
    let second = house.enroll(&house.token("prod", None).await, offer("auto-3", "key-3")).await.unwrap();
    assert_eq!(refused(house.rotate(&rotated.credential, offer("auto-2", "key-4")).await), INVALID);
    assert_eq!(house.keys().await, ["key-3"]);

    // It leaves.
    let left = house.remove(&second.credential).await.unwrap();
    assert_eq!((left.infrastructure_id.as_str(), left.node_name), ("prod", None));
    let settings = house.settings("prod").await;
    assert_eq!((settings.node_url.as_str(), settings.managed, settings.logging.is_empty()), ("", None, true));
    assert_eq!((house.row("prod").await.key_ref, house.keys().await.len()), (None, 0));
    assert_eq!(refused(house.remove(&second.credential).await), INVALID);
}

#[tokio::test]
async fn several_nodes_come_and_go_by_name() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    house.several("prod").await;
    let names = async || house.settings("prod").await.nodes.into_iter().map(|node| node.name).collect::<Vec<_>>();
    let first = house.enroll(&house.token("prod", None).await, offer("a", "key-a")).await.unwrap();
    assert_eq!(first.node_name.as_deref(), Some("a"));
    let bound = house.token("prod", Some("second")).await;
    let second = house.enroll(&bound, offer("b", "key-b")).await.unwrap();
    assert_eq!(second.node_name.as_deref(), Some("second"), "the token's name goes before the node's");
    assert_eq!(names().await, ["hand", "a", "second"], "new ones at the end");
    assert_eq!(house.keys().await, ["hand-key", "key-a", "key-b"]);

    // A node that is managed by hand is taken over by a token for it alone.
    let token = house.token("prod", None).await;
    assert_eq!(refused(house.enroll(&token, offer("hand", "x")).await), "NODE_NAME_TAKEN");
    let same_url = NodeOffer { url: "https://a.example.com/".to_owned(), ..offer("c", "x") };
    assert_eq!(refused(house.enroll(&token, same_url).await), "NODE_LIST_INVALID");
    let bad_name = NodeOffer { url: "https://c.example.com".to_owned(), ..offer("c?d", "x") };
    assert_eq!(refused(house.enroll(&token, bad_name).await), "ID_INVALID");
    house.enroll(&house.token("prod", Some("hand")).await, offer("hand", "fleet-key")).await.unwrap();
    assert_eq!(house.keys().await, ["fleet-key", "key-a", "key-b"]);
    // What was refused left the token as good as it was; a managed node of that name is replaced.
    let again = house.enroll(&token, offer("a", "key-a2")).await.unwrap();
    assert_eq!(refused(house.remove(&first.credential).await), INVALID);
    assert_eq!(names().await, ["hand", "a", "second"]);

    // One leaves, and takes nothing of the others.
    house.remove(&again.credential).await.unwrap();
    assert_eq!(names().await, ["hand", "second"]);
    assert_eq!(house.keys().await, ["fleet-key", "key-b"]);
    house.rotate(&second.credential, offer("b2", "key-b2")).await.unwrap();
    assert_eq!(house.settings("prod").await.nodes[1].url, "https://b2.example.com");
    assert_eq!(names().await, ["hand", "second"], "a node that calls itself otherwise keeps its name here");
    let nodes: Vec<_> = house.settings("prod").await.nodes;
    let list = nodes.iter().filter(|node| node.name != "second").map(|node| NodePatch {
        name: node.name.clone(),
        url: node.url.clone(),
        ..NodePatch::default()
    });
    let patch = InfrastructurePatch { nodes: Some(list.collect()), ..InfrastructurePatch::default() };
    let version = house.row("prod").await.version;
    let by_hand = infrastructures::update(&house.deployer, &house.admin, "prod", version, patch).await;
    assert_eq!(refused(by_hand), "NODE_MANAGED");
}

#[tokio::test]
async fn all_that_is_wrong_with_an_offer_at_once_and_nothing_is_done() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    let token = house.token("prod", None).await;
    let bad = NodeOffer {
        url: "http://169.254.169.254/".to_owned(),
        external_url: Some("javascript:alert(1)".to_owned()),
        auditing: json!({"deep": {"apiKey": "x"}}).as_object().cloned(),
        logging: json!({"x": "y".repeat(70_000)}).as_object().cloned(),
        ..offer(" ", "two words")
    };
    let all = refusals(house.enroll(&token, bad).await);
    let all: Vec<_> = all.iter().map(|one| (one.code, one.field.as_deref().unwrap_or_default())).collect();
    let expected = [
        ("TEXT_INVALID", "nodeId"),
        ("NODE_ADDRESS_FORBIDDEN", "url"),
        ("URL_INVALID", "externalUrl"),
        ("ADMIN_KEY_INVALID", "adminKey"),
        ("FIELD_INVALID", "auditing.deep.apiKey"),
        ("SETTINGS_TOO_LARGE", "logging"),
    ];
    assert_eq!(all, expected);
    let no_url = NodeOffer { url: " ".to_owned(), ..offer("a", "k") };
    assert_eq!(refused(house.enroll(&token, no_url).await), "NODE_URL_INVALID");
    assert_eq!((house.row("prod").await.version, house.keys().await), (1, vec!["node-key".to_owned()]));
    house.enroll(&token, offer("a", "k")).await.unwrap();
}

#[tokio::test]
async fn whatever_is_no_living_token_gets_one_answer() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    let ann = house.user("ann", &["ops"]).await;
    let make = async |minutes| enrolment::create_token(&house.deployer, &ann, "prod", None, minutes).await.unwrap();
    let (_, used) = make(60).await;
    let enrolled = house.enroll(&used, offer("a", "k")).await.unwrap();
    let (_, expired) = make(1).await;
    house.sql(&format!("UPDATE node_enrolment SET expires_at = 1 WHERE id = '{}'", expired.prefix())).await;
    let (revoked_id, revoked) = make(60).await;
    enrolment::revoke_token(&house.deployer, &ann, "prod", &revoked_id.id).await.unwrap();
    let unknown = NodeToken::generate(NodeTokenKind::Enrolment);
    let (_, good) = make(60).await;
    let forged = format!("{}_{}", good.prefix(), &unknown.expose()[14..]);
    let mut answers = Vec::new();
    for text in [
        used.expose(),
        expired.expose(),
        revoked.expose(),
        unknown.expose(),
        &forged,
        enrolled.credential.expose(),
        "x",
        "",
    ] {
        let answer =
            enrolment::admit(&house.deployer, &Origin::default(), NodeTokenKind::Enrolment, text).await.unwrap_err();
        answers.push(format!("{answer:?}"));
    }
    let good_as_node = house.admit(NodeTokenKind::Node, &good).await.unwrap_err();
    answers.push(format!("{good_as_node:?}"));
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].contains(INVALID));

    // It is as good as the right of whoever made it.
    let enable = async |enabled| {
        let patch = users::UserPatch { enabled: Some(enabled), ..users::UserPatch::default() };
        users::update(&house.deployer, &house.admin, "ann", patch).await.unwrap();
    };
    let bearer = house.admit(NodeTokenKind::Enrolment, &good).await.unwrap();
    enable(false).await;
    assert_eq!(refused(house.admit(NodeTokenKind::Enrolment, &good).await), INVALID);
    enable(true).await;
    // Revoked between the look and the act.
    enrolment::revoke_token(&house.deployer, &ann, "prod", good.prefix()).await.unwrap();
    assert_eq!(refused(enrolment::enroll(&house.deployer, &bearer, offer("b", "k2")).await), INVALID);
    assert_eq!(house.keys().await, ["k"]);
}

#[tokio::test]
async fn of_two_who_use_a_token_at_once_one_wins() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    house.several("prod").await;
    let token = house.token("prod", None).await;
    let bearer = house.admit(NodeTokenKind::Enrolment, &token).await.unwrap();
    let names: Vec<_> = (0..6).map(|n| format!("n{n}")).collect();
    let tries = names.iter().map(|name| enrolment::enroll(&house.deployer, &bearer, offer(name, name)));
    let ended = futures_util::future::join_all(tries).await;
    let (won, lost): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 5));
    assert!(lost.into_iter().all(|one| refused(one) == INVALID));
    let settings = house.settings("prod").await;
    assert_eq!(settings.nodes.len(), 2);
    let credential = won.into_iter().next().unwrap().unwrap().credential;
    let node = house.admit(NodeTokenKind::Node, &credential).await.unwrap();
    let tries = (0..6).map(|n| enrolment::rotate(&house.deployer, &node, offer(&format!("r{n}"), &format!("r{n}"))));
    let ended = futures_util::future::join_all(tries).await;
    assert_eq!(ended.iter().filter(|one| one.is_ok()).count(), 1);
    assert_eq!((house.settings("prod").await.nodes.len(), house.keys().await.len()), (2, 2));
}

#[tokio::test]
async fn administrators_alone_and_the_hidden_is_absent() {
    let house = house().await;
    house.infrastructure("prod", Level::Deploy).await;
    house.infrastructure("secret", Level::None).await;
    house.user("ann", &["ops"]).await;
    let (ann, bob) = (viewer("ann", &["ops"]), viewer("bob", &["dev"]));
    let deployer = &house.deployer;
    let create =
        async |viewer, id: &str, node, minutes| enrolment::create_token(deployer, viewer, id, node, minutes).await;
    for (viewer, id, node, minutes, code) in [
        (&bob, "prod", None, 60, "FORBIDDEN"),
        (&bob, "secret", None, 60, "NOT_FOUND"),
        (&bob, "none", None, 60, "NOT_FOUND"),
        (&ann, "no\0ne", None, 60, "NOT_FOUND"),
        (&ann, "prod", None, 0, "EXPIRY_INVALID"),
        (&ann, "prod", None, 10_081, "EXPIRY_INVALID"),
        (&ann, "prod", None, i64::MAX, "EXPIRY_INVALID"),
        (&ann, "prod", Some("a"), 60, "NODE_LIST_INVALID"),
    ] {
        assert_eq!(refused(create(viewer, id, node, minutes).await), code, "{id} {node:?} {minutes}");
    }
    let hidden = format!("{:?}", create(&bob, "secret", None, 60).await);
    assert_eq!(hidden, format!("{:?}", create(&bob, "none", None, 60).await));
    let (token, secret) = create(&ann, "prod", None, 10_080).await.unwrap();
    assert!(!format!("{token:?}").contains(secret.expose()));
    for (viewer, id, token, code) in [
        (&bob, "prod", token.id.as_str(), "FORBIDDEN"),
        (&bob, "secret", token.id.as_str(), "NOT_FOUND"),
        (&ann, "secret", token.id.as_str(), "NOT_FOUND"),
        (&ann, "prod", "slwe_aaaaaaaa", "NOT_FOUND"),
        (&ann, "prod", "\0", "NOT_FOUND"),
    ] {
        assert_eq!(refused(enrolment::revoke_token(deployer, viewer, id, token).await), code, "{id} {token}");
    }
    let ids = ["prod".to_owned(), "secret".to_owned(), "none".to_owned()];
    assert!(enrolment::tokens_by_infrastructures(deployer, &bob, &ids).await.unwrap().is_empty());
    let listed = enrolment::tokens_by_infrastructures(deployer, &ann, &ids).await.unwrap();
    assert_eq!(listed["prod"], *std::slice::from_ref(&token));

    let enrolled = house.enroll(&secret, offer("a", "k")).await.unwrap();
    let listed = enrolment::tokens_by_infrastructures(deployer, &ann, &ids).await.unwrap();
    assert!(listed["prod"][0].used_at.is_some() && listed["prod"].len() == 1, "no credential among them");
    assert_eq!(refused(enrolment::revoke_token(deployer, &ann, "prod", &token.id).await), "NOT_FOUND");
    let release =
        async |viewer, id: &str, node, version| enrolment::release_node(deployer, viewer, id, node, version).await;
    for (viewer, id, node, version, code) in [
        (&bob, "prod", None, 2, "FORBIDDEN"),
        (&bob, "secret", None, 1, "NOT_FOUND"),
        (&ann, "prod", None, 1, "VERSION_CONFLICT"),
        (&ann, "prod", Some("a"), 2, "NOT_FOUND"),
    ] {
        assert_eq!(refused(release(viewer, id, node, version).await), code, "{id} {node:?} {version}");
    }
    let released = release(&ann, "prod", None, 2).await.unwrap();
    assert_eq!((released.managed, released.version, released.has_admin_key), (false, 3, Some(true)));
    assert_eq!(refused(release(&ann, "prod", None, 3).await), "NODE_NOT_MANAGED");
    assert_eq!(refused(house.remove(&enrolled.credential).await), INVALID);
    assert_eq!(house.keys().await, ["k", "node-key"], "the node is as it was");
    infrastructures::delete(deployer, &ann, "prod").await.unwrap();
    assert_eq!(house.stored().await, 0, "tokens go with the infrastructure");
}

#[tokio::test]
async fn tokens_do_not_outlive_the_key_that_makes_them_and_are_not_without_number() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    house.user("ann", &["ops"]).await;
    let deployer = &house.deployer;
    let soon = deployer.db.now().await.unwrap() + 600_000_000;
    let new = keys::NewKey { label: "ci".to_owned(), expires_at: Some(soon), ..keys::NewKey::default() };
    let (_, key) = keys::create(deployer, &viewer("ann", &["ops"]), new).await.unwrap();
    let ann = keys::authenticate(&deployer.db, key.expose()).await.unwrap().unwrap();
    assert_eq!(refused(enrolment::create_token(deployer, &ann, "prod", None, 11).await), "EXPIRY_INVALID");
    enrolment::create_token(deployer, &ann, "prod", None, 9).await.unwrap();
    for _ in 1..enrolment::MOST_TOKENS {
        house.token("prod", None).await;
    }
    let more = async || enrolment::create_token(deployer, &house.admin, "prod", None, 1).await;
    assert_eq!(refused(more().await), "TOO_MANY_TOKENS");
    for _ in 0..2 {
        house.sql("UPDATE node_enrolment SET expires_at = 1").await;
        for _ in 0..enrolment::MOST_TOKENS {
            more().await.unwrap();
        }
    }
    assert_eq!(house.stored().await as u64, 2 * enrolment::MOST_TOKENS, "dead ones are kept, not all of them");
}

#[tokio::test]
async fn all_of_it_is_in_the_audit_and_no_secret() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    let ann = house.user("ann", &["ops"]).await;
    let (_, token) = enrolment::create_token(&house.deployer, &ann, "prod", None, 60).await.unwrap();
    let enrolled = house.enroll(&token, offer("a", "hush-1")).await.unwrap();
    refused(house.enroll(&token, offer("a", "hush-2")).await);
    let rotated = house.rotate(&enrolled.credential, offer("b", "hush-3")).await.unwrap();
    house.remove(&rotated.credential).await.unwrap();
    let page = Page::new(None, None).unwrap();
    let events = list::list(&house.deployer, &ann, &Filter::default(), &page).await.unwrap();
    let told: Vec<_> = events.items.iter().map(|(_, event)| event).collect();
    let actions: Vec<_> =
        told.iter().map(|event| (event.action.as_str(), event.outcome.as_str(), event.login.as_str())).collect();
    let (by, node) = (format!("enrolment:{}", token.prefix()), |token: &NodeToken| format!("node:{}", token.prefix()));
    let (first, second) = (node(&enrolled.credential), node(&rotated.credential));
    assert_eq!(
        actions[..5],
        [
            ("removeNode", "DONE", second.as_str()),
            ("rotateNode", "DONE", first.as_str()),
            ("enrollNode", "REFUSED", by.as_str()),
            ("enrollNode", "DONE", by.as_str()),
            ("createEnrolmentToken", "DONE", "ann"),
        ]
    );
    let text = format!("{told:?}");
    assert!(!text.contains("hush") && !text.contains(&token.expose()[14..]), "{text}");
    assert!(text.contains("enrolmentTokenCreatedBy"), "{text}");
    assert!(text.contains("nodeUrl") && text.contains("https://b.example.com"), "{text}");
}
