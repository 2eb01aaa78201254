//! Where files lie that all processes share: a folder, or a bucket of an object store.
//!
//! What opens a bucket is not part of its address: it comes from the environment, under the names that the vendors' own tools use (`AWS_…`, `AZURE_…`, `GOOGLE_…`), or from
//! the machine's own identity. So no configuration file, no process list and no log shows it.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path,
    prefix::PrefixStore,
};
use url::Url;

/// How long calls may take: a large package takes hours to read, while it moves. What is sent must be there and answered within the read timeout: a part of a package, a file of
/// events.
const TIMES: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "5 seconds"),
    (ClientConfigKey::ReadTimeout, "60 seconds"),
    (ClientConfigKey::Timeout, "24 hours"),
];
/// What fails for a moment is tried again so often, and for so long.
const RETRIES: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(90);
/// So much of what a store says is repeated, in characters.
const SAID: usize = 1_000;

/// A place for files.
#[derive(Clone, Debug)]
pub enum Location {
    /// A folder, which may be shared by machines.
    Folder(PathBuf),
    /// A bucket, or what is below a prefix of one.
    Bucket(Bucket),
}

/// A bucket of S3, Azure Blob Storage or Google Cloud Storage.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    address: Url,
}

/// Why a location can't be used. `Display` is for whoever configured it.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Another kind of store.
    #[error(
        "\"{scheme}://…\" is no place that is known. Set a path, file:///…, s3://BUCKET/…, az://CONTAINER/… or gs://BUCKET/…."
    )]
    Unsupported {
        /// What came before `://`.
        scheme: String,
    },
    /// The address, or what the environment says of it.
    #[error("{address} can't be used: {problem}")]
    Invalid {
        /// Which bucket.
        address: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Location {
    /// The place that a setting names: a path, `file://` and an absolute path (taken as it is, without percent signs decoded), `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or
    /// `gs://BUCKET/PREFIX`, where the prefix may be left out. Nothing is made, and nobody is asked.
    ///
    /// # Errors
    /// [`LocationError`].
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(Self::Folder(text.into())) };
        if scheme.eq_ignore_ascii_case("file") && rest.starts_with('/') {
            return Ok(Self::Folder(rest.into()));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "s3" | "az" | "gs" => Bucket::open(text).map(Self::Bucket),
            _ => Err(LocationError::Unsupported { scheme: scheme.to_owned() }),
        }
    }
}

impl Bucket {
    fn open(text: &str) -> Result<Self, LocationError> {
        // An address with a password in it is not repeated.
        let scheme = text.split(':').next().unwrap_or_default();
        let unreadable =
            |problem: &str| LocationError::Invalid { address: format!("{scheme}://…"), problem: problem.to_owned() };
        let address =
            Url::parse(text).map_err(|error| unreadable(&format!("{error}. Write {scheme}://NAME/PREFIX.")))?;
        let plain = address.username().is_empty()
            && address.password().is_none()
            && address.port().is_none()
            && address.query().is_none()
            && address.fragment().is_none();
        if !plain || address.host_str().is_none_or(str::is_empty) {
            return Err(unreadable(
                "it is a name and a prefix, and nothing else. What opens it comes from the environment (AWS_…, AZURE_…, GOOGLE_…).",
            ));
        }
        let of = |error: &dyn fmt::Display| LocationError::Invalid {
            address: address.to_string(),
            problem: error.to_string(),
        };
        let prefix = Path::from_url_path(address.path()).map_err(|error| of(&error))?;
        let root = format!("{}://{}", address.scheme(), address.host_str().unwrap_or_default());
        let store = of_scheme(&root).map_err(|error| of(&error))?;
        let store: Arc<dyn ObjectStore> =
            if prefix.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self { store, address })
    }

    /// What there is in it.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Looks whether it is there and may be read: at a start, so that a wrong name is not found out by the first upload.
    ///
    /// # Errors
    /// [`LocationError::Invalid`] with what the store said, or that it can't be reached.
    pub async fn check(&self) -> Result<(), LocationError> {
        match self.store.list(None).next().await {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                let told: Vec<_> = error.to_string().split_whitespace().map(str::to_owned).collect();
                let problem = told.join(" ").chars().take(SAID).collect();
                Err(LocationError::Invalid { address: self.to_string(), problem })
            }
        }
    }
}

fn of_scheme(root: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
    Ok(match root.split(':').next() {
        Some("s3") => {
            let mut builder = AmazonS3Builder::from_env().with_url(root).with_retry(retry);
            // One is deleted at a time, and stores that only speak S3 know that best.
            builder = builder.with_disable_bulk_delete(true);
            for (key, value) in TIMES {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
            }
            Arc::new(builder.build()?)
        }
        Some("az") => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_url(root).with_retry(retry);
            for (key, value) in TIMES {
                builder = builder.with_config(AzureConfigKey::Client(key), value);
            }
            Arc::new(builder.build()?)
        }
        _ => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_url(root).with_retry(retry);
            for (key, value) in TIMES {
                builder = builder.with_config(GoogleConfigKey::Client(key), value);
            }
            Arc::new(builder.build()?)
        }
    })
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address.as_str())
    }
}

/// Without the store's own settings, which hold what opens it.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_taken_as_they_are() {
        for (text, folder) in [("data/x", "data/x"), ("/a b", "/a b"), ("file:///a%20b", "/a%20b"), ("FILE:///a", "/a")]
        {
            match Location::parse(text) {
                Ok(Location::Folder(found)) => assert_eq!(found, PathBuf::from(folder), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_address_is_told_without_its_secrets() {
        for text in ["http://x/y", "ftp://x", "file://x/y", "://x"] {
            assert!(matches!(Location::parse(text), Err(LocationError::Unsupported { .. })), "{text}");
        }
        let hostile = [
            "s3://",
            "s3:///a",
            "s3://user:pa55@bucket/a",
            "gs://bucket/a?token=pa55",
            "az://box:80/a",
            "s3://bucket/a/%2e%2e/b#pa55",
        ];
        for text in hostile {
            let error = Location::parse(text).unwrap_err();
            assert!(matches!(error, LocationError::Invalid { .. }), "{text}: {error}");
            assert!(!error.to_string().contains("pa55"), "{error}");
        }
    }
}
