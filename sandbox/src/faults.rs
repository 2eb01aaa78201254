//! Faults: what a test or a demonstration can make go wrong, and for which calls.

use serde::{Deserialize, Serialize};

/// One fault, armed for calls that match.
///
/// As JSON: `{"method": "POST", "path": "/projects/*/bundles/imported/*/actions/activate", "kind": "STATUS", "status": 503}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The HTTP method; any, when absent.
    #[serde(default)]
    pub method: Option<String>,
    /// The path without its base. `*` stands for one segment, a last `**` for any number of them, `X*` for a segment
    /// that begins with `X`.
    pub path: String,
    /// The first matching call that is hit, from 1 (the default).
    #[serde(default = "one")]
    pub nth: u32,
    /// How many calls are hit from then on; 1 when absent, `None` (null) = all.
    #[serde(default = "once")]
    pub count: Option<u32>,
    /// What happens to them.
    #[serde(flatten)]
    pub kind: FaultKind,
}

fn one() -> u32 {
    1
}

fn once() -> Option<u32> {
    Some(1)
}

/// What a fault does to a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// No effect; this status with an error object.
    Status {
        /// 400 to 599.
        status: u16,
        /// `errorType` of the error object.
        #[serde(default)]
        error_type: Option<String>,
        /// `message` and `detailedMessage` of the error object.
        #[serde(default)]
        message: Option<String>,
        /// The `Retry-After` header, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// No effect; an HTML page with this status where JSON belongs.
    Html {
        /// Such as 200 or 502.
        status: u16,
    },
    /// No effect; 302 to this address.
    Redirect {
        /// The `Location` header.
        location: String,
    },
    /// No effect; a report with this error inside a 200.
    ReportError {
        /// Such as `ERR_BUNDLE_ACTIVATE_MISSING_CONNECTION`.
        code: String,
        /// The text of the message.
        message: String,
    },
    /// No effect; the connection is reset, no answer.
    Reset,
    /// No effect; this many bytes of the request's body are read, then the connection is reset.
    CutUpload {
        /// Bytes.
        after_bytes: u64,
    },
    /// The effect; then the connection is closed in the middle of the answer's body, before Content-Length is reached.
    CutAnswer,
    /// The effect; then the connection is reset without an answer.
    LostAnswer,
    /// Waits until released, then goes on as if nothing had been.
    Hold {
        /// Before the effect, or after it and before the answer.
        when: When,
    },
    /// The effect; then the answer's body in pieces of `chunk` bytes, one each `pause_ms` milliseconds.
    Trickle {
        /// Bytes, at least 1.
        chunk: usize,
        /// Milliseconds.
        pause_ms: u64,
    },
}

impl FaultKind {
    /// The name in the log of calls.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "STATUS",
            Self::Html { .. } => "HTML",
            Self::Redirect { .. } => "REDIRECT",
            Self::ReportError { .. } => "REPORT_ERROR",
            Self::Reset => "RESET",
            Self::CutUpload { .. } => "CUT_UPLOAD",
            Self::CutAnswer => "CUT_ANSWER",
            Self::LostAnswer => "LOST_ANSWER",
            Self::Hold { .. } => "HOLD",
            Self::Trickle { .. } => "TRICKLE",
        }
    }
}

/// Where a held call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum When {
    /// Before the effect. Of an upload, nothing was read yet.
    Before,
    /// After the effect, before the answer.
    After,
}

impl Fault {
    /// A fault for the next call of this method and path.
    pub fn on(method: &str, path: &str, kind: FaultKind) -> Self {
        Self { method: Some(method.to_owned()), path: path.to_owned(), nth: 1, count: Some(1), kind }
    }

    /// From the `nth` matching call on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// For `count` calls.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self { count: Some(count), ..self }
    }

    /// For all calls until it is disarmed.
    #[must_use]
    pub fn for_ever(self) -> Self {
        Self { count: None, ..self }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let status = match self.kind {
            FaultKind::Status { status, .. } if !(400..600).contains(&status) => Some(status),
            FaultKind::Html { status } if !(200..600).contains(&status) => Some(status),
            _ => None,
        };
        if let Some(status) = status {
            return Err(format!("{status} is no status for this kind of fault"));
        }
        if self.nth == 0 {
            return Err("nth counts from 1".to_owned());
        }
        if matches!(self.kind, FaultKind::Trickle { chunk: 0, .. }) {
            return Err("chunk is at least 1".to_owned());
        }
        let header_breaker = |text: &str| text.chars().any(char::is_control);
        if matches!(&self.kind, FaultKind::Redirect { location } if header_breaker(location)) {
            return Err("location has control characters".to_owned());
        }
        Ok(())
    }

    pub(crate) fn matches(&self, method: &str, segments: &[String]) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path_matches(&self.path, segments)
    }
}

fn path_matches(pattern: &str, segments: &[String]) -> bool {
    let mut rest = segments.iter();
    for wanted in pattern.split('/').filter(|segment| !segment.is_empty()) {
        if wanted == "**" {
            return true;
        }
        let Some(segment) = rest.next() else { return false };
        let same = match wanted.strip_suffix('*') {
            Some(beginning) => segment.starts_with(beginning),
            None => segment == wanted,
        };
        if !same {
            return false;
        }
    }
    rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn patterns() {
        for (pattern, path, matches) in [
            ("/projects/*/settings", "/projects/K/settings", true),
            ("/projects/*/settings", "/projects/K/variables", false),
            ("/projects/*/settings", "/projects/settings", false),
            ("/projects/**", "/projects/K/scenarios/S", true),
            ("/projects/K*/settings", "/projects/K2/settings", true),
            ("/projects", "/projects/K", false),
            ("**", "/anything", true),
        ] {
            assert_eq!(path_matches(pattern, &segments(path)), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn a_fault_reads_as_json() -> Result<(), serde_json::Error> {
        let fault: Fault =
            serde_json::from_value(json!({"path": "/users", "kind": "STATUS", "status": 503, "retryAfter": 2}))?;
        assert_eq!((fault.nth, fault.count), (1, Some(1)));
        assert!(matches!(fault.kind, FaultKind::Status { status: 503, retry_after: Some(2), .. }));
        let fault: Fault =
            serde_json::from_value(json!({"path": "/users", "kind": "HOLD", "when": "AFTER", "count": null}))?;
        assert!(fault.count.is_none());
        Ok(())
    }
}
