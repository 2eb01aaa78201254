//! The record of which node imported what.

use deployer::imports::Imports;
use engine::failure::StepError;
use targets::target::{Import, ImportLedger as _, ImportRecords as _};

use crate::deployments::support::world;

#[tokio::test]
async fn an_id_means_one_content_for_good() {
    let world = world().await;
    let ledger = Imports::new(world.deployer.db.clone(), "CHURN");
    assert_eq!(ledger.find("http://n", "K", "v1").await.unwrap(), None);
    ledger.intend("http://n", "K", "v1", "aa").await.unwrap();
    ledger.intend("http://n", "K", "v1", "aa").await.unwrap();
    let found = async || ledger.find("http://n", "K", "v1").await.unwrap().unwrap();
    assert!(matches!(found().await, Import { sha256, confirmed: false, at } if sha256 == "aa" && at > 0));
    ledger.confirm("http://n", "K", "v1", "aa").await.unwrap();
    // An intent after that takes nothing back.
    ledger.intend("http://n", "K", "v1", "aa").await.unwrap();
    assert!(found().await.confirmed);
    for result in
        [ledger.intend("http://n", "K", "v1", "bb").await, ledger.intend("http://other", "K", "v1", "bb").await]
    {
        assert!(
            matches!(result, Err(StepError::Permanent(failure)) if failure.code.as_str() == "BUNDLE_CONTENT_DIFFERS")
        );
    }
    assert_eq!(ledger.find("http://other", "K", "v1").await.unwrap(), None);
    // Another published project, same place on the node: what the node has is not replaced.
    let other = Imports::new(world.deployer.db.clone(), "FRAUD");
    assert!(other.intend("http://n", "K", "v1", "cc").await.is_err());
    other.intend("http://n", "K", "v2", "cc").await.unwrap();
}

#[tokio::test]
async fn a_version_that_is_sent_under_another_name_is_bound_by_its_own() {
    let world = world().await;
    let ledger = Imports::new(world.deployer.db.clone(), "CHURN");
    ledger.bind("v1", "aa").await.unwrap();
    ledger.bind("v1", "aa").await.unwrap();
    ledger.intend("http://n", "K", "v1~01234567", "aa").await.unwrap();
    assert_eq!(ledger.find("http://n", "K", "v1").await.unwrap(), None, "that is no import");
    for result in [ledger.bind("v1", "bb").await, ledger.intend("http://n", "K", "v1", "bb").await] {
        assert!(
            matches!(result, Err(StepError::Permanent(failure)) if failure.code.as_str() == "BUNDLE_CONTENT_DIFFERS")
        );
    }
}
