//! Why an archive is refused.

use std::io;

use crate::error::{Error, Refusal};

/// Why an archive is refused, or could not be read. `Display` is the sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No zip archive at all.
    #[error(
        "The file is not a zip archive. Upload the archive as it was exported, not unpacked and not in another format."
    )]
    NotAZip,
    /// The end is missing, or does not fit the rest.
    #[error(
        "The archive is incomplete: its end is missing or damaged. Export it again, or copy it again, and repeat the upload."
    )]
    Truncated,
    /// An entry needs a password.
    #[error("The archive is encrypted. Upload it without a password.")]
    Encrypted,
    /// It unpacks to more than is allowed.
    #[error(
        "The archive unpacks to {unpacked} bytes; the limit is {limit}. Leave data out of the package, or ask an administrator to raise the limit."
    )]
    TooLarge {
        /// Declared, in bytes.
        unpacked: u64,
        /// In bytes.
        limit: u64,
    },
    /// It unpacks to far more than its own size: a bomb.
    #[error(
        "The archive unpacks to more than {limit} times its own size. Leave out the files that are mostly empty or repeated, and export it again."
    )]
    RatioTooHigh {
        /// Unpacked bytes for each byte of the archive.
        limit: u64,
    },
    /// More entries, or a larger table of contents, than allowed.
    #[error(
        "The archive has too many files: {limit} are allowed, with names of a sensible length. Leave data out of the package."
    )]
    TooManyEntries {
        /// How many are allowed.
        limit: u64,
    },
    /// Two entries of one name: which one counts depends on the reader.
    #[error("The archive holds two files named \"{entry}\". Export it again with each file once.")]
    Duplicate {
        /// Its name, made fit for a message.
        entry: String,
    },
    /// Two entries share bytes.
    #[error("The archive is malformed: files in it overlap. Export it again with another zip program.")]
    Overlapping,
    /// The structure or an entry's content is wrong.
    #[error("The archive is damaged: {what}. Export it again and repeat the upload.")]
    Corrupt {
        /// Where, made fit for a message.
        what: String,
    },
    /// An entry that must be read is packed in a way that this build can't unpack.
    #[error(
        "\"{entry}\" in the archive is compressed with a method that Slipway does not read. Export the archive with the usual method, deflate."
    )]
    CompressionUnsupported {
        /// Its name.
        entry: String,
    },
    /// The manifest is too large.
    #[error("The manifest of the archive is larger than {limit} bytes. Shorten it.")]
    ManifestTooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The manifest holds too many values, however short they are.
    #[error("The manifest of the archive holds more than {limit} JSON values. Shorten it.")]
    ManifestTooManyValues {
        /// How many are allowed.
        limit: u64,
    },
    /// The manifest is no JSON of the described form.
    #[error("{file} is not valid at {path}: {problem}. Mend it there and upload the archive again.")]
    ManifestInvalid {
        /// Which manifest.
        file: &'static str,
        /// Where: a JSON path such as `connections[2].name`.
        path: String,
        /// What is wrong, without values.
        problem: String,
    },
    /// A manifest of a later format.
    #[error(
        "The manifest has format version {found}; this Slipway reads up to version {newest}. Upgrade Slipway, or export the archive for version {newest}."
    )]
    FormatUnsupported {
        /// Of the manifest.
        found: u64,
        /// That we read.
        newest: u64,
    },
    /// Nothing says which project it is.
    #[error(
        "The bundle does not say which project it belongs to. Add bundle-manifest.json with \"projectKey\", or include the project's own settings."
    )]
    NoProjectKey,
    /// The project key can't be used as an id.
    #[error("The bundle's project key cannot be used. {problem}")]
    ProjectKeyInvalid {
        /// What is wrong with it.
        problem: String,
    },
    /// The bundle id is missing or can't be used.
    #[error(
        "The bundle has no usable id. {problem} Set \"bundleId\" in bundle-manifest.json; without a manifest, name the file after the bundle, such as v12.zip."
    )]
    BundleIdInvalid {
        /// What is wrong with it.
        problem: String,
    },
    /// A service version without manifest.
    #[error(
        "The archive has no service.json at its root, so it is not an API service version. Upload the archive of a service version."
    )]
    ServiceManifestMissing,
    /// An id of the service can't be used.
    #[error("\"{field}\" in service.json cannot be used. {problem}")]
    ServiceIdInvalid {
        /// `serviceId` or `generation`.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The file could not be read back: ours to mend.
    #[error("The upload could not be read back from disk. Try again; if it goes on, tell an operator.")]
    Read(#[source] io::Error),
}

impl ArchiveError {
    /// The stable name, each with its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAZip => "BUNDLE_NOT_A_ZIP",
            Self::Truncated => "BUNDLE_TRUNCATED",
            Self::Encrypted => "BUNDLE_ENCRYPTED",
            Self::TooLarge { .. } | Self::RatioTooHigh { .. } => "BUNDLE_TOO_LARGE",
            Self::TooManyEntries { .. } => "BUNDLE_TOO_MANY_ENTRIES",
            Self::Duplicate { .. } => "BUNDLE_DUPLICATE_ENTRY",
            Self::Overlapping => "BUNDLE_OVERLAPPING_ENTRIES",
            Self::Corrupt { .. } => "BUNDLE_CORRUPT",
            Self::CompressionUnsupported { .. } => "BUNDLE_COMPRESSION_UNSUPPORTED",
            Self::ManifestTooLarge { .. } | Self::ManifestTooManyValues { .. } => "BUNDLE_MANIFEST_TOO_LARGE",
            Self::ManifestInvalid { .. } => "BUNDLE_MANIFEST_INVALID",
            Self::FormatUnsupported { .. } => "BUNDLE_FORMAT_UNSUPPORTED",
            Self::NoProjectKey => "BUNDLE_NO_PROJECT_KEY",
            Self::ProjectKeyInvalid { .. } => "BUNDLE_PROJECT_KEY_INVALID",
            Self::BundleIdInvalid { .. } => "BUNDLE_ID_INVALID",
            Self::ServiceManifestMissing => "SERVICE_MANIFEST_MISSING",
            Self::ServiceIdInvalid { .. } => "SERVICE_ID_INVALID",
            Self::Read(_) => "ARCHIVE_READ_FAILED",
        }
    }

    /// The structure is wrong.
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

/// The uploader can mend all but a failing disk.
impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Read(source) => Self::fault(format!("a staged archive cannot be read: {source}")),
            refused => Self::Refused(vec![Refusal {
                code: refused.code(),
                field: Some("file".to_owned()),
                message: refused.to_string(),
            }]),
        }
    }
}
