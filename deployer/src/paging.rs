//! Lists: forward pages with opaque cursors, after the Relay connection specification.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    error::{Error, Result},
    text,
};

/// The most that one page holds.
pub const MOST: u32 = 100;

/// Which page: up to `first` items after the cursor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// How many, 1 to [`MOST`].
    pub first: u32,
    /// The sort key of the last item seen. Made from what the viewer saw, so that it tells nothing new.
    pub after: Option<String>,
}

impl Page {
    /// Reads the arguments of a list.
    ///
    /// # Errors
    /// `PAGE_INVALID` with the field `first` or `after`.
    pub fn new(first: Option<i32>, after: Option<&str>) -> Result<Self> {
        let first = match first {
            None => 50,
            Some(n) if (1..=100).contains(&n) => n.unsigned_abs(),
            Some(_) => return Err(Error::field("PAGE_INVALID", "first", format!("Ask for 1 to {MOST} items."))),
        };
        let after = after.map(decode).transpose()?;
        Ok(Self { first, after })
    }

    /// How many rows to read: one more than asked for tells whether there is a next page.
    pub fn limit(&self) -> u64 {
        u64::from(self.first) + 1
    }

    /// Makes a listing of rows read with [`Page::limit`], in order of `key`.
    pub fn listing<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Listing<T> {
        let has_next = rows.len() > self.first as usize;
        rows.truncate(self.first as usize);
        Listing { items: rows.into_iter().map(|row| (encode(&key(&row)), row)).collect(), has_next }
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// Each with its cursor.
    pub items: Vec<(String, T)>,
    /// Whether more follow.
    pub has_next: bool,
}

impl<T> Listing<T> {
    /// More may follow behind this key, up to which was looked: the next page begins there.
    #[must_use]
    pub(crate) fn cut(mut self, key: &str) -> Self {
        if self.has_next {
            return self;
        }
        if let Some((cursor, _)) = self.items.last_mut() {
            *cursor = encode(key);
            self.has_next = true;
        }
        self
    }

    /// The same page, whose cursors are made of other keys.
    #[must_use]
    pub(crate) fn rekeyed(self, key: impl Fn(&T) -> String) -> Self {
        let items = self.items.into_iter().map(|(_, item)| (encode(&key(&item)), item)).collect();
        Self { items, ..self }
    }

    /// The same page of something else.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> Listing<U> {
        Listing {
            items: self.items.into_iter().map(|(cursor, item)| (cursor, f(item))).collect(),
            has_next: self.has_next,
        }
    }
}

fn encode(key: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key)
}

fn decode(cursor: &str) -> Result<String> {
    let read = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    read.filter(|key| text::storable(key)).ok_or_else(|| {
        Error::field("PAGE_INVALID", "after", "This cursor is not one of ours. Use the endCursor of the page before.")
    })
}
