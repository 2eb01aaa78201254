//! Answers in an API node's own form, from platforms that ask for many queries at once and give the results alone.

use serde_json::{Value, json};

use crate::image::contract::EndpointType;

/// Whether the node takes many queries of this kind in one body, as `items`.
pub(crate) fn takes_many(kind: EndpointType) -> bool {
    use EndpointType as E;
    match kind {
        E::StdPrediction
        | E::StdClustering
        | E::StdCausalPrediction
        | E::StdMultitargetPrediction
        | E::CustomPrediction
        | E::CustomRPrediction
        | E::DatasetsLookup => true,
        // The items of a forecast are one query.
        E::StdForecast | E::RFunction | E::PyFunction | E::SqlQuery => false,
    }
}

/// What the node would answer to one query whose result is this.
pub(crate) fn one(kind: EndpointType, result: Value) -> Value {
    match kind {
        EndpointType::DatasetsLookup => json!({"results": [result]}),
        kind if takes_many(kind) => json!({"result": result}),
        // It is the node's whole answer.
        _ => result,
    }
}

/// What the node would answer to many.
pub(crate) fn many(results: Vec<Value>) -> Value {
    json!({"results": results})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_in_its_form() {
        assert_eq!(one(EndpointType::StdPrediction, json!(1)), json!({"result": 1}));
        assert_eq!(one(EndpointType::StdCausalPrediction, json!(1)), json!({"result": 1}));
        assert_eq!(one(EndpointType::DatasetsLookup, json!(1)), json!({"results": [1]}));
        assert_eq!(one(EndpointType::PyFunction, json!({"response": 1})), json!({"response": 1}));
        assert_eq!(one(EndpointType::StdForecast, json!({"results": []})), json!({"results": []}));
        assert_eq!(many(vec![json!(1)]), json!({"results": [1]}));
    }
}
