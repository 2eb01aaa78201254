//! Names and texts inside SQL and URLs. Whatever somebody typed goes through here, and can't leave its place.

/// Snowflake's own limit, in characters.
const LONGEST: usize = 255;

/// The name of an object, as Snowflake keeps it: `sales` that was typed is `SALES`; `"Sales"` that was typed is `Sales`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ident(String);

/// Why a text is no name. `Display` is for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentError {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {LONGEST} characters")]
    TooLong,
    #[error(
        "letters, digits, \"_\" and \"$\" are allowed, not beginning with a digit; anything else must stand in double quotes"
    )]
    Unquoted,
    #[error("a double quote inside double quotes must be written twice")]
    Quotes,
    #[error("it has characters that can't be seen")]
    Unseen,
    #[error("it has too many parts, or too few")]
    Parts,
}

impl Ident {
    /// Reads a name as people write it.
    pub(crate) fn parse(text: &str) -> Result<Self, IdentError> {
        let text = text.trim();
        let name = match text.strip_prefix('"') {
            Some(rest) => unquoted(rest.strip_suffix('"').ok_or(IdentError::Quotes)?)?,
            None if text.is_empty() => return Err(IdentError::Empty),
            None if is_plain(text) => text.to_ascii_uppercase(),
            None => return Err(IdentError::Unquoted),
        };
        Self::exact(&name)
    }

    /// A name as Snowflake keeps it.
    pub(crate) fn exact(name: &str) -> Result<Self, IdentError> {
        if name.is_empty() {
            return Err(IdentError::Empty);
        }
        if name.chars().count() > LONGEST {
            return Err(IdentError::TooLong);
        }
        if name.chars().any(|c| c.is_control() || crate::http::unseen(c)) {
            return Err(IdentError::Unseen);
        }
        Ok(Self(name.to_owned()))
    }

    /// Reads `a`, `a.b` or `a.b.c`: at least and at most so many parts.
    pub(crate) fn parse_path(text: &str, least: usize, most: usize) -> Result<Vec<Self>, IdentError> {
        let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
        for c in text.trim().chars() {
            match c {
                '.' if !quoted => parts.push(std::mem::take(&mut part)),
                c => {
                    quoted ^= c == '"';
                    part.push(c);
                }
            }
        }
        parts.push(part);
        if parts.len() < least || parts.len() > most {
            return Err(IdentError::Parts);
        }
        parts.iter().map(|part| Self::parse(part)).collect()
    }

    /// As Snowflake keeps it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands in SQL: always quoted.
    pub(crate) fn sql(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// As it stands in a URL or a body of the REST API: quoted where it must be.
    pub(crate) fn rest(&self) -> String {
        if self.is_plain() { self.0.clone() } else { self.sql() }
    }

    /// Whether it needs no quotes.
    pub(crate) fn is_plain(&self) -> bool {
        is_plain(&self.0) && !self.0.contains(|c: char| c.is_ascii_lowercase())
    }
}

impl std::fmt::Display for Ident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.rest())
    }
}

/// Several names as one path of SQL.
pub(crate) fn path(parts: &[&Ident]) -> String {
    parts.iter().map(|part| part.sql()).collect::<Vec<_>>().join(".")
}

/// A text as a literal of SQL.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() && u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// A text of many lines as a constant: between dollar signs, and as a literal where it has two of them in a row, by which it would end early.
pub(crate) fn block(text: &str) -> String {
    if text.contains("$$") { literal(text) } else { format!("$$\n{text}\n$$") }
}

fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
}

fn unquoted(inside: &str) -> Result<String, IdentError> {
    let mut out = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c == '"' && chars.next() != Some('"') {
            return Err(IdentError::Quotes);
        }
        out.push(c);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_place() {
        for (typed, sql, rest) in [
            ("sales", "\"SALES\"", "SALES"),
            ("\"SALES\"", "\"SALES\"", "SALES"),
            ("\"Sales\"", "\"Sales\"", "\"Sales\""),
            ("_a$1", "\"_A$1\"", "_A$1"),
            ("\"a\"\"; drop table x; --\"", "\"a\"\"; drop table x; --\"", "\"a\"\"; drop table x; --\""),
            ("\"a.b/../c?x#y\"", "\"a.b/../c?x#y\"", "\"a.b/../c?x#y\""),
            ("\"$$\"", "\"$$\"", "\"$$\""),
        ] {
            let name = Ident::parse(typed).unwrap();
            assert_eq!((name.sql().as_str(), name.rest().as_str()), (sql, rest), "{typed}");
            assert_eq!(Ident::parse(&name.sql()), Ok(name.clone()));
            assert_eq!(Ident::parse(&name.rest()), Ok(name));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        use IdentError as E;
        let long = "a".repeat(256);
        for (typed, error) in [
            ("", E::Empty),
            ("  ", E::Empty),
            ("\"\"", E::Empty),
            ("a b", E::Unquoted),
            ("1a", E::Unquoted),
            ("a;drop table x", E::Unquoted),
            ("a'", E::Unquoted),
            ("a\"b", E::Unquoted),
            ("a--", E::Unquoted),
            ("a.b", E::Unquoted),
            ("ä", E::Unquoted),
            ("\"a\"; drop table x; --\"", E::Quotes),
            ("\"a", E::Quotes),
            ("\"", E::Quotes),
            ("\"a\"\"", E::Quotes),
            ("\"a\nb\"", E::Unseen),
            ("\"a\u{0}b\"", E::Unseen),
            ("\"a\u{202e}b\"", E::Unseen),
            (long.as_str(), E::TooLong),
        ] {
            assert_eq!(Ident::parse(typed), Err(error), "{typed:?}");
        }
    }

    #[test]
    fn paths_are_parted_outside_quotes() {
        let names = |text: &str| {
            Ident::parse_path(text, 1, 3).map(|all| all.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names("a.\"b.c\".d"), Ok(vec!["A".into(), "b.c".into(), "D".into()]));
        assert_eq!(names("\"a\"\".\"\"b\""), Ok(vec!["a\".\"b".into()]));
        assert_eq!(names("a.b.c.d"), Err(IdentError::Parts));
        assert_eq!(names("a..b"), Err(IdentError::Empty));
        assert_eq!(names("a.b; drop"), Err(IdentError::Unquoted));
    }

    #[test]
    fn texts_stay_in_their_place() {
        assert_eq!(literal("it's \\' a\n"), r"'it''s \\'' a\u000a'");
        assert_eq!(block("a"), "$$\na\n$$");
        assert_eq!(block("$a$b$"), "$$\n$a$b$\n$$");
        assert_eq!(block("a$$; drop table x; $$"), "'a$$; drop table x; $$'");
        assert_eq!(block("it's $$"), "'it''s $$'");
    }
}
