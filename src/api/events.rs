//! Reads the events of a watch, one per line.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::k8s::Malformed;

use super::error::{Error, Status};
use super::object::RawObject;

/// The largest event, in bytes. The API server stores no object of a tenth of this size.
const MAX_LINE: usize = 16 << 20;
/// The annotation of the bookmark at the end of a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// An event of a watch.
#[derive(Debug)]
pub enum Event {
    /// The object was added or changed.
    Applied(RawObject),
    /// The object was deleted. This is its last version.
    Deleted(RawObject),
    /// All events up to this resource version have been sent.
    Bookmark {
        /// The resource version.
        version: String,
        /// Whether this bookmark ends a streamed list.
        ends_list: bool,
    },
}

/// The events of one watch.
pub struct Events {
    body: Body,
    buffer: BytesMut,
    /// How many bytes of the buffer are known to hold no newline.
    searched: usize,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl Events {
    pub(super) fn of(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next event, or `None` once the API server has closed the watch.
    ///
    /// # Errors
    /// If the connection broke, the event can't be read, or the API server reports an error.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unsearched) {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return event(&line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Err(Error::Unreadable(format!("an event has more than {MAX_LINE} bytes")));
            }
            match self.body.frame().await {
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => {
                    return Err(Error::Unreachable("the watch broke off within an event".into()));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Error::unreachable(&error)),
            }
        }
    }
}

/// Reads an event. Errors do not quote its content, since objects may contain secrets.
fn event(line: &[u8]) -> Result<Event, Error> {
    let unreadable =
        |error| Error::Unreadable(format!("a malformed event: {}", Malformed::from(error)));
    let Line { kind, object } = serde_json::from_slice(line).map_err(unreadable)?;
    let json = object.get();
    match kind {
        "ADDED" | "MODIFIED" => serde_json::from_str(json).map(Event::Applied).map_err(unreadable),
        "DELETED" => serde_json::from_str(json).map(Event::Deleted).map_err(unreadable),
        "BOOKMARK" => {
            let Bookmark { metadata } = serde_json::from_str(json).map_err(unreadable)?;
            let ends_list = metadata.annotations.contains_key(INITIAL_EVENTS_END);
            Ok(Event::Bookmark { version: metadata.resource_version, ends_list })
        }
        "ERROR" => Err(serde_json::from_str::<Status>(json).map_err(unreadable)?.into()),
        other => Err(Error::Unreadable(format!("an event has the unknown type {other:?}"))),
    }
}
