//! Payloads and results: bytes that are known to be JSON and of bounded size. Pure.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::Error;

/// The largest payload any policy can allow, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;

/// A JSON text, checked once when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// Takes bytes as they are, if they are one JSON value of at most [`MAX_PAYLOAD_BYTES`]. The
    /// queue's own limit is checked when the task is enqueued.
    pub fn json(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        fits("payload", bytes.len(), MAX_PAYLOAD_BYTES)?;
        match serde_json::from_slice::<&RawValue>(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(fault) => Err(Error::NotJson {
                field: "payload",
                reason: fault.to_string(),
            }),
        }
    }

    /// Serializes a value.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(|fault| Error::NotJson {
            field: "payload",
            reason: fault.to_string(),
        })?;
        fits("payload", bytes.len(), MAX_PAYLOAD_BYTES)?;
        Ok(Self(bytes))
    }

    /// The JSON value `null`.
    pub fn null() -> Self {
        Self(b"null".to_vec())
    }

    /// What Redis holds; it was checked when it went in.
    pub(crate) fn trusted(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The JSON text, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Reads it as a value of the caller's type.
    pub fn parse<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(&self.0).map_err(|fault| Error::NotJson {
            field: "payload",
            reason: fault.to_string(),
        })
    }
}

/// As the JSON value that it is, not as a list of bytes.
impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().as_bytes().to_vec()))
    }
}

/// Refuses what is above a limit, naming both.
pub(crate) fn fits(field: &'static str, size: usize, limit: usize) -> Result<(), Error> {
    if size <= limit {
        Ok(())
    } else {
        Err(Error::TooLarge { field, size, limit })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_payload_is_one_json_value() {
        for good in ["1", "null", r#"{"a":[1,2]}"#, " \"x\" "] {
            assert!(Payload::json(good).is_ok(), "{good}");
        }
        for bad in ["", "{", "1 2", "nul", "\u{feff}1"] {
            assert!(
                matches!(Payload::json(bad), Err(Error::NotJson { .. })),
                "{bad}"
            );
        }
        assert!(matches!(
            Payload::json(b"\"\xff\"".as_slice()),
            Err(Error::NotJson { .. })
        ));
    }

    #[test]
    fn the_hard_limit_holds_at_the_byte() {
        let text = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
        assert!(Payload::json(text(MAX_PAYLOAD_BYTES)).is_ok());
        let refusal = Payload::json(text(MAX_PAYLOAD_BYTES + 1)).unwrap_err();
        assert!(matches!(refusal, Error::TooLarge { size, .. } if size == MAX_PAYLOAD_BYTES + 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(payload) = Payload::json(bytes.clone()) {
                prop_assert_eq!(payload.as_bytes(), bytes);
                prop_assert!(serde_json::to_string(&payload).is_ok());
            }
        }
    }
}
