//! Archives made here, byte by byte where no writer would make them.

mod bundles;
mod hostile;
mod inferred;
mod services;

use std::{
    fs,
    io::{Cursor, Write as _},
};

use serde_json::Value;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

/// A zip archive with these files.
fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The same, not compressed.
fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A bundle with this manifest and one more file.
fn with_manifest(manifest: &str) -> Vec<u8> {
    zip_of(&[("bundle-manifest.json", manifest.as_bytes()), ("data/customers.csv", b"id,name\n1,a\n")])
}

fn small() -> Vec<u8> {
    with_manifest(r#"{"bundleId": "v1", "projectKey": "CHURN"}"#)
}

fn read_named(archive: &[u8], name: &str, limits: Limits) -> Result<BundleContents, ArchiveError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), archive).unwrap();
    bundle(file.path(), name, limits)
}

fn read(archive: &[u8]) -> Result<BundleContents, ArchiveError> {
    read_named(archive, "upload.zip", Limits::default())
}

/// The code of the refusal.
fn refused(archive: &[u8]) -> &'static str {
    read(archive).err().map_or("accepted", |e| e.code())
}

/// Replaces every occurrence.
fn patch(archive: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        archive.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        archive[at..at + to.len()].copy_from_slice(to);
    }
}

/// Where the records with this signature begin.
fn records(archive: &[u8], signature: &[u8; 4]) -> Vec<usize> {
    archive.windows(4).enumerate().filter(|(_, w)| w == signature).map(|(at, _)| at).collect()
}
