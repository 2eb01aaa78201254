//! A JSON document on one line, as it came but for the white space between its parts: numbers and the order of keys stay what they were.

/// Why a document was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// Nested more deeply than allowed.
    Deep,
    /// Larger than allowed, on one line.
    Large,
}

/// Adds a document to `line`. `text` must be valid JSON, which holds no line break within its texts.
///
/// # Errors
/// [`TooMuch`]; a part of the document may have been added then.
pub fn onto_line(line: &mut Vec<u8>, text: &str, depth: usize, bytes: usize) -> Result<(), TooMuch> {
    let start = line.len();
    let text = text.as_bytes();
    let (mut at, mut kept, mut nesting) = (0, 0, 0usize);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = after_text(text, at + 1),
            b'{' | b'[' => {
                nesting += 1;
                if nesting > depth {
                    return Err(TooMuch::Deep);
                }
                at += 1;
            }
            b'}' | b']' => {
                nesting = nesting.saturating_sub(1);
                at += 1;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                line.extend_from_slice(&text[kept..at]);
                at += 1;
                kept = at;
            }
            _ => at += 1,
        }
        if line.len() - start + (at - kept) > bytes {
            return Err(TooMuch::Large);
        }
    }
    line.extend_from_slice(&text[kept.min(text.len())..]);
    Ok(())
}

/// Where the text ends whose opening quote was just read.
fn after_text(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' => break,
            _ => {}
        }
    }
    at.min(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn line(text: &str) -> String {
        let mut line = Vec::new();
        onto_line(&mut line, text, 64, 1_000).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn only_white_space_goes() {
        let given =
            "{ \"b\" :\n 1.50 ,\t\"a\": [ 1e400, \"x \\\" \\\\\" , {} ],\r\n\"big\":123456789012345678901234567890}\n";
        let wanted = "{\"b\":1.50,\"a\":[1e400,\"x \\\" \\\\\",{}],\"big\":123456789012345678901234567890}";
        assert_eq!(line(given), wanted);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let mut line = Vec::new();
        assert_eq!(onto_line(&mut line, &deep(3), 3, 100), Ok(()));
        assert_eq!(onto_line(&mut line, &deep(4), 3, 100), Err(TooMuch::Deep));
        assert_eq!(onto_line(&mut line, "\"[[[[[[\"", 3, 100), Ok(()));
        let mut line = vec![b'x'; 50];
        assert_eq!(onto_line(&mut line, "[1,2]", 3, 5), Ok(()), "what was there before does not count");
        assert_eq!(onto_line(&mut line, "[1, 22]", 3, 5), Err(TooMuch::Large));
        assert_eq!(onto_line(&mut line, "[1,      2]", 3, 5), Ok(()), "nor does white space");
    }

    proptest! {
        #[test]
        fn what_it_says_stays(texts in proptest::collection::vec(".{0,12}", 0..6), n in any::<i64>()) {
            let value = serde_json::json!({ "texts": texts, "n": n, "deep": { "er": [null, true] } });
            let shown = serde_json::to_string_pretty(&value).unwrap();
            let line = line(&shown);
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(&line, &serde_json::to_string(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }
    }
}
