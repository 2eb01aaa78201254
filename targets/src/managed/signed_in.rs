//! A platform's API behind an access token. A token that is refused before its end (taken back, say) is got anew once, and the call made again.

use std::sync::{Arc, Mutex, PoisonError};

use engine::secrets::Secret;

use super::tokens::{SignIn, Tokens};
use crate::http::{Auth, CallError, Exchange, Http, Node, NodeUrl, Request};

/// The API, signed in.
#[derive(Clone)]
pub(crate) struct SignedIn(Arc<Inner>);

struct Inner {
    http: Http,
    who: &'static str,
    url: NodeUrl,
    tokens: Arc<Tokens>,
    way: Box<dyn SignIn>,
    now: Mutex<(Secret, Node)>,
}

impl SignedIn {
    /// Signs in.
    pub(crate) async fn open(
        http: &Http,
        who: &'static str,
        url: NodeUrl,
        tokens: &Arc<Tokens>,
        way: Box<dyn SignIn>,
    ) -> Result<Self, CallError> {
        let token = tokens.get(&*way).await?;
        let node = http.platform(who, url.clone(), Auth::Bearer(token.clone()));
        let (http, tokens, now) = (http.clone(), Arc::clone(tokens), Mutex::new((token, node)));
        Ok(Self(Arc::new(Inner { http, who, url, tokens, way, now })))
    }

    /// With the token of this moment.
    pub(crate) fn node(&self) -> Node {
        self.now().1
    }

    fn now(&self) -> (Secret, Node) {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a call that can be made twice: one that is refused for its token has no effect.
    pub(crate) async fn exchange<'a>(&self, request: impl Fn() -> Request<'a>) -> Result<Exchange, CallError> {
        let (token, node) = self.now();
        let answer = node.exchange(request()).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let inner = &*self.0;
        let token = inner.tokens.instead_of(&token, &*inner.way).await?;
        let node = inner.http.platform(inner.who, inner.url.clone(), Auth::Bearer(token.clone()));
        *inner.now.lock().unwrap_or_else(PoisonError::into_inner) = (token, node.clone());
        node.exchange(request()).await
    }
}
