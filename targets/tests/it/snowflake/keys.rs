//! Ways to sign in.

use serde_json::json;
use targets::target::{Entered, Secrets as _};

use super::world::{Vault, World};

async fn signed_in(change: impl FnOnce(&mut World)) -> Result<String, (String, String)> {
    let mut world = World::new().await;
    change(&mut world);
    let connection = world.spec.infrastructure.connection.clone().unwrap();
    let kind = world.targets.connection("SNOWFLAKE").unwrap();
    match kind.check(&connection, &Vault).await {
        Ok(report) => Ok(report.identity),
        Err(failure) => {
            let told = format!("{failure:?}");
            assert!(!told.contains("open-sesame") && !told.contains("PRIVATE KEY"), "{told}");
            Err((failure.code.as_str().to_owned(), failure.message))
        }
    }
}

async fn with_key(key: &'static str, passphrase: Option<&'static str>) -> Result<String, (String, String)> {
    signed_in(|world| {
        world.connection().insert("privateKey".into(), json!({"$secret": key}));
        if let Some(passphrase) = passphrase {
            world.connection().insert("passphrase".into(), json!({"$secret": passphrase}));
        }
    })
    .await
}

#[tokio::test]
async fn keys_in_every_form() {
    for (key, passphrase) in
        [("key", None), ("pkcs1", None), ("pbkdf2", Some("passphrase")), ("scrypt", Some("passphrase"))]
    {
        assert_eq!(with_key(key, passphrase).await.as_deref(), Ok("DEPLOYER as DEPLOY_ROLE"), "{key}");
    }
}

#[tokio::test]
async fn keys_that_can_not_be_used() {
    for (key, passphrase, says) in [
        ("pbkdf2", None, "needs a passphrase"),
        ("pbkdf2", Some("wrong"), "does not open it"),
        ("old", Some("passphrase"), "PBES2"),
        ("slow", Some("passphrase"), "PBES2"),
        ("ec", None, "no RSA key"),
        ("wrong", None, "no PEM text"),
    ] {
        let (code, message) = with_key(key, passphrase).await.unwrap_err();
        assert_eq!(code, "SNOWFLAKE_KEY_INVALID", "{key}");
        assert!(message.contains(says), "{key}: {message}");
    }
}

#[tokio::test]
async fn a_key_is_looked_at_when_it_is_entered() {
    let world = World::new().await;
    let kind = world.targets.connection("SNOWFLAKE").unwrap();
    for (key, passphrase, says) in [
        ("key", false, None),
        ("pkcs1", false, None),
        ("pbkdf2", true, None),
        ("scrypt", true, None),
        ("pbkdf2", false, Some("needs a passphrase")),
        ("old", true, Some("PBES2")),
        ("slow", true, Some("PBES2")),
        ("ec", true, Some("no RSA key")),
        ("wrong", true, Some("no PEM text")),
    ] {
        let mut settings = serde_json::Map::new();
        if passphrase {
            settings.insert("passphrase".into(), json!({"$secret": "entered"}));
        }
        let entered = [("/privateKey".to_owned(), Vault.open(key).await.unwrap())];
        let found = kind.unreadable(&settings, Entered(&entered));
        let told: Vec<_> =
            found.iter().map(|(path, said)| (path.as_str(), says.is_some_and(|s| said.contains(s)))).collect();
        assert_eq!(told, says.map(|_| ("privateKey", true)).into_iter().collect::<Vec<_>>(), "{key}: {found:?}");
    }
}

#[tokio::test]
async fn tokens_instead_of_keys() {
    for method in ["OAUTH", "PROGRAMMATIC_ACCESS_TOKEN"] {
        let signed = |token: &'static str| {
            signed_in(move |world| {
                world.connection().insert("method".into(), json!(method));
                world.connection().insert("token".into(), json!({"$secret": token}));
            })
        };
        assert!(signed("pat").await.is_ok(), "{method}");
        assert_eq!(signed("wrong").await.unwrap_err().0, "NODE_KEY_REJECTED", "{method}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let (code, message) = signed_in(|world| {
        world.connection().remove("user");
        world.connection().remove("privateKey");
    })
    .await
    .unwrap_err();
    assert_eq!(code, "SETTING_MISSING");
    assert!(message.contains("user, privateKey"), "{message}");
    let (code, _) =
        signed_in(|world| drop(world.connection().insert("user".into(), json!("other")))).await.unwrap_err();
    assert_eq!(code, "NODE_KEY_REJECTED");
    let (code, _) =
        signed_in(|world| drop(world.connection().insert("accountUrl".into(), json!("http://169.254.169.254"))))
            .await
            .unwrap_err();
    assert_eq!(code, "NODE_ADDRESS_FORBIDDEN");
}
