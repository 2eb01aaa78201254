//! Text of others, before it goes to a terminal or into a CI job's log: nothing in it may move the cursor or command the CI system.

use serde_json::Value;

/// Without control characters (a tab apart), and without what CI systems take for commands of their own: anywhere within a line, or at its beginning.
pub(crate) fn plain(text: &str) -> String {
    let quiet: String = text.chars().map(|each| if each == '\t' || !is_control(each) { each } else { ' ' }).collect();
    // `##vso[`, `##[`, `##teamcity[`: taken wherever they stand.
    let quiet = quiet.replace("##", "# #");
    // `::error::`, `::stop-commands::`: taken at a line's beginning, whatever blanks stand before it.
    let begin = quiet.len() - quiet.trim_start().len();
    match quiet.split_at(begin) {
        (blanks, command) if command.starts_with("::") => format!("{blanks}: {}", &command[1..]),
        _ => quiet,
    }
}

/// JSON in one line that means the same, and in which nothing stands as it is that [`plain`] takes out. A line of JSON begins with a brace: no command does.
pub(crate) fn json(value: &Value) -> String {
    let mut text = String::new();
    for each in value.to_string().chars() {
        if each == '#' && text.ends_with('#') || is_control(each) {
            // Both stand inside texts alone, and fit into 16 bits.
            text.push_str(&format!("\\u{:04x}", u32::from(each)));
        } else {
            text.push(each);
        }
    }
    text
}

/// Controls, marks that change the direction of text, and what some take for the end of a line.
fn is_control(each: char) -> bool {
    each.is_control()
        || matches!(each, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_commands_a_terminal_or_a_ci_system() {
        assert_eq!(plain("a\tb é 漢"), "a\tb é 漢");
        assert_eq!(plain("\u{1b}[2Jgone\r\nline"), " [2Jgone  line");
        assert_eq!(plain("x ##vso[task.setvariable]y"), "x # #vso[task.setvariable]y");
        assert!(!plain("####[error]").contains("##["));
        assert_eq!(plain("::error::x"), ": :error::x");
        assert_eq!(plain(" \u{1b}\t\u{a0}::stop-commands::x"), "  \t\u{a0}: :stop-commands::x");
        assert_eq!(plain("a\u{2028}::error::x, std::fmt"), "a ::error::x, std::fmt");
        assert!(!plain(":::::").trim_start().starts_with("::"));
    }

    #[test]
    fn json_means_the_same_and_commands_nothing() {
        let value = json!({"##[a": "####vso[ \u{9b}2J \u{202e} \\ \" # \n", "list": ["#", "##", 1.5, null]});
        let text = json(&value);
        assert!(!text.contains("##") && !text.chars().any(is_control), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert_eq!(json(&json!({"a": 1, "b": "#"})), r##"{"a":1,"b":"#"}"##);
    }
}
