//! Durations as Kubernetes writes them: `30s`, `5m`, `1h30m`.

use std::{borrow::Cow, fmt, time};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// A length of time in the format of Go and Kubernetes: a sequence of numbers with a unit of
/// ms, s, m or h, such as `1h30m`. CEL rules check the range where the field is declared.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Duration(kube::core::Duration);

impl Duration {
    /// A duration of whole seconds.
    pub fn from_secs(seconds: u64) -> Self {
        time::Duration::from_secs(seconds).into()
    }

    /// The standard library's type. The rules of the resource exclude negative durations; one
    /// that came in all the same (from before a rule) counts as zero.
    pub fn get(self) -> time::Duration {
        if self.0.is_negative() {
            time::Duration::ZERO
        } else {
            self.0.into()
        }
    }
}

impl From<time::Duration> for Duration {
    fn from(duration: time::Duration) -> Self {
        Self(duration.into())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.get().is_zero() {
            // Rust would write 0ns, a unit that the rules of the resource do not know.
            return formatter.write_str("0s");
        }
        write!(formatter, "{:?}", self.0)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Not `format: duration`: the API server would accept "3 days" there, which Go,
        // and so every other tool around Kubernetes, does not read.
        schemars::json_schema!({ "type": "string", "minLength": 1, "maxLength": 32 })
    }
}
