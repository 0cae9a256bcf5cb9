//! Durations as Kubernetes writes them: `30s`, `5m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most digits of a number before its point. Ten billion hours are longer than any range, and
/// far from what a parser can count.
const MOST_DIGITS: usize = 10;
/// The longest text, in bytes; twice of what the schema allows.
const LONGEST: usize = 64;

/// A length of time in the format of Go and Kubernetes: a sequence of numbers with a unit of
/// ms, s, m or h, such as `1h30m`. CEL rules check the range where the field is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What is no duration is an error that shows it; no text is too odd for that.
impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let told = || format!("{text:?} is no duration: write one such as 500ms, 30s, 5m or 1h30m");
        // Looked at before the parser sees it, which expects numbers that can be counted.
        if is_plain(text) {
            text.parse().map(Self).map_err(|_| told())
        } else {
            Err(told())
        }
    }
}

/// Whether a text is of plain numbers and units, with no sign but one at its beginning.
fn is_plain(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut digits = 0;
    let mut behind_point = false;
    !unsigned.is_empty()
        && text.len() <= LONGEST
        && unsigned.chars().all(|it| {
            match it {
                '0'..='9' if !behind_point => digits += 1,
                '0'..='9' => {}
                '.' => behind_point = true,
                _ => (digits, behind_point) = (0, false),
            }
            digits <= MOST_DIGITS && (it == '.' || it.is_alphanumeric())
        })
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_writes_is_read() {
        let (second, hour) = (1_000, 3_600_000);
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("1h30m", hour + hour / 2),
            ("1.5h", hour + hour / 2),
            ("250ms", 250),
            ("2m0.5s", 120 * second + 500),
            ("48h", 48 * hour),
            ("1000000us", second),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.get().as_millis(), millis, "{text}");
        }
        // A range that the rules know to refuse.
        let negative: Duration = "-5s".parse().unwrap();
        assert_eq!(negative.get(), time::Duration::ZERO);
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused() {
        let long = "9".repeat(400);
        for odd in [
            "",
            "s",
            "5",
            "-",
            "+",
            ".",
            ".s",
            "1..5s",
            "1s-5s",
            "1s+5s",
            "--5s",
            "+-5s",
            "-s",
            "1e9s",
            "1 s",
            "infs",
            "nans",
            "5x",
            "1h 5m",
            "٣s",
            "1d",
            "99999999999h",
            "99999999999999999999999999999h",
            &long,
            &format!("{long}h"),
            &format!("-{long}h"),
            &format!("0.{long}h"),
            &"9999999999h".repeat(50),
        ] {
            let refused = odd.parse::<Duration>().unwrap_err();
            assert!(refused.contains("is no duration"), "{odd}: {refused}");
        }
        // The most that is parsed at all.
        "9999999999h9999999999h9999999999h"
            .parse::<Duration>()
            .unwrap();
    }
}
