//! Topics and routing keys. They become folders, and whoever sends them chooses them: a name can neither leave its place nor hide.

use std::fmt::Write as _;

/// The longest name, in bytes, before and after it was escaped: what file systems allow one folder.
pub const LONGEST: usize = 255;

/// The folder of a name: letters, digits, `-`, `_` and `.` stand for themselves, any other byte as `%` and two hexadecimal digits; so does a dot at the
/// beginning. Two names never share a folder, and `..` is none.
///
/// # Errors
/// What is wrong with the name, in a sentence.
pub fn folder(name: &str) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("This must not be empty.");
    }
    if name.chars().any(char::is_control) {
        return Err("This must not hold control characters.");
    }
    let mut folder = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if at == 0 => folder.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => folder.push(char::from(byte)),
            // Writing into a text does not fail.
            _ => drop(write!(folder, "%{byte:02X}")),
        }
        if folder.len() > LONGEST {
            return Err(
                "This is too long: as a folder it may have 255 characters, and each byte that is no letter, digit, '-', '_' or '.' takes three.",
            );
        }
    }
    Ok(folder)
}

/// Whether a text is the folder of some name.
pub fn is_folder(text: &str) -> bool {
    let mut bytes = text.bytes();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let digit = |byte: Option<u8>| byte.is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    !text.is_empty()
        && text.len() <= LONGEST
        && !text.starts_with('.')
        && std::iter::from_fn(|| {
            bytes.next().map(|byte| plain(byte) || (byte == b'%' && digit(bytes.next()) && digit(bytes.next())))
        })
        .all(|sound| sound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_stay_in_their_place() {
        for (name, wanted) in [
            ("apinode-query", "apinode-query"),
            ("churn.v2_x", "churn.v2_x"),
            ("..", "%2E."),
            (".", "%2E"),
            (".slipway", "%2Eslipway"),
            ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            ("/etc", "%2Fetc"),
            ("a\\b", "a%5Cb"),
            ("a b%c", "a%20b%25c"),
            ("ä", "%C3%A4"),
            ("a:b*?\"<>|", "a%3Ab%2A%3F%22%3C%3E%7C"),
        ] {
            assert_eq!(folder(name).unwrap(), wanted, "{name}");
        }
        for bad in ["", "a\0b", "a\nb", "\u{7f}", "a\u{85}"] {
            assert!(folder(bad).is_err(), "{bad:?}");
        }
        assert_eq!(folder(&"a".repeat(255)).unwrap().len(), 255);
        assert!(folder(&"a".repeat(256)).is_err() && folder(&"/".repeat(86)).is_err());
    }

    #[test]
    fn folders_are_told_from_other_texts() {
        for bad in ["", ".", "..", ".a", "a/b", "a%", "a%2", "a%2f", "%zz", "a b"] {
            assert!(!is_folder(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn two_names_never_share_a_folder(one in ".{0,20}", other in ".{0,20}") {
            if let (Ok(a), Ok(b)) = (folder(&one), folder(&other)) {
                prop_assert_eq!(one == other, a == b);
                prop_assert!(is_folder(&a) && !a.contains('/') && a != "." && a != "..");
            }
        }
    }
}
