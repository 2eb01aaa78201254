//! What the credentials may do with a resource, as the platform itself says it.

use serde::Deserialize;

use super::arm::Arm;
use crate::http::CallError;

const VERSION: &str = "2022-04-01";

/// One grant: what it gives, less what it excepts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Permission {
    actions: Vec<String>,
    not_actions: Vec<String>,
}

/// Of these actions, those that no grant at this resource gives.
pub(crate) async fn missing<'a>(arm: &Arm, resource: &[&str], needed: &[&'a str]) -> Result<Vec<&'a str>, CallError> {
    let path = [resource, &["providers", "Microsoft.Authorization", "permissions"]].concat();
    let listed = arm.list(&path, VERSION, "reading the rights of the credentials").await?;
    let grants: Vec<Permission> =
        listed.into_iter().map(|one| serde_json::from_value(one).unwrap_or_default()).collect();
    Ok(needed.iter().copied().filter(|action| !grants.iter().any(|grant| grant.gives(action))).collect())
}

impl Permission {
    fn gives(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        any(&self.actions) && !any(&self.not_actions)
    }
}

/// Whether a pattern with stars covers an action; case does not matter.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| action.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_actions() {
        for (pattern, action, covered) in [
            ("*", "Microsoft.X/y/read", true),
            ("*/read", "Microsoft.X/y/read", true),
            ("*/read", "Microsoft.X/y/write", false),
            ("microsoft.x/*/write", "Microsoft.X/y/z/write", true),
            ("Microsoft.X/y/read", "Microsoft.X/y/read", true),
            ("Microsoft.X/y", "Microsoft.X/y/read", false),
            ("Microsoft.X/*/a/*", "Microsoft.X/b/a/c", true),
            ("Microsoft.X/*/a/*", "Microsoft.X/b/c", false),
            ("", "Microsoft.X/y/read", false),
            ("*ab", "ab", true),
        ] {
            assert_eq!(matches(pattern, action), covered, "{pattern} {action}");
        }
    }

    #[test]
    fn an_exception_takes_away() {
        let grant = Permission { actions: vec!["*".to_owned()], not_actions: vec!["*/delete".to_owned()] };
        assert!(grant.gives("A/b/write") && !grant.gives("A/b/delete"));
    }
}
