//! Bounds on what one GraphQL document may ask, checked before the library's own parser and rules see it.
//!
//! The parser recurses into nested values, and the library's own checks follow each use of a fragment: a short document of nested fragments
//! keeps them busy for hours. So the text is measured first, in one pass, then the fields are counted with each fragment looked at once.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    ErrorExtensionValues, ObjectType, Request, SchemaBuilder, ServerError, ServerResult, SubscriptionType,
    ValidationResult,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest, NextValidation},
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

use crate::settings::Limits;

/// Puts all bounds on a schema.
pub fn apply<Q, M, S>(builder: SchemaBuilder<Q, M, S>, limits: &Limits) -> SchemaBuilder<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    builder
        .limit_depth(limits.depth)
        .limit_complexity(limits.complexity)
        .limit_recursive_depth(limits.depth.max(32))
        .limit_directives(limits.directives)
        .extension(Guard(limits.clone()))
}

/// The bounds as an extension of a schema.
#[derive(Clone, Debug)]
pub struct Guard(Limits);

impl ExtensionFactory for Guard {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Extension for Guard {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        mut request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        measure(&request.query, &self.0)?;
        count(request.parsed_query()?, &self.0)?;
        next.run(ctx, request).await
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        // The library's own two limits say neither how much is allowed nor what to do.
        let explained = |error: ServerError| match error.message.as_str() {
            "Query is too complex." => over(
                "points of complexity. Ask for smaller pages (first), or for fewer lists inside of lists",
                self.0.complexity,
            ),
            "Query is nested too deep." => over("levels of fields", self.0.depth),
            _ => error,
        };
        next.run(ctx).await.map_err(|errors| errors.into_iter().map(explained).collect())
    }
}

fn over(what: &str, limit: usize) -> ServerError {
    let mut error = ServerError::new(format!("This document is over the limit of {limit} {what}."), None);
    let mut values = ErrorExtensionValues::default();
    values.set("code", "DOCUMENT_OVER_LIMIT");
    error.extensions = Some(values);
    error
}

/// Measures the text, in one pass without recursion: length, words and signs, nesting.
pub(crate) fn measure(text: &str, limits: &Limits) -> ServerResult<()> {
    if text.len() > limits.bytes {
        return Err(over("bytes", limits.bytes));
    }
    let bytes = text.as_bytes();
    let (mut at, mut tokens, mut nesting) = (0, 0usize, 0usize);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'#' => {
                at += bytes[at..].iter().take_while(|b| !matches!(b, b'\n' | b'\r')).count();
                continue;
            }
            b'"' => at = after_string(bytes, at),
            b'{' | b'[' | b'(' => {
                nesting += 1;
                if nesting > limits.nesting {
                    return Err(over("levels of nesting", limits.nesting));
                }
            }
            b'}' | b']' | b')' => nesting = nesting.saturating_sub(1),
            b' ' | b'\t' | b'\n' | b'\r' | b',' => continue,
            b if is_word(b) => at += bytes[at..].iter().take_while(|b| is_word(**b)).count(),
            _ => {}
        }
        tokens += 1;
        if tokens > limits.tokens {
            return Err(over("words and signs", limits.tokens));
        }
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where the string ends whose opening quote was just read.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    if bytes[at..].starts_with(b"\"\"") {
        at += 2;
        while at < bytes.len() {
            if bytes[at..].starts_with(b"\\\"\"\"") {
                at += 4;
            } else if bytes[at..].starts_with(b"\"\"\"") {
                return at + 3;
            } else {
                at += 1;
            }
        }
        return at;
    }
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' | b'\n' => break,
            _ => {}
        }
    }
    at.min(bytes.len())
}

#[derive(Clone, Copy, Default)]
struct Size {
    fields: usize,
    aliases: usize,
}

#[derive(Clone, Copy)]
enum Visit {
    Open,
    Done(Size),
}

/// Counts fields and aliases as if every fragment were written out where it is used.
pub(crate) fn count(document: &ExecutableDocument, limits: &Limits) -> ServerResult<()> {
    let mut seen = HashMap::new();
    let mut all = Size::default();
    for (_, operation) in document.operations.iter() {
        let size = size_of(document, &operation.node.selection_set.node, &mut seen)?;
        all.fields = all.fields.saturating_add(size.fields);
        all.aliases = all.aliases.saturating_add(size.aliases);
    }
    if all.fields > limits.fields {
        return Err(over("fields", limits.fields));
    }
    if all.aliases > limits.aliases {
        return Err(over("aliases", limits.aliases));
    }
    Ok(())
}

/// Recursion is bounded: in a selection by the measured nesting, through fragments by their number.
fn size_of<'d>(
    document: &'d ExecutableDocument,
    set: &'d SelectionSet,
    seen: &mut HashMap<&'d str, Visit>,
) -> ServerResult<Size> {
    let mut size = Size::default();
    for selection in &set.items {
        // The use of a fragment counts, too: a fragment that holds nothing but unknown ones would weigh nothing.
        size.fields = size.fields.saturating_add(1);
        let inner = match &selection.node {
            Selection::Field(field) => {
                size.aliases = size.aliases.saturating_add(usize::from(field.node.alias.is_some()));
                size_of(document, &field.node.selection_set.node, seen)?
            }
            Selection::InlineFragment(fragment) => size_of(document, &fragment.node.selection_set.node, seen)?,
            Selection::FragmentSpread(spread) => {
                fragment_size(document, spread.node.fragment_name.node.as_str(), seen)?
            }
        };
        size.fields = size.fields.saturating_add(inner.fields);
        size.aliases = size.aliases.saturating_add(inner.aliases);
    }
    Ok(size)
}

fn fragment_size<'d>(
    document: &'d ExecutableDocument,
    name: &str,
    seen: &mut HashMap<&'d str, Visit>,
) -> ServerResult<Size> {
    const MOST_OPEN: usize = 32;
    // An unknown fragment is refused by the library's rules, later.
    let Some((name, fragment)) = document.fragments.get_key_value(name) else { return Ok(Size::default()) };
    match seen.get(name.as_str()) {
        Some(Visit::Done(size)) => return Ok(*size),
        Some(Visit::Open) => return Err(ServerError::new("A fragment must not contain itself.", Some(fragment.pos))),
        None => {}
    }
    if seen.values().filter(|visit| matches!(visit, Visit::Open)).count() >= MOST_OPEN {
        return Err(over("fragments inside one another", MOST_OPEN));
    }
    seen.insert(name.as_str(), Visit::Open);
    let size = size_of(document, &fragment.node.selection_set.node, seen)?;
    seen.insert(name.as_str(), Visit::Done(size));
    Ok(size)
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::{Limits, count, measure};

    fn small() -> Limits {
        Limits { bytes: 1_000, tokens: 40, nesting: 5, aliases: 2, fields: 20, ..Limits::default() }
    }

    #[test]
    fn text_is_measured() {
        let sound = |text: &str| measure(text, &small()).is_ok();
        assert!(sound("{ a(x: \"{{{{{{{{\") { b } }"), "brackets in a string are none");
        assert!(sound("{ a(x: \"\"\"{{{{{{ \\\"\"\" {{{{{{ \"\"\") { b } }"), "nor in a block string");
        assert!(sound("# {{{{{{{{\n{ a }"), "nor in a comment");
        assert!(!sound("{a{a{a{a{a{a}}}}}}"));
        assert!(!sound("{a(x:[[[[[1]]]]])}"));
        assert!(!sound(&"a ".repeat(41)));
        assert!(sound(&"abc, \n".repeat(40)));
        assert!(!sound(&" ".repeat(1_001)));
        for cut in ["\"", "\"\\", "\"\"\"", "\"\"\"\\", "#", "{\"a"] {
            assert!(sound(cut), "{cut}: the end is no error here");
        }
    }

    #[test]
    fn fragments_are_counted_where_they_are_used() {
        let refused = |text: &str| count(&parse_query(text).unwrap(), &small()).err().map(|e| e.message);
        assert_eq!(refused("{ a b c ... on Q { d } ...F } fragment F on Q { e f: g }"), None);
        assert!(refused("{ a: x b: x c: x }").unwrap().contains("aliases"));
        assert!(refused("{ ...F ...F ...F } fragment F on Q { a: x }").unwrap().contains("aliases"));
        assert!(refused("{ ...F } fragment F on Q { a ...F }").unwrap().contains("itself"));
        let mut bomb = String::from("{ ...F0 }");
        for n in 0..25 {
            bomb.push_str(&format!(" fragment F{n} on Q {{ ...F{} ...F{} }}", n + 1, n + 1));
        }
        bomb.push_str(" fragment F25 on Q { a }");
        assert!(refused(&bomb).unwrap().contains("fields"));
        let mut chain = String::from("{ ...F0 }");
        for n in 0..40 {
            chain.push_str(&format!(" fragment F{n} on Q {{ ...F{} }}", n + 1));
        }
        chain.push_str(" fragment F40 on Q { a }");
        assert!(refused(&chain).unwrap().contains("inside one another"));
    }
}
