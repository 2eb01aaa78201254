//! Time and chance that a simulation gives, for what runs on this thread.

use std::{cell::RefCell, marker::PhantomData, rc::Rc};

/// Where time and chance come from.
pub trait Source {
    /// As [`super::now_micros`].
    fn now_micros(&self) -> i64;

    /// As [`super::boottime_nanos`].
    fn boottime_nanos(&self) -> i64;

    /// As [`super::random_bytes`].
    fn fill(&self, buf: &mut [u8]);
}

thread_local! {
    static SOURCE: RefCell<Option<Rc<dyn Source>>> = const { RefCell::new(None) };
}

/// As long as this lives, this thread's time and chance come from its source.
#[derive(Debug)]
#[must_use]
pub struct Installed(PhantomData<Rc<()>>);

/// Gives this thread a source.
pub fn install(source: Rc<dyn Source>) -> Installed {
    SOURCE.with(|cell| *cell.borrow_mut() = Some(source));
    Installed(PhantomData)
}

impl Drop for Installed {
    fn drop(&mut self) {
        SOURCE.with(|cell| *cell.borrow_mut() = None);
    }
}

/// What this thread's source says, if it has one.
pub(super) fn ask<T>(question: impl FnOnce(&dyn Source) -> T) -> Option<T> {
    let source = SOURCE.with(|cell| cell.borrow().clone());
    source.map(|source| question(&*source))
}
