//! Contracts that pass a query as it is: SageMaker and Azure ML. A body is the node's own: one query, or `{"items": [...]}` with many.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use poem::Response;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::{answer::wrong, upstream::Upstream, verb::Verb};
use crate::failure::Failure;

pub(super) async fn pass<U: Upstream>(verb: Verb, upstream: &U, body: Bytes) -> Result<Response, Failure> {
    let asked = serde_json::from_slice::<Shape>(&body);
    let asked = asked.map_err(|error| wrong("body", format!("The body must be one JSON object: {error}")))?;
    let named = match verb.many() {
        Some(many) if asked.many => many,
        _ => verb.one(),
    };
    upstream.ask(named, body).await?.pass()
}

/// Whether a body holds many queries.
struct Shape {
    many: bool,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one query, or with its queries in `items`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut many = false;
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    if name == "items" && std::mem::replace(&mut many, true) {
                        return Err(A::Error::duplicate_field("items"));
                    }
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(Shape { many })
            }
        }

        deserializer.deserialize_map(Members)
    }
}
