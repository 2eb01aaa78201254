//! Who may query a service: everybody, who has a key, or who has a token.

use super::version::Auth;
use crate::auth::Claim;
use crate::clock::now_ms;
use crate::reply::Refusal;

/// Whether it was a key or a token that let the call in.
pub(super) fn check(auth: &Auth, claim: &Claim) -> Result<bool, Refusal> {
    let secret = || claim.secret.as_deref().ok_or_else(|| Refusal::unauthenticated(format!("{} needed", needs(auth))));
    match auth {
        Auth::Public => Ok(false),
        Auth::Keys(keys) => {
            let secret = secret()?;
            if keys.iter().any(|key| key == secret) {
                return Ok(true);
            }
            Err(Refusal::unauthenticated("invalid API key"))
        }
        Auth::Tokens(keys) => {
            let token = secret()?;
            if !claim.bearer {
                return Err(Refusal::unauthenticated("a bearer token is needed"));
            }
            match keys.verify(token, now_ms() / 1000) {
                Ok(()) => Ok(true),
                Err(why) => Err(Refusal::unauthenticated(format!("invalid token: {why}"))),
            }
        }
    }
}

fn needs(auth: &Auth) -> &'static str {
    match auth {
        Auth::Tokens(_) => "a bearer token is",
        _ => "an API key is",
    }
}
