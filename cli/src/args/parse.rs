//! From a word of the command line to its value.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskqueue_queue::TaskId;

pub(super) fn task_id(text: &str) -> Result<TaskId, String> {
    text.parse()
        .map_err(|error: taskqueue_queue::Error| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text
        .parse()
        .map_err(|error| format!("{error}; write it like 30s, 5m or 1h30m"))?;
    Duration::try_from(signed).map_err(|_| "a duration cannot be negative".to_owned())
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|every| {
        if every.is_zero() {
            Err("it must be above zero".to_owned())
        } else {
            Ok(every)
        }
    })
}

/// A duration of a day at most, for what is counted on from.
pub(super) fn within_a_day(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    if span > Duration::from_hours(24) {
        return Err("it must not be above 24h".to_owned());
    }
    Ok(span)
}

/// A point in time: with an offset, since the machine that types it may be anywhere.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| {
        format!("{error}; write it like 2026-12-24T18:00:00+01:00 or 2026-12-24T17:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "30", "5 parsecs", "-5s", "1mo"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(interval("0s").is_err());
        assert_eq!(within_a_day("24h"), Ok(Duration::from_hours(24)));
        for far in ["24h1ms", "2562047788015215h", &"9".repeat(50)] {
            assert!(within_a_day(far).is_err(), "{far}");
        }
    }

    #[test]
    fn times_have_offsets() {
        let then = Timestamp::from_second(1_766_592_000).expect("it is in range");
        for good in [
            "2025-12-24T16:00:00Z",
            "2025-12-24T17:00:00+01:00",
            "2025-12-24 16:00Z",
        ] {
            assert_eq!(time(good), Ok(then), "{good}");
        }
        for bad in [
            "",
            "tomorrow",
            "2025-12-24",
            "2025-12-24T16:00:00",
            "1766592000",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
