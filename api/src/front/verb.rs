//! What an API node is asked to do, and how its bodies are made.

use bytes::Bytes;
use serde_json::value::RawValue;

/// What the node does with an endpoint: the last part of a query's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Predictions of all kinds.
    Predict,
    /// Causal predictions.
    PredictEffect,
    /// Forecasts.
    Forecast,
    /// Rows of datasets by their key.
    Lookup,
    /// SQL.
    Query,
    /// Functions.
    Run,
}

impl Verb {
    /// For one query.
    pub fn one(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::PredictEffect => "predict-effect",
            Self::Forecast => "forecast",
            Self::Lookup => "lookup",
            Self::Query => "query",
            Self::Run => "run",
        }
    }

    /// For many queries in one body, where the node takes them so.
    pub fn many(self) -> Option<&'static str> {
        match self {
            Self::Predict => Some("predict-multi"),
            Self::PredictEffect => Some("predict-effect-multi"),
            Self::Lookup => Some("lookup-multi"),
            Self::Forecast | Self::Query | Self::Run => None,
        }
    }

    /// The member of a query's body that holds what is asked about, where there is one.
    pub(super) fn wrapper(self) -> Option<&'static str> {
        match self {
            Self::Predict | Self::PredictEffect => Some("features"),
            Self::Lookup => Some("data"),
            Self::Forecast | Self::Query | Self::Run => None,
        }
    }

    /// One query's body: `asked` itself where it is one already, else in its wrapper.
    pub(super) fn body(self, asked: &RawValue, body: &mut Vec<u8>) {
        match self.wrapper().filter(|wrapper| !is_wrapped(asked, wrapper)) {
            None => body.extend_from_slice(asked.get().as_bytes()),
            Some(wrapper) => {
                for part in ["{\"", wrapper, "\":", asked.get(), "}"] {
                    body.extend_from_slice(part.as_bytes());
                }
            }
        }
    }

    /// The body of many queries, with further members; `more` is a JSON object, without its closing brace, or empty.
    pub(super) fn bodies(self, asked: &[&RawValue], more: &[(&str, &RawValue)]) -> Bytes {
        let length = asked.iter().map(|each| each.get().len() + 16).sum::<usize>() + 64;
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(b"{\"items\":[");
        for (n, each) in asked.iter().enumerate() {
            if n > 0 {
                body.push(b',');
            }
            self.body(each, &mut body);
        }
        body.push(b']');
        for (name, value) in more {
            for part in [",\"", name, "\":", value.get()] {
                body.extend_from_slice(part.as_bytes());
            }
        }
        body.push(b'}');
        body.into()
    }
}

/// Whether this is an object whose member `wrapper` is an object: a whole query. A feature's value is none.
fn is_wrapped(asked: &RawValue, wrapper: &str) -> bool {
    let members: Result<std::collections::BTreeMap<std::borrow::Cow<'_, str>, &RawValue>, _> =
        serde_json::from_str(asked.get());
    members.is_ok_and(|members| members.get(wrapper).is_some_and(|value| value.get().starts_with('{')))
}
