//! Nodes that register themselves: `/fleet/nodes`, in Slipway's own words. Whoever calls is a node, with a token instead of a user's key.

use bytes::Bytes;
use deployer::{
    Deployer,
    enrolment::{self, Bearer, Enrolled},
    error::{Error, Result},
    infrastructures::NodeOffer,
    viewer::Origin,
};
use engine::secrets::{NodeTokenKind, Secret};
use serde_json::{Value, json};

use crate::{Method, call, read::Document};

/// What a node asks, and who it is.
#[derive(Debug)]
pub struct FleetCall {
    method: Method,
    bearer: Bearer,
}

impl FleetCall {
    /// Looks who asks; the body comes after that. POST takes a one-time token, PUT and DELETE the credential of a node.
    ///
    /// # Errors
    /// `METHOD_NOT_ALLOWED`; `ENROLMENT_TOKEN_INVALID`.
    pub async fn admit(deployer: &Deployer, origin: &Origin, method: &str, token: Option<&str>) -> Result<Self> {
        let method = Method::of(method).filter(|method| *method != Method::Get);
        let method = method.ok_or_else(|| {
            Error::refused("METHOD_NOT_ALLOWED", "POST enrolls a node, PUT changes it, DELETE removes it.")
        })?;
        let kind = if method == Method::Post { NodeTokenKind::Enrolment } else { NodeTokenKind::Node };
        let token = token.ok_or_else(enrolment::invalid)?;
        Ok(Self { method, bearer: enrolment::admit(deployer, origin, kind, token).await? })
    }

    /// The name that the log shows.
    pub fn login(&self) -> &str {
        self.bearer.login()
    }

    /// Answers it.
    ///
    /// # Errors
    /// `BAD_REQUEST` and `FIELD_INVALID` for a body that cannot be read; the deployer's, with the fields' names as they came.
    pub async fn answer(&self, deployer: &Deployer, body: &Bytes) -> Result<Value> {
        match self.method {
            Method::Get | Method::Post => {
                enrolment::enroll(deployer, &self.bearer, offer(body)?).await.map(|node| shown(&node))
            }
            Method::Put => enrolment::rotate(deployer, &self.bearer, offer(body)?).await.map(|node| shown(&node)),
            Method::Delete => {
                let left = enrolment::remove(deployer, &self.bearer).await?;
                Ok(json!({"infrastructureId": left.infrastructure_id, "nodeName": left.node_name}))
            }
        }
    }
}

fn shown(node: &Enrolled) -> Value {
    json!({
        "infrastructureId": node.infrastructure_id,
        "nodeName": node.node_name,
        "nodeId": node.node_id,
        "credential": node.credential.expose(),
    })
}

/// What a node says of itself.
fn offer(body: &Bytes) -> Result<NodeOffer> {
    let mut document = Document::of(call::json(body)?)?;
    let offer = NodeOffer {
        node_id: document.required("nodeId")?,
        url: document.required("url")?,
        external_url: document.text("externalUrl")?,
        trust_all_certificates: document.flag("trustAllCertificates")?.unwrap_or_default(),
        admin_key: Secret::new(document.required("adminKey")?),
        auditing: document.object("auditing")?,
        logging: document.object("logging")?,
    };
    match document.left.keys().next() {
        Some(unknown) => {
            Err(Error::field("FIELD_INVALID", unknown.escape_debug().to_string(), "A node has no such field."))
        }
        None => Ok(offer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(body: &Value) -> String {
        match offer(&Bytes::from(body.to_string())) {
            Err(Error::Refused(refusals)) => refusals[0].field.clone().unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_missing_wrong_or_unknown_is_named() {
        let good =
            json!({"nodeId": "n", "url": "http://n", "adminKey": "k", "externalUrl": null, "auditing": {"a": 1}});
        let read = offer(&Bytes::from(good.to_string())).unwrap();
        assert_eq!((read.node_id.as_str(), read.url.as_str(), read.external_url), ("n", "http://n", None));
        assert_eq!((read.auditing.is_some(), read.logging), (true, None));
        for (name, value) in [
            ("nodeId", Value::Null),
            ("url", json!(3)),
            ("adminKey", Value::Null),
            ("trustAllCertificates", json!("yes")),
            ("logging", json!([])),
            ("apiKey", json!("k")),
        ] {
            let mut body = good.clone();
            body[name] = value;
            assert_eq!(field(&body), name);
        }
        for body in ["", "[]", "{"] {
            let Err(Error::Refused(refusals)) = offer(&Bytes::from(body)) else { panic!("{body}") };
            assert_eq!(refusals[0].code, "BAD_REQUEST");
        }
    }
}
