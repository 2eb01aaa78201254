//! Finding the key in a request: `Authorization: Bearer KEY`, or Basic with the key as the user name (as the Dataiku clients send it).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use poem::{Request, http::header};

use crate::{
    edge::RequestId,
    failure::Failure,
    house::{Arrival, House, Key, Pass},
};

/// What a request says about who sends it.
pub(crate) enum Claim {
    /// Nothing.
    None,
    /// Something that is no key.
    Malformed,
    /// A key.
    Key(Key),
}

/// Reads the header.
pub(crate) fn claim(request: &Request) -> Claim {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Claim::None,
        (Some(value), None) => match value.to_str().ok().and_then(parse) {
            Some(key) => Claim::Key(key),
            None => Claim::Malformed,
        },
        (Some(_), Some(_)) => Claim::Malformed,
    }
}

/// Reads the value of an authorization header.
pub(crate) fn parse(value: &str) -> Option<Key> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Key::new(rest)
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
        Key::new(decoded.split_once(':').map_or(decoded.as_str(), |(user, _)| user))
    } else {
        None
    }
}

/// Who sends this request. Asked for each request: a revoked key is out at once.
pub(crate) async fn enter<H: House>(house: &H, request: &Request) -> Result<Pass<H::Viewer>, Failure> {
    match claim(request) {
        Claim::Key(key) => admit(house, key, arrival(request)).await,
        Claim::None | Claim::Malformed => Err(Failure::unauthenticated()),
    }
}

/// Whose key this is.
pub(crate) async fn admit<H: House>(house: &H, key: Key, from: Arrival) -> Result<Pass<H::Viewer>, Failure> {
    let mut viewer = house.authenticate(&key).await?.ok_or_else(Failure::unauthenticated)?;
    house.arrived(&mut viewer, &from);
    Ok(Pass { viewer, key, from })
}

/// Where a request came from.
pub(crate) fn arrival(request: &Request) -> Arrival {
    Arrival {
        address: request.remote_addr().as_socket_addr().map(|address| address.ip().to_string().into()),
        request_id: request.data::<RequestId>().map(|id| id.0.clone()),
        graphql: request.uri().path() == "/graphql",
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn keys_are_found_in_both_schemes_and_nowhere_else() {
        let found = |value: &str| parse(value).map(|key| key.expose().to_owned());
        assert_eq!(found("Bearer abc"), Some("abc".into()));
        assert_eq!(found("bearer  abc "), Some("abc".into()));
        assert_eq!(found("Basic YWJjOg=="), Some("abc".into()), "abc:");
        assert_eq!(found("Basic YWJj"), Some("abc".into()), "abc");
        for none in ["", "abc", "Bearer ", "Bearer a b", "Basic !!", "Basic Og==", "Digest abc", "Bearer ä"] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(found(&format!("Bearer {}", "a".repeat(513))), None);
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", parse("Bearer secret")), "Some(Key(…))");
    }
}
