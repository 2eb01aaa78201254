//! A package store whose disk can be filled.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    failure::LabError,
    servers::guard::{Guarded, Program},
    until::until,
};

/// The size of the small disk; bundles of the soak are a few kilobytes.
const SIZE: &str = "size=32m";
const FILLER: &str = "filler";
/// Mounts a disk in memory at `$1`, says so, and takes it away when it is told to end.
const MOUNT: &str = r#"
mount -t tmpfs -o "$2" slipway-soak "$1" || exit 1
trap 'umount -l "$1"; kill "$sleeper"; exit 0' TERM
echo mounted
while :; do sleep 1000 & sleeper=$!; wait "$sleeper"; done
"#;

/// The disk.
#[derive(Debug)]
pub(super) struct Disk {
    packages: PathBuf,
    staging: PathBuf,
    /// A small disk of its own under the packages; None where we may not mount one.
    small: Option<Guarded>,
}

impl Disk {
    /// Before anything uses these folders.
    pub(super) async fn prepare(packages: &Path, staging: &Path, log: &Path) -> Result<Self, LabError> {
        fs::create_dir_all(packages)?;
        let disk = Self { packages: packages.to_owned(), staging: staging.to_owned(), small: None };
        // Whether it can be done at all, before a shell that stays says so less clearly.
        let may = Command::new("sh")
            .args(["-c", "mount -t tmpfs -o \"$1\" slipway-soak \"$0\" && umount \"$0\""])
            .arg(packages)
            .arg(SIZE)
            .output();
        if !may.is_ok_and(|output| output.status.success()) {
            return Ok(disk);
        }
        let at = packages.display().to_string();
        let mount = Program::new(["sh", "-c", MOUNT, "mount", &at, SIZE], log).ended_by("TERM").start()?;
        until("a small disk", Duration::from_secs(10), || async { mount.log().contains("mounted").then_some(()) })
            .await?;
        Ok(Self { small: Some(mount), ..disk })
    }

    /// How it is filled.
    pub(super) fn told(&self) -> &'static str {
        match self.small {
            Some(_) => "a small disk under the package store is full to the last byte",
            None => "no small disk may be mounted here: a file stands where the staging folder was",
        }
    }

    /// Full.
    pub(super) fn fill(&self) -> Result<(), LabError> {
        if self.small.is_none() {
            fs::rename(&self.staging, self.aside())?;
            return Ok(fs::write(&self.staging, "")?);
        }
        let mut file = File::create(self.packages.join(FILLER))?;
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0; size];
            while file.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    /// As it was.
    pub(super) fn free(&self) -> Result<(), LabError> {
        if self.small.is_none() {
            fs::remove_file(&self.staging)?;
            return Ok(fs::rename(self.aside(), &self.staging)?);
        }
        Ok(fs::remove_file(self.packages.join(FILLER))?)
    }

    /// All files of the store and of the uploads under way, but for the one that fills it.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.packages.clone(), self.staging.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if entry.file_name() != FILLER {
                    found.insert(path);
                }
            }
        }
        found
    }

    fn aside(&self) -> PathBuf {
        self.staging.with_extension("aside")
    }
}
