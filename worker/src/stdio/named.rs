//! Which task a line is about that is no message. Strict: it has to begin as a message does. Pure.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use taskqueue_queue::TaskId;

/// What a line names that begins as a message does: the field and the task. Whatever comes behind the id may be anything,
/// but must not name another.
pub(crate) fn named(text: &str) -> Option<(String, TaskId)> {
    let mut found = Found::default();
    // How it ends is known: it is no message.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(Outer(&mut found));
    match (found.kind, found.ids.as_slice()) {
        (Some(kind), [id]) => Some((kind, *id)),
        _ => None,
    }
}

#[derive(Default)]
struct Found {
    kind: Option<String>,
    /// The tasks that were named, each once.
    ids: Vec<TaskId>,
}

struct Outer<'a>(&'a mut Found);

impl<'de> Visitor<'de> for Outer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(kind) = map.next_key()? {
            self.0.kind.get_or_insert(kind);
            map.next_value_seed(Inner(self.0))?;
        }
        Ok(())
    }
}

struct Inner<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for Inner<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Inner<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key::<String>()? {
            if field == "id" {
                let id = map.next_value()?;
                if !self.0.ids.contains(&id) {
                    self.0.ids.push(id);
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
