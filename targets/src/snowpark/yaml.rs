//! A service's specification as YAML. Every text is quoted as JSON quotes it, which YAML reads, too; so nothing in it can become structure. A dollar sign is
//! written as `\u0024`: the whole can stand between dollar signs in SQL.

use serde_json::Value;

/// Writes an object or a list as a block, everything else on one line.
pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&format!("{indent}{}:", text(key)));
                below(value, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("{indent}-"));
                below(item, depth, out);
            }
        }
        other => out.push_str(&format!("{indent}{}\n", line(other))),
    }
}

fn below(value: &Value, depth: usize, out: &mut String) {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        out.push('\n');
        block(value, depth + 1, out);
    } else {
        out.push_str(&format!(" {}\n", line(value)));
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        // Empty ones: `{}` and `[]`. Numbers, true, false, null are the same in both.
        other => other.to_string(),
    }
}

/// A text that YAML reads as this text: quoted, and with every character that YAML would not print written as its number.
fn text(string: &str) -> String {
    let mut out = String::from("\"");
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '$' => out.push_str("\\u0024"),
            ' '..='~' => out.push(c),
            c => {
                let mut units = [0; 2];
                match c.encode_utf16(&mut units) {
                    [unit] => out.push_str(&format!("\\u{unit:04x}")),
                    // YAML has no surrogates: eight digits name the character itself.
                    _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
                }
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks() {
        let value = json!({"spec": {"list": [{"a": "x", "n": 1}, "y"], "none": [], "map": {}, "yes": true}});
        let wanted = "\"spec\":\n  \"list\":\n    -\n      \"a\": \"x\"\n      \"n\": 1\n    - \"y\"\n  \"map\": {}\n  \"none\": []\n  \"yes\": true\n";
        assert_eq!(render(&value), wanted);
    }

    #[test]
    fn texts_stay_texts() {
        for (string, wanted) in [
            ("a\nspec: b", r#""a\u000aspec: b""#),
            ("\"quoted\" \\", r#""\"quoted\" \\""#),
            ("$$; DROP TABLE x; $$", r#""\u0024\u0024; DROP TABLE x; \u0024\u0024""#),
            ("{{ x }} # c", r#""{{ x }} # c""#),
            ("é\u{1F600}\u{7f}", r#""\u00e9\U0001f600\u007f""#),
            ("null", r#""null""#),
        ] {
            assert_eq!(text(string), wanted);
        }
        assert!(!render(&json!({"$$": "$"})).contains('$'));
    }
}
