//! What the page of an error code tells people to do.

/// By code, in order: made from docs/errors when this was built.
static ADVICE: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/advice.rs"));

/// What to do about this code, if this version knows it.
pub(crate) fn on(code: &str) -> Option<&'static str> {
    let at = ADVICE.binary_search_by_key(&code, |(known, _)| known).ok()?;
    ADVICE.get(at).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_found_and_plain() {
        assert!(ADVICE.len() > 150, "{}", ADVICE.len());
        assert!(on("HOOK_RAISED").unwrap().starts_with("Mend the hook"));
        assert_eq!(on("NO_SUCH_CODE"), None);
        for (code, advice) in ADVICE {
            assert_eq!(on(code), Some(*advice));
            assert!(!advice.contains("](") && !advice.contains('\n'), "{code}: {advice}");
        }
    }
}
