//! What a file may be called: `slipway-<12 hex>-<64 hex>.zip`, or with `-<8 hex>` before the end. No name that anybody chose ever reaches the disk.

/// A name that was checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(String);

/// What begins and ends the name of a file that has not arrived whole.
const HIDDEN: &str = ".";
const PART: &str = ".part";

impl Name {
    pub(super) fn read(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.strip_prefix("slipway-")?.strip_suffix(".zip")?.split('-').collect();
        let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
        let hex = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = matches!(lengths.as_slice(), [12, 64] | [12, 64, 8]) && parts.iter().all(hex);
        fits.then(|| Self(text.to_owned()))
    }

    /// Of an entry of the folder: its name, and whether it has arrived whole.
    pub(super) fn of_entry(entry: &str) -> Option<(Self, bool)> {
        match entry.strip_prefix(HIDDEN).and_then(|rest| rest.strip_suffix(PART)) {
            Some(name) => Some((Self::read(name)?, false)),
            None => Some((Self::read(entry)?, true)),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is called until it has arrived whole.
    pub(super) fn part(&self) -> String {
        format!("{HIDDEN}{}{PART}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hashes() {
        let (tag, sha) = ("ab".repeat(6), "0f".repeat(32));
        for good in [format!("slipway-{tag}-{sha}.zip"), format!("slipway-{tag}-{sha}-01234567.zip")] {
            let name = Name::read(&good).unwrap();
            assert_eq!(Name::of_entry(&name.part()), Some((name.clone(), false)));
            assert_eq!(Name::of_entry(&good), Some((name, true)));
        }
        for bad in [
            String::new(),
            "slipway-.zip".to_owned(),
            format!("slipway-{tag}-{sha}"),
            format!("slipway-{tag}-{}.zip", sha.to_uppercase()),
            format!("slipway-../{tag}-{sha}.zip"),
            format!("slipway-{tag}-{sha}-0123.zip"),
            format!("slipway-{tag}-{sha}-01234567-01234567.zip"),
            format!("x/slipway-{tag}-{sha}.zip"),
        ] {
            assert_eq!(Name::read(&bad), None, "{bad}");
        }
    }
}
