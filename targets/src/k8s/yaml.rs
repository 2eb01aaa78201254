//! YAML that somebody typed: bounded in size, depth and number of nodes, without aliases, tags or merge keys.

use serde_json::Value;
use serde_saphyr::{MergeKeyPolicy, Options};

/// Longer texts are refused, in bytes.
pub(super) const MOST_BYTES: usize = 256 * 1024;
const MOST_DEPTH: usize = 24;
const MOST_NODES: usize = 20_000;
/// More documents in one text are refused.
const MOST_DOCUMENTS: usize = 20;

/// Why a text is no YAML that is read here. `Display` is for the user, and holds nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum YamlError {
    #[error("has more than {MOST_BYTES} bytes")]
    TooLong,
    #[error("is no YAML as it is read here, without anchors, tags and keys that stand there twice, at most {MOST_DEPTH} levels deep and of {MOST_DOCUMENTS} documents{}", .0.map_or_else(String::new, |line| format!(" (line {line})")))]
    Malformed(Option<u64>),
}

/// The documents of a text, as JSON; empty ones are left out.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    if text.len() > MOST_BYTES {
        return Err(YamlError::TooLong);
    }
    // The error's own words quote the text, which may hold secrets: only the line is kept.
    let malformed = |error: serde_saphyr::Error| YamlError::Malformed(error.location().map(|location| location.line()));
    let all = serde_saphyr::from_multiple_with_options::<Value>(text, options()).map_err(malformed)?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_anchors: 0,
        max_aliases: 0,
        max_merge_keys: 0,
        max_depth: MOST_DEPTH,
        flow_nesting_limit: MOST_DEPTH,
        max_nodes: MOST_NODES,
        max_events: 3 * MOST_NODES,
        max_documents: MOST_DOCUMENTS,
        max_total_scalar_bytes: MOST_BYTES,
    };
    serde_saphyr::options! {
        budget: budget,
        merge_keys: MergeKeyPolicy::Error,
        // As Kubernetes' own reader would not: `on` and `0755` stay what they look like.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_documents() {
        let text = "a: 1\nb: [x, \"2\", true, on, ~]\n---\n---\nc: {d: \"e\"}\n";
        let read = documents(text).unwrap();
        assert_eq!(read, [json!({"a": 1, "b": ["x", "2", true, "on", null]}), json!({"c": {"d": "e"}})]);
        assert_eq!(documents("# nothing\n").unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn refuses_what_costs() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let block: String = (0..100).map(|n| format!("{}a:\n", "  ".repeat(n))).collect();
        let many = "---\na: 1\n".repeat(MOST_DOCUMENTS + 1);
        let wide = format!("a: [{}]", "1,".repeat(MOST_NODES));
        let twice = "a: 1\na: 2\n";
        let merged = "a: {<<: {b: 1}}\n";
        for text in [bomb, &deep, &block, &many, &wide, twice, merged, "a: &x 1\n", "\ta: [", "a: 'sëcret"] {
            let error = documents(text).unwrap_err();
            assert!(matches!(error, YamlError::Malformed(_)), "{error}");
            assert!(!error.to_string().contains("cret"));
        }
        assert_eq!(documents(&"a".repeat(MOST_BYTES + 1)), Err(YamlError::TooLong));
    }
}
