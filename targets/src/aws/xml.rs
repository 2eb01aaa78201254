//! The text of an element of a small XML document, for the few answers that AWS gives in XML. No document is built, nothing is expanded.

/// More than this is not looked at, in bytes.
const MOST: usize = 256 * 1024;

/// The text of the first element of this name that holds nothing but text; without its prefix, entities resolved.
pub(crate) fn text(document: &[u8], name: &str) -> Option<String> {
    let document = std::str::from_utf8(&document[..document.len().min(MOST)]).ok()?;
    let mut rest = document;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, content) = after.split_once('>')?;
        rest = content;
        let local = tag.split([' ', '\t', '\r', '\n', '/']).next().unwrap_or_default();
        if local.rsplit(':').next() != Some(name) || tag.ends_with('/') || tag.starts_with('/') {
            continue;
        }
        let (inside, closing) = content.split_once('<')?;
        if closing.strip_prefix('/').is_some_and(|end| end.trim_start().starts_with(local)) {
            return resolved(inside.trim());
        }
    }
    None
}

/// With the five entities of XML and numeric ones; None when one is another.
fn resolved(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (entity, after) = after.split_once(';')?;
        out.push_str(before);
        out.push(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            other => {
                let number = other.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::text;

    const ANSWER: &str = r#"<?xml version="1.0"?>
        <a:AssumeRoleResponse xmlns:a="https://sts.amazonaws.com/doc/2011-06-15/">
          <AssumeRoleResult><Credentials>
            <AccessKeyId>ASIA1</AccessKeyId ><SecretAccessKey lang="x"> a&amp;b&#47;&#x2b;&lt;c </SecretAccessKey>
            <Empty/><None></None><Expiration>2026-01-02T03:04:05Z</Expiration>
          </Credentials></AssumeRoleResult>
        </a:AssumeRoleResponse>"#;

    #[test]
    fn elements_are_read() {
        let read = |name: &str| text(ANSWER.as_bytes(), name);
        assert_eq!(read("AccessKeyId").as_deref(), Some("ASIA1"));
        assert_eq!(read("SecretAccessKey").as_deref(), Some("a&b/+<c"));
        assert_eq!(read("Expiration").as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(read("None").as_deref(), Some(""));
        // What holds elements, is empty, or is not there, has no text.
        for name in ["Credentials", "Empty", "Other", "AssumeRoleResponse"] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_document_has_no_elements() {
        for bad in ["", "<", "<a", "<a>", "<a>x", "<a>x<b>y</b>", "<a>&x;</a>", "<a>&amp</a>", "<a>&#xD800;</a>"] {
            assert_eq!(text(bad.as_bytes(), "a"), None, "{bad}");
        }
        assert_eq!(text(b"<a>\xff</a>", "a"), None);
    }
}
