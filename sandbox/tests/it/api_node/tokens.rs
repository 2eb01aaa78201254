//! Services that ask for a token.

use super::client::{Scene, read, scene};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use sandbox::{KeyKind, ServiceSpec};
use serde_json::{Value, json};

fn key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap()
}

fn public(key: &EcdsaKeyPair, id: &str) -> Value {
    let point = key.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "kid": id, "x": part(&point[1..33]), "y": part(&point[33..65])})
}

fn token(key: &EcdsaKeyPair, id: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "ES256", "kid": id})), part(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

async fn ask(scene: &Scene, token: &str) -> (StatusCode, Value) {
    let request = scene.client.with_key(None).request(Method::POST, "/public/api/v1/s/score/predict");
    read(request.bearer_auth(token).body(json!({"features": {"a": 1}}).to_string())).await
}

#[tokio::test]
async fn a_token_must_be_signed_and_say_what_it_must() {
    let (one, other) = (key(), key());
    let oauth2 = json!({
        "jwks": {"keys": [public(&one, "one")]}, "issuer": "https://login.example", "audience": "scoring", "scope": "query",
    });
    let scene = scene().await;
    scene.serve(&[ServiceSpec::new("s", "v1").with("authMethod", json!("OAUTH2")).with("oauth2", oauth2)]).await;
    let (now, hour) = (scene.node.calls()[0].start / 1_000_000, 3600);
    let good = json!({"iss": "https://login.example", "aud": ["scoring", "x"], "exp": now + hour, "nbf": now - hour,
        "scope": "read query"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let whole = token(&one, "one", &good);
    for good in [whole.clone(), token(&one, "one", &with("scope", json!(["query"])))] {
        assert_eq!(ask(&scene, &good).await.0, StatusCode::OK);
    }
    assert_eq!(scene.node.calls().last().unwrap().key, KeyKind::Service);
    for (token, says) in [
        (token(&other, "one", &good), "no key of the set signed it"),
        (token(&one, "two", &good), "no key of the set signed it"),
        (token(&one, "one", &with("iss", json!("https://else.example"))), "another issuer"),
        (token(&one, "one", &with("aud", json!("x"))), "another audience"),
        (token(&one, "one", &with("exp", json!(now - hour))), "expired"),
        (token(&one, "one", &with("exp", Value::Null)), "no time of expiry"),
        (token(&one, "one", &with("nbf", json!(now + hour))), "not valid yet"),
        (token(&one, "one", &with("scope", json!("query-all"))), "lacks the scope"),
        ("abc".to_owned(), "no JSON Web Token"),
    ] {
        let (status, error) = ask(&scene, &token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says) && !message.contains(&token), "{message}");
    }
    let basic = scene.client.with_key(Some(&whole)).query("s/score/predict", &json!({"features": {}})).await;
    assert_eq!(basic.0, StatusCode::UNAUTHORIZED, "a token is no key");
    let shown = &scene.node.snapshot()["services"]["s"]["generations"][0]["oauth2"];
    assert_eq!(
        shown,
        &json!({"issuer": "https://login.example", "audience": "scoring", "scope": "query", "keyIds": ["one"]})
    );
}
