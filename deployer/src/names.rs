//! Ids that people choose.

use targets::http::unseen;

use crate::error::Problems;

/// Ids that mean something in a path of the REST API.
const RESERVED: [&str; 3] = ["stages", "infras", "bundles"];

/// The longest id, in characters.
pub const LONGEST: usize = 100;

/// Whether the id is kept for a path of the REST API.
pub fn is_reserved(id: &str) -> bool {
    RESERVED.contains(&id)
}

/// Notes what is wrong with an id: `/ ? #` break the paths into which clients paste ids unescaped; control characters and blanks at the ends
/// are never meant, and characters that nobody sees make two ids look like one.
pub fn check(id: &str, field: &str, problems: &mut Problems) {
    if id.trim().is_empty() {
        problems.add("ID_INVALID", field, "An id must not be blank.");
    } else if id.chars().count() > LONGEST {
        problems.add("ID_INVALID", field, format!("An id has at most {LONGEST} characters."));
    } else if matches!(id, "." | "..") {
        problems.add("ID_INVALID", field, "An id must not be . or .., which mean folders in a path.");
    } else if id.trim() != id
        || id.chars().any(|c| matches!(c, '/' | '?' | '#' | '\\' | '%') || c.is_control() || unseen(c))
    {
        problems.add(
            "ID_INVALID",
            field,
            "An id must not contain / ? # % \\ or control or invisible characters, nor begin or end with a blank.",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_no_part_of_an_id() {
        let fine = |id: &str| {
            let mut problems = Problems::default();
            check(id, "id", &mut problems);
            problems.check().is_ok()
        };
        assert!(fine("Produktion Süd") && fine("本番"));
        for bad in ["prod\u{200b}", "prod\u{202e}", "\u{feff}prod", "pr\u{ad}od", "a/b", "a\nb", " a", "..", ""] {
            assert!(!fine(bad), "{bad:?}");
        }
    }
}
