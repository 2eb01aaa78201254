//! Projects and API services are published, permitted, uploaded and deployed by the same rules, in the same tables. There a service's key is `api/ID`: no project can
//! have it, since a key has no slash, and what was made for keys holds for it. Nobody outside this crate sees that form.

use sea_orm::{ColumnTrait, Condition};
use targets::target::Half;

use crate::error::{Error, Result};

/// What the key of a published service begins with.
const SERVICE: &str = "api/";

/// The key of a published service.
pub(crate) fn service_key(id: &str) -> String {
    format!("{SERVICE}{id}")
}

/// The id of the published service that has this key; None if it is a project's.
pub fn service_id(key: &str) -> Option<&str> {
    key.strip_prefix(SERVICE)
}

/// What people call the published project, or service, of this key.
pub fn shown(key: &str) -> &str {
    service_id(key).unwrap_or(key)
}

/// What it is.
pub fn half_of(key: &str) -> Half {
    if service_id(key).is_some() { Half::Api } else { Half::Project }
}

/// The key of what people call so.
pub(crate) fn key_of(half: Half, id: &str) -> String {
    match half {
        Half::Project => id.to_owned(),
        Half::Api => service_key(id),
    }
}

/// The rows of one half, by a column that holds keys.
pub(crate) fn of_half(column: impl ColumnTrait, half: Half) -> Condition {
    let services = column.starts_with(SERVICE);
    match half {
        Half::Project => Condition::all().add(services).not(),
        Half::Api => Condition::all().add(services),
    }
}

/// Refuses a key of the other half, as one that is not there.
pub(crate) fn require(half: Half, key: &str, field: &str) -> Result<()> {
    if half_of(key) == half { Ok(()) } else { Err(Error::not_found(field)) }
}

/// How texts name what is published.
pub(crate) fn noun(half: Half) -> &'static str {
    match half {
        Half::Project => "published project",
        Half::Api => "published service",
    }
}

/// How texts name one of its packages.
pub(crate) fn package(half: Half) -> &'static str {
    match half {
        Half::Project => "bundle",
        Half::Api => "version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_project_has_the_key_of_a_service() {
        assert_eq!((service_id("api/fraud"), service_id("fraud")), (Some("fraud"), None));
        assert_eq!((shown("api/fraud"), shown("fraud")), ("fraud", "fraud"));
        let mut problems = crate::error::Problems::default();
        crate::names::check(&service_key("fraud"), "key", &mut problems);
        assert!(problems.check().is_err());
    }
}
