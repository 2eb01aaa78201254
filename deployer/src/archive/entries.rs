//! Opening a checked archive, and unpacking one entry.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    path::Path,
};

use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
    result::ZipError,
};

use super::{ArchiveError, Limits, directory, shown};

/// An archive whose structure was checked.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    limits: Limits,
}

/// What an entry declares of itself.
pub(super) struct Entry {
    /// A label, never a path.
    pub(super) name: String,
    /// Unpacked, in bytes.
    pub(super) size: u64,
    /// A regular file: no folder, no link.
    pub(super) file: bool,
    /// Packed in a way that this build unpacks.
    readable: bool,
}

impl Archive {
    /// Opens and checks; nothing is unpacked.
    pub(super) fn open(path: &Path, limits: Limits) -> Result<Self, ArchiveError> {
        let mut file = File::open(path).map_err(ArchiveError::Read)?;
        directory::check(&mut file, &limits)?;
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let structure = |error| failed(error, "its table of contents is wrong");
        let mut zip = ZipArchive::with_config(config, BufReader::new(file)).map_err(structure)?;
        // Names were compared as bytes; here as other readers decode them.
        if zip.has_duplicate_names() {
            return Err(ArchiveError::corrupt("two files in it have names that can be read as the same one"));
        }
        if zip
            .has_overlapping_entries()
            .map_err(|error| failed(error, "a file in it does not begin where it should"))?
        {
            return Err(ArchiveError::Overlapping);
        }
        Ok(Self { zip, limits })
    }

    /// The entry of exactly this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.zip.index_for_name_raw(name.as_bytes())
    }

    pub(super) fn len(&self) -> usize {
        self.zip.len()
    }

    pub(super) fn entry(&self, index: usize) -> Result<Entry, ArchiveError> {
        let entry = self.zip.by_index_data(index).map_err(|e| failed(e, "an entry is missing"))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let readable = matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated);
        Ok(Entry { name, size: entry.size(), file: entry.is_file(), readable })
    }

    /// Unpacks a manifest.
    pub(super) fn manifest(&mut self, index: usize) -> Result<Vec<u8>, ArchiveError> {
        let limit = self.limits.manifest;
        self.unpack(index, limit)?.ok_or(ArchiveError::ManifestTooLarge { limit })
    }

    /// Unpacks an entry of at most `limit` bytes; `None` if it is larger, whatever it declared.
    pub(super) fn unpack(&mut self, index: usize, limit: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let entry = self.entry(index)?;
        if entry.size > limit {
            return Ok(None);
        }
        let name = shown(&entry.name);
        if !entry.readable {
            return Err(ArchiveError::CompressionUnsupported { entry: name });
        }
        let damaged = format!("\"{name}\" in it cannot be unpacked");
        let content = self.zip.by_index(index).map_err(|error| failed(error, &damaged))?;
        let mut bytes = Vec::new();
        content
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| failed(error.into(), &damaged))?;
        if bytes.len() as u64 != entry.size {
            return Err(ArchiveError::corrupt(format!("\"{name}\" in it has another size than it says")));
        }
        Ok(Some(bytes))
    }
}

/// A failing disk is ours; everything else is the archive's.
fn failed(error: ZipError, what: &str) -> ArchiveError {
    match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => ArchiveError::Read(error),
        ZipError::Io(error) if error.kind() == io::ErrorKind::OutOfMemory => ArchiveError::Read(error),
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => {
            ArchiveError::Encrypted
        }
        _ => ArchiveError::corrupt(what),
    }
}
