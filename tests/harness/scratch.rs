//! Folders of a test: removed when it passed, kept and named when it failed.

use std::path::Path;

use lab::servers::scratch;

/// A folder that other OS users may pass through.
#[derive(Debug)]
pub struct Scratch(scratch::Scratch);

impl Scratch {
    /// A new one; `name` is a part of its name.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn new(name: &str) -> Self {
        Self(scratch::Scratch::new(name).expect("a scratch folder"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it, as text.
    pub fn at(&self, name: &str) -> String {
        self.0.at(name)
    }
}

impl Drop for Scratch {
    #[expect(clippy::print_stderr, reason = "whoever reads the failed test needs the path")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for reading: {}", self.0.keep().display());
        }
    }
}
