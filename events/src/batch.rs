//! A body as what is to be filed: lines by folder, each event in the envelope that the Event Server's files hold.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::{
    error::EventError,
    json::{self, TooMuch},
    keys::Grant,
    ledger::{BatchId, Digest},
    name,
    settings::{MOST_EVENTS, Settings},
};

/// The longest id of a batch, in bytes.
const LONGEST_ID: usize = 200;
/// Of what a parser says, so many characters are shown.
const SAID: usize = 200;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One document: `{"batchId": …, "events": […]}`.
    Json,
    /// One event a line.
    Lines,
}

/// Who sent a body, and when.
#[derive(Clone, Debug)]
pub struct Arrived<'a> {
    /// The key's grant.
    pub grant: &'a Grant,
    /// The peer's address, as the envelope shows it.
    pub address: &'a str,
    /// The id that came beside the body, if any.
    pub batch_id: Option<&'a str>,
    /// Microseconds since the Unix epoch.
    pub at: i64,
}

/// A batch that was read: nothing of it can be refused any more but for want of room.
#[derive(Debug)]
pub struct Batch {
    pub(crate) id: Option<(BatchId, Digest)>,
    /// Lines by the folder of their topic, routing key and hour.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) events: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document<'a> {
    #[serde(borrow, default)]
    batch_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    events: Option<Events<'a>>,
}

/// What a body says of one event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    topic: Option<&'a RawValue>,
    #[serde(borrow, default)]
    routing_key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    client_event: Option<&'a RawValue>,
}

/// A list that ends before it takes more memory than the body that it came in.
struct Events<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Events<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = items.next_element()? {
                    if events.len() == MOST_EVENTS {
                        return Err(A::Error::custom("too many events"));
                    }
                    events.push(event);
                }
                Ok(events)
            }
        }
        deserializer.deserialize_seq(List).map(Events)
    }
}

impl Batch {
    /// Reads a body.
    ///
    /// # Errors
    /// [`EventError::Invalid`], [`EventError::TooLarge`] or [`EventError::NotAllowed`], about the first input that is wrong.
    pub fn read(body: &Bytes, format: Format, arrived: &Arrived<'_>, settings: &Settings) -> Result<Self, EventError> {
        let mut reading = Reading::new(arrived, settings)?;
        match format {
            Format::Json => reading.document(body)?,
            Format::Lines => reading.lines(body)?,
        }
        reading.end()
    }

    /// How many events it holds.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Its lines, in bytes.
    pub fn bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }
}

struct Reading<'a> {
    arrived: &'a Arrived<'a>,
    settings: &'a Settings,
    /// `/YYYY/mm/dd/HH`, UTC.
    hour: String,
    /// What follows the client's event on its line.
    tail: Vec<u8>,
    id: Option<Cow<'a, str>>,
    digest: Sha256,
    files: BTreeMap<String, Vec<u8>>,
    events: u64,
}

impl<'a> Reading<'a> {
    fn new(arrived: &'a Arrived<'a>, settings: &'a Settings) -> Result<Self, EventError> {
        let at = Timestamp::from_microsecond(arrived.at).unwrap_or(Timestamp::UNIX_EPOCH);
        let address = serde_json::to_string(arrived.address).unwrap_or_else(|_| "\"\"".to_owned());
        let stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000");
        let tail = format!(",\"origAddress\":{address},\"serverTimestamp\":\"{stamp}\"}}\n").into_bytes();
        let id = arrived.batch_id.map(Cow::Borrowed);
        if let Some(id) = &id {
            check_id(id)?;
        }
        let hour = at.strftime("/%Y/%m/%d/%H").to_string();
        let (digest, files) = (Sha256::new(), BTreeMap::new());
        Ok(Self { arrived, settings, hour, tail, id, digest, files, events: 0 })
    }

    fn document(&mut self, body: &'a [u8]) -> Result<(), EventError> {
        let document: Document<'a> = object(body, "body")?;
        if let Some(id) = document.batch_id.filter(|id| id.get() != "null") {
            let id: Cow<'a, str> = text(id, "batchId")?;
            check_id(&id)?;
            if self.id.as_ref().is_some_and(|other| *other != id) {
                return Err(EventError::invalid(
                    "batchId",
                    "The body and the address name two different ids. Name one.",
                ));
            }
            self.id = Some(id);
        }
        let Some(Events(events)) = document.events else {
            return Err(EventError::invalid("events", "This is missing: a list of events is wanted."));
        };
        let most = self.settings.batch_events;
        if events.len() > most {
            let problem = format!("A batch may hold {most} events; these are {}. Send several batches.", events.len());
            return Err(EventError::too_large("events", problem));
        }
        events.into_iter().enumerate().try_for_each(|(number, event)| {
            let event = object(event.get().as_bytes(), &format!("events[{number}]"))?;
            self.event(number, &event)
        })
    }

    fn lines(&mut self, body: &'a [u8]) -> Result<(), EventError> {
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        for (number, line) in lines.enumerate() {
            let most = self.settings.batch_events;
            if number == most {
                let problem = format!("A batch may hold {most} events. Send several batches.");
                return Err(EventError::too_large("events", problem));
            }
            let event = object(line, &format!("events[{number}]"))?;
            self.event(number, &event)?;
        }
        Ok(())
    }

    fn event(&mut self, number: usize, event: &Event<'_>) -> Result<(), EventError> {
        let at = |name: &str| format!("events[{number}].{name}");
        let folder = |given: Option<&RawValue>, field: &str| {
            let given = given.ok_or_else(|| EventError::invalid(at(field), "This is missing: a text is wanted."))?;
            let given: Cow<'_, str> = text(given, &at(field))?;
            name::folder(&given).map_err(|problem| EventError::invalid(at(field), problem))
        };
        let topic = folder(event.topic, "topic")?;
        let routing_key = folder(event.routing_key, "routingKey")?;
        let grant = self.arrived.grant;
        if !grant.allows_topic(&topic) {
            return Err(EventError::NotAllowed { field: at("topic"), what: "topic" });
        }
        if !grant.allows_routing_key(&routing_key) {
            return Err(EventError::NotAllowed { field: at("routingKey"), what: "routing key" });
        }
        let client_event =
            event.client_event.map(RawValue::get).filter(|text| text.starts_with('{')).ok_or_else(|| {
                EventError::invalid(at("clientEvent"), "This must be an object: the event as the client tells it.")
            })?;
        let lines = self.files.entry(format!("{topic}/{routing_key}{}", self.hour)).or_default();
        lines.extend_from_slice(b"{\"clientEvent\":");
        let start = lines.len();
        let Settings { event_depth, event_bytes, .. } = *self.settings;
        json::onto_line(lines, client_event, event_depth, event_bytes).map_err(|over| {
            let problem = match over {
                TooMuch::Deep => format!("An event may be nested {event_depth} levels deep; this one is deeper."),
                TooMuch::Large => format!("An event may have {event_bytes} bytes; this one is larger."),
            };
            EventError::too_large(at("clientEvent"), problem)
        })?;
        if self.id.is_some() {
            for part in [topic.as_bytes(), b"/", routing_key.as_bytes(), b"/", &lines[start..], b"\n"] {
                self.digest.update(part);
            }
        }
        lines.extend_from_slice(&self.tail);
        self.events += 1;
        Ok(())
    }

    fn end(self) -> Result<Batch, EventError> {
        if self.events == 0 {
            return Err(EventError::invalid("events", "There is no event in this batch."));
        }
        let digest = Digest::of(&self.digest.finalize());
        let id = self.id.map(|id| (BatchId::of(self.arrived.grant, &id), digest));
        Ok(Batch { id, files: self.files, events: self.events })
    }
}

/// Reads an object, and no list of its values.
fn object<'a, T: Deserialize<'a>>(text: &'a [u8], field: &str) -> Result<T, EventError> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(EventError::invalid(field, "This must be a JSON object."));
    }
    serde_json::from_slice(text).map_err(|error| told(field, &error))
}

fn check_id(id: &str) -> Result<(), EventError> {
    let sound = !id.is_empty() && id.len() <= LONGEST_ID && !id.chars().any(char::is_control);
    let problem = "This must have 1 to 200 bytes, and no control characters.";
    if sound { Ok(()) } else { Err(EventError::invalid("batchId", problem)) }
}

fn text<'a>(value: &'a RawValue, field: &str) -> Result<Cow<'a, str>, EventError> {
    /// Borrows where there is nothing to unescape.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let read: Result<Text<'a>, _> = serde_json::from_str(value.get());
    read.map(|Text(text)| text).map_err(|_| EventError::invalid(field, "This must be a text."))
}

/// What the parser said, of whatever length.
fn told(field: &str, error: &serde_json::Error) -> EventError {
    let said: String = error.to_string().chars().filter(|each| !each.is_control()).take(SAID).collect();
    if said.starts_with("too many events") {
        return EventError::too_large("events", format!("A batch may never hold more than {MOST_EVENTS} events."));
    }
    EventError::invalid(field, format!("This cannot be read: {said}."))
}

#[cfg(test)]
mod tests;
