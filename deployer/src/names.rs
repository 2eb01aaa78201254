//! Ids that people choose.

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
/// are never meant.
pub fn check(id: &str, field: &str, problems: &mut Problems) {
    if id.trim().is_empty() {
        problems.add("ID_INVALID", field, "An id must not be blank.");
    } else if id.chars().count() > LONGEST {
        problems.add("ID_INVALID", field, format!("An id has at most {LONGEST} characters."));
    } else if id.trim() != id
        || id.chars().any(|c| matches!(c, '/' | '?' | '#' | '\\' | '%') || c.is_control())
        || id == "."
        || id == ".."
    {
        problems.add(
            "ID_INVALID",
            field,
            "An id must not contain / ? # % \\ or control characters, nor begin or end with a blank.",
        );
    }
}
