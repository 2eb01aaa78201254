//! What an update left otherwise than it should be, in sentences.

use serde_json::Value;

use crate::target::{Difference, Receipt};

/// So many are told one by one.
const MOST: usize = 50;
/// Of a value, so many characters.
const VALUE: usize = 300;

impl Receipt {
    /// A sentence for each difference.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.differences.iter().take(MOST).map(told).collect();
        if let more @ 1.. = self.differences.len().saturating_sub(MOST) {
            warnings.push(format!("{more} more differences are in the receipt."));
        }
        warnings
    }
}

fn told(difference: &Difference) -> String {
    let Difference { what, found, wanted } = difference;
    format!("After the update, {what}: found {}, expected {}.", shown(found), shown(wanted))
}

/// A value as people write it.
fn shown(value: &Value) -> String {
    let all = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => all(items.iter().map(shown).collect()),
        Value::Object(fields) => all(fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect()),
        plain => plain.to_string(),
    };
    match text.char_indices().nth(VALUE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn they_are_sentences() {
        let difference = |found: Value, wanted: Value| Difference { what: "the shares".to_owned(), found, wanted };
        for (found, wanted, said) in [
            (json!({"v1": 0.5, "v2": 0.5}), json!({"v1": 1}), "found v1: 0.5, v2: 0.5, expected v1: 1."),
            (json!(null), json!(["a", "b"]), "found nothing, expected a, b."),
            (json!(""), json!([]), "found an empty text, expected none."),
            (json!(true), json!("x".repeat(400)), &format!("found true, expected {}….", "x".repeat(300))),
        ] {
            assert_eq!(told(&difference(found, wanted)), format!("After the update, the shares: {said}"));
        }
        let differences = vec![difference(json!(1), json!(2)); 60];
        let warnings = Receipt { differences, ..Receipt::default() }.warnings();
        assert_eq!((warnings.len(), warnings[50].as_str()), (51, "10 more differences are in the receipt."));
    }
}
