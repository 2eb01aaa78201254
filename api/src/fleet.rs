//! Nodes that register themselves: `POST`, `PUT` and `DELETE` on `/fleet/nodes`. They come with a token of their own instead of a user's key; which one is
//! good is the house's business.

use std::sync::Arc;

use poem::{Endpoint, Request, Response, Result};

use crate::{
    auth, body::body, edge::Login, failure::Failure, house::House, rate::Rates, rest::late, settings::Settings,
};

/// The address.
pub(crate) const PATH: &str = "/fleet/nodes";
/// The most that a node says of itself, in bytes.
const LONGEST: usize = 256 << 10;

/// The endpoint.
pub(crate) struct Fleet<H> {
    pub(crate) house: Arc<H>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) settings: Arc<Settings>,
}

impl<H: House> Endpoint for Fleet<H> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(self.answer(request).await.unwrap_or_else(Failure::into_rest))
    }
}

impl<H: House> Fleet<H> {
    async fn answer(&self, request: Request) -> Result<Response, Failure> {
        // Whoever asks too often is refused before the database is asked whose token that is.
        let token = match auth::claim(&request) {
            auth::Claim::Key(token) => Some(token),
            auth::Claim::None | auth::Claim::Malformed => None,
        };
        let _place = self.rates.enter(token.as_ref()).await?;
        let (method, from) = (request.method().as_str().to_owned(), auth::arrival(&request));
        let answer = async {
            let node = self.house.node(token.as_ref(), &method, &from).await?;
            let login = Login(self.house.node_login(&node).into());
            let body = body(request, self.settings.body_limit.min(LONGEST)).await?;
            Ok((self.house.fleet(&node, body).await?, login))
        };
        let (document, login) = late(self.settings.request_timeout(), answer).await?;
        let json = serde_json::to_vec(&document).map_err(|_| Failure::internal())?;
        let mut response = Response::builder().content_type("application/json; charset=utf-8").body(json);
        response.set_data(login);
        Ok(response)
    }
}
