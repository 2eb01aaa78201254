//! Secrets in what a hook says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// What stands in a secret's place.
const MASK: &str = "********";
/// Forms other than the plain one are looked for if the secret has at least so many bytes: the encoding of less is everywhere.
const ENCODED_FROM: usize = 6;

/// Finds secrets, also those in base64 (at any offset: `user:secret` too), percent-encoded, in hexadecimal, or escaped as in JSON.
pub(super) struct Masks {
    /// Longest first for the same first byte; none empty.
    needles: Vec<Vec<u8>>,
    longest: usize,
    first: [bool; 256],
}

impl Masks {
    /// Each line of a secret of several lines is one of its own, since output is masked line by line.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles = Vec::new();
        for secret in secrets {
            for line in secret.lines().map(str::trim).filter(|line| !line.is_empty()) {
                add_forms(line, &mut needles);
            }
        }
        needles.sort_unstable_by(|a: &Vec<u8>, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        let mut first = [false; 256];
        for byte in needles.iter().filter_map(|needle| needle.first()) {
            first[usize::from(*byte)] = true;
        }
        Self { longest: needles.first().map_or(0, Vec::len), needles, first }
    }

    /// Bytes of the longest form: how far a cut line must be read on, so that no half of a secret stays.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The first `keep` bytes of `line` with the secrets that begin in them masked; broken UTF-8 and control characters (save the tab)
    /// become U+FFFD: they could steer a terminal, and a database refuses some.
    pub(super) fn line(&self, line: &[u8], keep: usize) -> String {
        self.cleaned(line, keep, false)
    }

    /// A text of several lines.
    pub(super) fn text(&self, text: &str) -> String {
        self.cleaned(text.as_bytes(), text.len(), true)
    }

    fn cleaned(&self, bytes: &[u8], keep: usize, newlines: bool) -> String {
        let masked = self.masked(bytes, keep);
        let broken = |c: char| c.is_control() && c != '\t' && !(newlines && c == '\n');
        String::from_utf8_lossy(&masked)
            .chars()
            .map(|c| if broken(c) { char::REPLACEMENT_CHARACTER } else { c })
            .collect()
    }

    fn masked(&self, bytes: &[u8], keep: usize) -> Vec<u8> {
        let keep = keep.min(bytes.len());
        let mut out = Vec::with_capacity(keep);
        let mut at = 0;
        while at < keep {
            match self.end_of_match(bytes, at) {
                Some(mut end) => {
                    // Forms may overlap: all that any of them covers goes.
                    let mut inside = at + 1;
                    while inside < end {
                        end = end.max(self.end_of_match(bytes, inside).unwrap_or(end));
                        inside += 1;
                    }
                    out.extend_from_slice(MASK.as_bytes());
                    at = end;
                }
                None => {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
        }
        out
    }

    /// Where the longest form that begins at `at` ends.
    fn end_of_match(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = &bytes[at..];
        if !self.first[usize::from(*rest.first()?)] {
            return None;
        }
        self.needles.iter().find(|needle| rest.starts_with(needle)).map(|needle| at + needle.len())
    }
}

fn add_forms(secret: &str, needles: &mut Vec<Vec<u8>>) {
    needles.push(secret.as_bytes().to_vec());
    if secret.len() < ENCODED_FROM {
        return;
    }
    for shift in 0..3 {
        let mut padded = vec![0; shift];
        padded.extend_from_slice(secret.as_bytes());
        let text = STANDARD_NO_PAD.encode(&padded);
        // The characters that the secret's own bits decide, whatever stands before and after it.
        let core = &text[(shift * 8).div_ceil(6)..padded.len() * 8 / 6];
        needles.push(core.as_bytes().to_vec());
        needles.push(core.replace('+', "-").replace('/', "_").into_bytes());
    }
    for (upper, safe) in [(true, ""), (true, "/"), (false, ""), (false, "/")] {
        let encoded = percent(secret, upper, safe);
        needles.push(encoded.replace("%20", "+").into_bytes());
        needles.push(encoded.into_bytes());
    }
    let hexadecimal: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    needles.push(hexadecimal.to_uppercase().into_bytes());
    needles.push(hexadecimal.into_bytes());
    if let Some(inner) =
        serde_json::to_string(secret).ok().and_then(|text| Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    {
        needles.push(inner.into_bytes());
    }
}

fn percent(text: &str, upper: bool, safe: &str) -> String {
    text.bytes()
        .map(|b| match char::from(b) {
            c if c.is_ascii_alphanumeric() || "-_.~".contains(c) || safe.contains(c) => c.to_string(),
            _ if upper => format!("%{b:02X}"),
            _ => format!("%{b:02x}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const SECRET: &str = "s3cr?t/k+y~w";

    #[test]
    fn every_form_is_masked() {
        let masks = Masks::new([SECRET]);
        for before in ["", "a", "ab", "abc"] {
            let line = format!("{before}{SECRET}:x");
            for shown in [
                line.clone(),
                STANDARD.encode(&line),
                URL_SAFE.encode(&line),
                percent(&line, true, ""),
                percent(&line, false, "/"),
            ] {
                let masked = masks.text(&shown);
                assert!(masked.contains(MASK), "{shown} -> {masked}");
                assert!(!masked.contains("k+y") && !masked.contains("k%2"), "{masked}");
            }
        }
    }

    #[test]
    fn a_cut_leaves_no_half_secret() {
        let masks = Masks::new([SECRET]);
        let line = format!("{SECRET}{SECRET}-{SECRET}");
        for keep in 0..=line.len() {
            let masked = masks.line(line.as_bytes(), keep);
            assert!(masked.chars().all(|c| c == '*' || c == '-'), "{keep}: {masked}");
        }
    }

    #[test]
    fn overlapping_secrets_go_together() {
        let masks = Masks::new(["abcabc", "cabcd"]);
        assert_eq!(masks.text("xabcabcdx"), format!("x{MASK}x"));
        assert_eq!(Masks::new([""]).text("as it was"), "as it was");
        assert_eq!(Masks::new(["line one\nline two\n"]).text("a line two"), format!("a {MASK}"));
    }

    #[test]
    fn nothing_steers_a_terminal() {
        let masks = Masks::new([]);
        assert_eq!(masks.line(b"a\x1b[2Jb\0\tc\xff", 99), "a\u{fffd}[2Jb\u{fffd}\tc\u{fffd}");
    }
}
