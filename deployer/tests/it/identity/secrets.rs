//! Secrets at rest, and their rotation.

use std::sync::Arc;

use deployer::{error::Error, rotate, sealed};
use engine::secrets::{Keyring, Secret};
use entities::secret;
use sea_orm::EntityTrait as _;

use crate::identity::support::house;

async fn rows(house: &crate::identity::support::House) -> Vec<secret::Model> {
    secret::Entity::find().all(house.deployer.db.pool()).await.unwrap()
}

#[tokio::test]
async fn a_sealed_text_opens_in_its_own_row_alone() {
    let house = house().await;
    let (db, keyring) = (&house.deployer.db, &house.deployer.keyring);
    let tx = db.begin().await.unwrap();
    let one = sealed::put(&tx, keyring, "infrastructure/a", &Secret::from("first-secret".to_owned())).await.unwrap();
    let two = sealed::put(&tx, keyring, "infrastructure/b", &Secret::from("other-secret".to_owned())).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(sealed::open(db, keyring, &one).await.unwrap().unwrap().expose(), "first-secret");
    assert!(sealed::open(db, keyring, "none").await.unwrap().is_none());
    assert!(!format!("{:?}", rows(&house).await).contains("secret\""));
    house
        .sql(&format!("UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE id = '{one}') WHERE id = '{two}'"))
        .await;
    let Err(Error::Fault(fault)) = sealed::open(db, keyring, &two).await else { panic!("opened") };
    assert!(fault.detail.contains(&two) && !fault.detail.contains("first-secret"));
}

#[tokio::test]
async fn a_key_that_is_not_here_is_named() {
    let house = house().await;
    let (db, keyring) = (&house.deployer.db, &house.deployer.keyring);
    let lost = Keyring::generate();
    let tx = db.begin().await.unwrap();
    sealed::put(&tx, keyring, "infrastructure/a", &Secret::from("one".to_owned())).await.unwrap();
    let row = sealed::put(&tx, &lost, "infrastructure/b", &Secret::from("two".to_owned())).await.unwrap();
    sealed::put(&tx, &lost, "infrastructure/c", &Secret::from("three".to_owned())).await.unwrap();
    tx.commit().await.unwrap();
    let unknown = sealed::unknown_keys(db, Some(keyring)).await.unwrap();
    assert_eq!(unknown.into_iter().collect::<Vec<_>>(), [lost.active().as_str()]);
    assert_eq!(sealed::unknown_keys(db, None).await.unwrap().len(), 2);
    let Err(Error::Refused(refusals)) = sealed::open(db, keyring, &row).await else { panic!("opened") };
    assert_eq!(refusals[0].code, "SECRET_KEY_UNKNOWN");
    assert!(refusals[0].message.contains(lost.active().as_str()), "{refusals:?}");
}

#[tokio::test]
async fn rotation_seals_all_again_and_names_what_it_cannot_open() {
    let house = house().await;
    let db = &house.deployer.db;
    let old = Arc::clone(&house.deployer.keyring);
    let tx = db.begin().await.unwrap();
    for n in 0..250 {
        sealed::put(&tx, &old, "infrastructure/a", &Secret::from(format!("s{n}"))).await.unwrap();
    }
    let lost =
        sealed::put(&tx, &Keyring::generate(), "infrastructure/lost", &Secret::from("x".to_owned())).await.unwrap();
    tx.commit().await.unwrap();

    let both = old.with_new_active();
    let done = rotate::rotate(db, &both).await.unwrap();
    assert_eq!(done.resealed, 250);
    assert_eq!(done.unreadable.len(), 1);
    assert!(done.unreadable[0].contains(&lost));
    let again = rotate::rotate(db, &both).await.unwrap();
    assert_eq!((again.resealed, again.unreadable.len()), (0, 1));

    // The new key alone opens every one now.
    let text = both.to_text();
    let new = Keyring::parse(text.lines().next().unwrap()).unwrap();
    let mut seen = 0;
    for row in rows(&house).await.iter().filter(|row| row.id != lost) {
        assert!(sealed::open(db, &new, &row.id).await.unwrap().unwrap().expose().starts_with('s'));
        seen += 1;
    }
    assert_eq!(seen, 250);
}
