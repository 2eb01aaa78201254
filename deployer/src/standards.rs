//! Project standards: what the design node's checks found, as the report in a bundle tells it.

use entities::bundle;
use sea_orm::{ConnectionTrait, EntityTrait as _, QuerySelect as _};
use serde_json::Value;
use targets::http::unseen;

use crate::error::Result;

/// The key of the report in a manifest.
const REPORT: &str = "projectStandardsReport";
/// So many findings are told; the rest is counted.
const MOST: usize = 20;
/// The longest text of a finding, in characters.
const LONGEST: usize = 300;
/// The words for severities 1 to 5.
const SEVERITIES: [&str; 5] = ["LOWEST", "LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// The report in a bundle's manifest; None when there is none.
#[must_use]
pub fn report_of(manifest: &Value) -> Option<&Value> {
    manifest.get(REPORT).filter(|report| !report.is_null())
}

/// What is wrong with a bundle by its report, each a sentence; empty if nothing is. A bundle without a report, or with one that can't be read, was
/// not found good by anybody.
pub(crate) fn findings(report: Option<&Value>) -> Vec<String> {
    let Some(report) = report else { return vec!["The bundle has no project standards report.".to_owned()] };
    let Some(checks) = report.get("bundleChecksRunInfo").and_then(Value::as_object) else {
        return vec!["The bundle's project standards report can't be read: it has no bundleChecksRunInfo.".to_owned()];
    };
    if checks.is_empty() {
        return vec!["The bundle's project standards report has no check: nothing was looked at.".to_owned()];
    }
    let mut found: Vec<String> = checks.iter().filter_map(|(id, run)| finding(id, run)).collect();
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    if more > 0 {
        found.push(format!("{more} more checks of the project standards found something."));
    }
    found
}

fn finding(id: &str, run: &Value) -> Option<String> {
    let result = &run["result"];
    let severity = result["severity"].as_u64();
    let what = match (result["status"].as_str(), severity) {
        (Some("NOT_APPLICABLE"), _) | (Some("RUN_SUCCESS"), Some(0)) => return None,
        (Some("RUN_SUCCESS"), Some(n)) => {
            let word = usize::try_from(n).ok().and_then(|n| SEVERITIES.get(n - 1)).copied().unwrap_or("unknown");
            format!("found something of severity {word}")
        }
        (Some("RUN_ERROR"), _) => "could not be run".to_owned(),
        _ => "has no result that can be read".to_owned(),
    };
    let name = run["check"]["name"].as_str().filter(|name| !name.trim().is_empty()).unwrap_or(id);
    let message = result["message"].as_str().map(shown).filter(|message| !message.trim().is_empty());
    let said = message.map(|message| format!(": {message}")).unwrap_or_default();
    Some(format!("The project standards check \"{}\" {what}{said}", shown(name)))
}

/// A stranger's words: cut to length, and without what changes how others are shown.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !unseen(*c)).map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

/// The same of a stored bundle; None when it is gone.
pub(crate) async fn of_bundle<C: ConnectionTrait>(
    db: &C,
    project_key: &str,
    bundle_id: &str,
) -> Result<Option<Vec<String>>> {
    let query = bundle::Entity::find_by_id((project_key.to_owned(), bundle_id.to_owned()));
    let manifest: Option<String> = query.select_only().column(bundle::Column::Manifest).into_tuple().one(db).await?;
    let Some(manifest) = manifest else { return Ok(None) };
    let manifest: Value = serde_json::from_str(&manifest)?;
    Ok(Some(findings(report_of(&manifest))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(status: &str, severity: Option<u64>, message: &str) -> Value {
        json!({"check": {"name": "No hard-coded keys"}, "result": {"status": status, "severity": severity, "message": message}})
    }

    #[test]
    fn each_result_means_what_the_client_says() {
        let report = |run: Value| json!({"projectKey": "CHURN", "bundleChecksRunInfo": {"c1": run}});
        for good in [run("RUN_SUCCESS", Some(0), ""), run("NOT_APPLICABLE", None, "")] {
            assert_eq!(findings(Some(&report(good))), [""; 0]);
        }
        // Nobody looked at anything.
        assert_eq!(findings(Some(&json!({"bundleChecksRunInfo": {}}))).len(), 1);
        for (run, words) in [
            (run("RUN_SUCCESS", Some(1), "one"), "severity LOWEST: one"),
            (run("RUN_SUCCESS", Some(5), "five\u{202e}\n"), "severity CRITICAL: five "),
            (run("RUN_SUCCESS", Some(9), ""), "severity unknown"),
            (run("RUN_SUCCESS", None, ""), "no result that can be read"),
            (run("RUN_ERROR", None, "boom"), "could not be run: boom"),
            (json!({}), "no result that can be read"),
            (json!(3), "no result that can be read"),
        ] {
            let found = findings(Some(&report(run)));
            assert!(found.len() == 1 && found[0].ends_with(words), "{found:?}");
        }
        assert_eq!(findings(None).len(), 1);
        assert_eq!(findings(Some(&json!([]))).len(), 1);
    }

    #[test]
    fn findings_are_bounded() {
        let checks: serde_json::Map<_, _> =
            (0..100).map(|n| (n.to_string(), run("RUN_ERROR", None, &"x".repeat(10_000)))).collect();
        let found = findings(Some(&json!({"bundleChecksRunInfo": checks})));
        assert_eq!(found.len(), MOST + 1);
        assert!(found.iter().all(|text| text.chars().count() < 500));
        assert!(found[MOST].starts_with("80 more"));
    }
}
