//! What texts from outside may look like. A NUL can't be stored by PostgreSQL, and control characters are never meant in one line.

use crate::{error::Problems, names};

/// Names and labels, in characters.
pub(crate) const LINE: usize = 200;
/// Descriptions, in characters.
pub(crate) const DESCRIPTION: usize = 2_000;

/// Whether the text can be an id at all: PostgreSQL stores no NUL, and would answer the question with an error instead of a no.
pub(crate) fn storable(text: &str) -> bool {
    !text.contains('\0')
}

/// One line of at most `longest` characters; may be empty.
pub(crate) fn line(text: &str, longest: usize, field: &str, problems: &mut Problems) {
    if text.chars().count() > longest {
        problems.add("TEXT_INVALID", field, format!("At most {longest} characters."));
    } else if text.chars().any(char::is_control) {
        problems.add("TEXT_INVALID", field, "Control characters and line breaks are not allowed here.");
    }
}

/// One line that must say something.
pub(crate) fn required_line(text: &str, longest: usize, field: &str, problems: &mut Problems) {
    if text.trim().is_empty() {
        problems.add("TEXT_INVALID", field, "This must not be blank.");
    } else {
        line(text, longest, field, problems);
    }
}

/// Several lines of at most `longest` characters; may be empty.
pub(crate) fn lines(text: &str, longest: usize, field: &str, problems: &mut Problems) {
    if text.chars().count() > longest {
        problems.add("TEXT_INVALID", field, format!("At most {longest} characters."));
    } else if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        problems.add("TEXT_INVALID", field, "Control characters are not allowed here.");
    }
}

/// A login on a node: it goes into a header of requests, so it is printable ASCII.
pub(crate) fn login(text: &str, field: &str, problems: &mut Problems) {
    let fits = (1..=names::LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        let longest = names::LONGEST;
        problems.add(
            "LOGIN_INVALID",
            field,
            format!("A login has 1 to {longest} characters: ASCII letters, digits and signs, no blanks."),
        );
    }
}

/// A login of ours: a login that is also an id.
pub(crate) fn own_login(text: &str, field: &str, problems: &mut Problems) {
    let plain = !text.bytes().any(|b| matches!(b, b'/' | b'?' | b'#' | b'\\' | b'%')) && !matches!(text, "." | "..");
    if plain {
        login(text, field, problems);
    } else {
        problems.add("LOGIN_INVALID", field, "A login must not contain / ? # % or \\.");
    }
}
