//! Text of others, before it goes to a terminal or into a CI job's log: nothing in it may move the cursor or command the CI system.

/// Without control characters (a tab apart), and without what CI systems take for commands of their own within a line.
pub(crate) fn plain(text: &str) -> String {
    let quiet: String = text.chars().map(|each| if each == '\t' || !is_control(each) { each } else { ' ' }).collect();
    // `##vso[`, `##[`, `##teamcity[`: taken wherever they stand.
    quiet.replace("##", "# #")
}

/// Controls, and marks that change the direction of text.
fn is_control(each: char) -> bool {
    each.is_control() || matches!(each, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_commands_a_terminal_or_a_ci_system() {
        assert_eq!(plain("a\tb é 漢"), "a\tb é 漢");
        assert_eq!(plain("\u{1b}[2Jgone\r\nline"), " [2Jgone  line");
        assert_eq!(plain("x ##vso[task.setvariable]y"), "x # #vso[task.setvariable]y");
        assert!(!plain("####[error]").contains("##["));
    }
}
