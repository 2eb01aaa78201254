//! The archive, rewritten: every entry is copied as it is compressed, but the manifest, which is amended. The same archive and the same edit give the same bytes,
//! whatever build made them: the manifest is stored uncompressed, with a fixed time.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Write as _},
};

use serde_json::{Map, Value};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::edit::Edit;

/// The manifest of a service version.
const MANIFEST: &str = "service.json";
/// The largest manifest, in bytes.
const MANIFEST_LIMIT: u64 = 16 * 1024 * 1024;

/// Why an archive could not be amended.
#[derive(Debug)]
pub(super) enum AmendError {
    /// It is the archive's fault: a phrase.
    Archive(&'static str),
    /// It is the disk's.
    Disk(io::Error),
}

impl From<ZipError> for AmendError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Self::Disk(error),
            _ => Self::Archive("its archive can't be read as a zip"),
        }
    }
}

/// Blocks.
pub(super) fn amend(source: File, target: &mut File, edit: &Edit) -> Result<(), AmendError> {
    let mut archive = ZipArchive::new(BufReader::new(source))?;
    let manifest = amended(&mut archive, edit)?;
    let mut out = ZipWriter::new(BufWriter::new(target));
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        if entry.name().is_ok_and(|name| name == MANIFEST) {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .last_modified_time(DateTime::default())
                .unix_permissions(0o644);
            out.start_file(MANIFEST, options)?;
            out.write_all(&manifest).map_err(AmendError::Disk)?;
        } else {
            out.raw_copy_file(entry)?;
        }
    }
    out.finish()?.flush().map_err(AmendError::Disk)
}

/// The manifest of an archive. Blocks.
pub(super) fn manifest(source: File) -> Result<Map<String, Value>, AmendError> {
    read(&mut ZipArchive::new(BufReader::new(source))?)
}

fn read(archive: &mut ZipArchive<BufReader<File>>) -> Result<Map<String, Value>, AmendError> {
    let entry =
        archive.by_name(MANIFEST).map_err(|_| AmendError::Archive("its archive has no readable service.json"))?;
    let mut bytes = Vec::new();
    // A size that an archive states is a claim: what comes out is bounded.
    entry.take(MANIFEST_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            AmendError::Archive("its service.json is damaged")
        }
        _ => AmendError::Disk(error),
    })?;
    if bytes.len() as u64 > MANIFEST_LIMIT {
        return Err(AmendError::Archive("its service.json is too large"));
    }
    serde_json::from_slice(&bytes).map_err(|_| AmendError::Archive("its service.json is no JSON object"))
}

fn amended(archive: &mut ZipArchive<BufReader<File>>, edit: &Edit) -> Result<Vec<u8>, AmendError> {
    let mut manifest = read(archive)?;
    if manifest.get("serviceId").and_then(Value::as_str) != Some(&edit.service) {
        return Err(AmendError::Archive("its service.json is another service's"));
    }
    edit.apply(&mut manifest);
    serde_json::to_vec(&manifest).map_err(|error| AmendError::Disk(error.into()))
}
