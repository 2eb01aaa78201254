//! What an act is about, and what became of it.

use std::borrow::Cow;

use engine::secrets::ApiKey;

use crate::halves;

/// The most characters of an id that a record holds.
const LONGEST: usize = 200;
/// So many characters has an API key's id. What follows them is secret.
const KEY_ID: usize = 12;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$one:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$one])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its stable name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The one of this name.
            pub fn of(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }
    };
}

words!(
    /// The kind of thing that an act is about.
    ObjectKind {
        /// An infrastructure, with its settings, rights and hooks.
        Infrastructure = "INFRASTRUCTURE",
        /// A published project.
        PublishedProject = "PUBLISHED_PROJECT",
        /// A published API service.
        PublishedService = "PUBLISHED_SERVICE",
        /// A version of a published API service: `SERVICE/VERSION`.
        ServiceVersion = "SERVICE_VERSION",
        /// A connection to a platform.
        Connection = "CONNECTION",
        /// A bundle: `PROJECT/ID`.
        Bundle = "BUNDLE",
        /// A deployment.
        Deployment = "DEPLOYMENT",
        /// An update.
        Update = "UPDATE",
        /// A stage: `LIST/ID`; a whole list: `LIST`.
        Stage = "STAGE",
        /// A user.
        User = "USER",
        /// A group.
        Group = "GROUP",
        /// An API key, by its id.
        ApiKey = "API_KEY",
        /// A pool of slots.
        Pool = "POOL",
        /// A worker.
        Worker = "WORKER",
        /// What somebody else asked us to keep: its type.
        Custom = "CUSTOM",
        /// Further refusals, too many to be kept one by one.
        Many = "MANY",
    }
);

words!(
    /// What became of an act.
    Outcome {
        /// It was done; without changed values there was nothing left to do.
        Done = "DONE",
        /// Refused: nothing was changed.
        Refused = "REFUSED",
        /// It failed on our side. When the connection was lost in the commit, it may have been done; then that has its own record.
        Failed = "FAILED",
    }
);

/// The thing that an act is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// What kind of thing.
    pub kind: ObjectKind,
    /// Its id, as far as one was given.
    pub id: String,
    /// The infrastructure that the act concerns, if the thing itself does not tell.
    pub(crate) infrastructure: Option<String>,
    /// The published project that the act concerns, if the thing itself does not tell.
    pub(crate) project: Option<String>,
}

impl Object {
    /// A thing of this kind. The id may be any text that somebody sent.
    pub fn new(kind: ObjectKind, id: &str) -> Self {
        let id = if kind == ObjectKind::ApiKey { tidy(&key_id(id)) } else { tidy(&without_keys(id)) };
        let infrastructure = (kind == ObjectKind::Infrastructure).then(|| id.clone());
        let project = (kind == ObjectKind::PublishedProject).then(|| id.clone());
        Self { kind, id, infrastructure, project }
    }

    /// A bundle of a published project.
    pub fn bundle(project: &str, id: &str) -> Self {
        let project = tidy(project);
        Self { project: Some(project.clone()), ..Self::new(ObjectKind::Bundle, &format!("{project}/{id}")) }
    }

    /// A published API service, by the id that people call it by.
    pub fn service(id: &str) -> Self {
        let project = Some(tidy(&halves::service_key(id)));
        Self { project, ..Self::new(ObjectKind::PublishedService, id) }
    }

    /// A version of a published API service.
    pub fn version(service: &str, version: &str) -> Self {
        let project = Some(tidy(&halves::service_key(service)));
        Self { project, ..Self::new(ObjectKind::ServiceVersion, &format!("{}/{version}", tidy(service))) }
    }

    /// What is published under this key, of whichever half.
    pub(crate) fn published(key: &str) -> Self {
        match halves::service_id(key) {
            Some(id) => Self::service(id),
            None => Self::new(ObjectKind::PublishedProject, key),
        }
    }

    /// It concerns these, too.
    #[must_use]
    pub fn on(self, infrastructure: &str, project: &str) -> Self {
        Self { infrastructure: Some(tidy(infrastructure)), project: Some(tidy(project)), ..self }
    }
    /// It concerns this published service, too.
    #[must_use]
    pub fn on_service(self, infrastructure: &str, service: &str) -> Self {
        self.on(infrastructure, &halves::service_key(service))
    }
}

/// Somebody may have sent a whole key for its id, or what they take for one.
fn key_id(id: &str) -> Cow<'_, str> {
    match (ApiKey::parse(id), id.char_indices().nth(KEY_ID)) {
        (Some(key), _) => key.prefix().to_owned().into(),
        (None, Some((end, _))) => format!("{}…", &id[..end]).into(),
        (None, None) => id.into(),
    }
}

/// Somebody may have sent a key for any id: of it stays what names it.
fn without_keys(id: &str) -> String {
    let in_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let cut = |piece: &str| {
        let end = piece.find(|c| !in_key(c)).unwrap_or(piece.len());
        match ApiKey::parse(&piece[..end]) {
            Some(key) => format!("{}…{}", key.prefix(), &piece[end..]),
            None => piece.to_owned(),
        }
    };
    // A piece is what a key may be, and what follows it up to the next.
    id.split_inclusive(|c| !in_key(c)).map(cut).collect()
}

/// Ids in a record are one short line that every database takes. What is cut or replaced can't be an id of ours.
fn tidy(id: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    match id.char_indices().nth(LONGEST) {
        None => id.chars().map(plain).collect(),
        Some((end, _)) => id[..end].chars().map(plain).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_record_is_one_short_line() {
        assert_eq!(Object::new(ObjectKind::User, "a\0b\n").id, "a\u{fffd}b\u{fffd}");
        let long = Object::new(ObjectKind::User, &"ä".repeat(1_000)).id;
        assert_eq!(long.chars().count(), 201);
        let key = ApiKey::generate();
        assert_eq!(Object::new(ObjectKind::ApiKey, key.expose()).id, key.prefix());
        assert_eq!(Object::new(ObjectKind::ApiKey, key.prefix()).id, key.prefix());
        let broken = Object::new(ObjectKind::ApiKey, &format!("{}!", key.expose())).id;
        assert_eq!(broken, format!("{}…", key.prefix()));
        let sent = format!("x {}, y", key.expose());
        assert_eq!(Object::new(ObjectKind::Deployment, &sent).id, format!("x {}…, y", key.prefix()));
        assert_eq!(Object::new(ObjectKind::Group, key.expose()).id, format!("{}…", key.prefix()));
        assert!(ObjectKind::ALL.iter().all(|kind| ObjectKind::of(kind.as_str()) == Some(*kind)));
    }
}
