//! The examples of RFC 7515, appendices A.2 and A.3, and what is changed about them.

use super::*;

const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiJ9",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);
const ES256: (&str, &str) =
    ("eyJhbGciOiJFUzI1NiJ9", "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
/// A while before the examples expire.
const THEN: i64 = 1_300_819_000;

fn rsa() -> Value {
    let modulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    json!({"kty": "RSA", "n": modulus, "e": "AQAB"})
}

fn ec() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn read(oauth2: &Value) -> Result<KeySet, String> {
    KeySet::read(&Fields::of(oauth2, "oauth2").unwrap()).map_err(|refusal| refusal.message)
}

fn set(keys: &[Value], issuer: &str) -> KeySet {
    read(&json!({"jwks": {"keys": keys}, "issuer": issuer})).unwrap()
}

fn token((header, signature): (&str, &str)) -> String {
    format!("{header}.{PAYLOAD}.{signature}")
}

#[test]
fn the_examples_are_good_until_they_expire() {
    let keys = set(&[rsa(), ec(), json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"})], "joe");
    for one in [RS256, ES256] {
        assert_eq!(keys.verify(&token(one), THEN), Ok(()));
        assert_eq!(keys.verify(&token(one), THEN + 10_000), Err("it has expired"));
        let other_payload = PAYLOAD.replace("joe", "eve").replacen("eyJpc3Mi", "eyJpc3Nj", 1);
        let forged = token(one).replace(PAYLOAD, &other_payload);
        assert!(keys.verify(&forged, THEN).is_err());
    }
    assert_eq!(set(&[rsa()], "joe").verify(&token(ES256), THEN), Err("no key of the set signed it"));
    assert_eq!(set(&[ec()], "eve").verify(&token(ES256), THEN), Err("it is from another issuer"));
    let for_somebody = read(&json!({"jwks": {"keys": [ec()]}, "audience": "me"})).unwrap();
    assert_eq!(for_somebody.verify(&token(ES256), THEN), Err("it is for another audience"));
}

#[test]
fn nothing_unsigned_gets_in() {
    let keys = set(&[rsa(), ec()], "joe");
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let mac = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let demand = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","crit":["x"]}"#);
    for bad in [
        format!("{none}.{PAYLOAD}."),
        format!("{mac}.{PAYLOAD}.{}", ES256.1),
        format!("{demand}.{PAYLOAD}.{}", ES256.1),
        token((RS256.0, ES256.1)),
        token((ES256.0, RS256.1)),
        token(ES256).replace('.', ""),
        String::new(),
        ".".repeat(LONGEST + 1),
    ] {
        assert!(keys.verify(&bad, THEN).is_err(), "{bad}");
    }
}

#[test]
fn key_ids_choose_and_purposes_exclude() {
    let named = |id: &str| {
        let mut key = ec();
        key["kid"] = json!(id);
        key
    };
    // The example names no key, so a named one may have signed it.
    assert_eq!(set(&[named("a")], "joe").verify(&token(ES256), THEN), Ok(()));
    for (name, value) in [("use", "enc"), ("alg", "RS256")] {
        let mut key = ec();
        key[name] = json!(value);
        assert_eq!(read(&json!({"jwks": {"keys": [key]}})).err().unwrap(), "oauth2.jwks has no key for RS256 or ES256");
    }
    let short = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
    assert_eq!(
        read(&json!({"jwks": {"keys": [short]}})).err().unwrap(),
        "oauth2.jwks.keys[].n is shorter than 2048 bits"
    );
    let missing = read(&json!({"jwksUri": "https://keys.example"})).err().unwrap();
    assert_eq!(missing, "oauth2.jwks is needed: this node fetches no keys");
}
