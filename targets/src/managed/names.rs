//! Names that follow from what they are for, so that whoever comes after a crash finds what was made.

use ring::digest::{Context, SHA256};

/// Lower-case hexadecimal digits of the SHA-256 of these parts, each with its length: no two lists of parts run together into the same text.
pub(crate) fn hash<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>, digits: usize) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let part = part.as_ref();
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let all: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    all.chars().take(digits).collect()
}

/// `text` as people would write it in a name: lower-case letters, digits and single hyphens, a letter first, no hyphen last, at most `most` characters. Never empty.
pub(crate) fn slug(text: &str, most: usize) -> String {
    let mut made = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' => made.push(c),
            '0'..='9' if !made.is_empty() => made.push(c),
            _ if !made.is_empty() && !made.ends_with('-') => made.push('-'),
            _ => {}
        }
        if made.len() >= most {
            break;
        }
    }
    let made = made.trim_end_matches('-');
    if made.is_empty() { "s".to_owned() } else { made.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(hash(["ab", "c"], 64), hash(["a", "bc"], 64));
        assert_eq!(hash(["a"], 10), hash(["a"], 64)[..10]);
        assert_eq!(hash(Vec::<&str>::new(), 8), "e3b0c442");
    }

    #[test]
    fn slugs_are_names() {
        for (text, slug_) in [
            ("churn", "churn"),
            ("Churn_Prediction 2", "churn-prediction-2"),
            ("--9lives", "lives"),
            ("ÄÖ", "s"),
            ("", "s"),
            ("a______________________________b", "a-b"),
            ("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrst"),
            ("aaaaaaaaaaaaaaaaaaa-b", "aaaaaaaaaaaaaaaaaaa"),
        ] {
            assert_eq!(slug(text, 20), slug_, "{text}");
        }
    }
}
