//! From a word of the command line to its value.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskqueue_queue::{BackoffKind, Fingerprint, LiveId, OwnBackoff, Rate, TaskId};

pub(super) fn task_id(text: &str) -> Result<TaskId, String> {
    text.parse()
        .map_err(|error: taskqueue_queue::Error| error.to_string())
}

pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse()
        .map_err(|error: taskqueue_queue::Error| error.to_string())
}

pub(super) fn event_id(text: &str) -> Result<LiveId, String> {
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

/// So many in a time: `10/s`, `300/m`, `1/10s`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    const FORM: &str = "write it like 10/s, 300/m or 1/10s";
    let (count, per) = text.split_once('/').ok_or(FORM)?;
    let count = count.trim().parse().map_err(|_| FORM)?;
    if count == 0 {
        return Err("it must be above zero".to_owned());
    }
    let per = per.trim();
    // A unit alone is one of it.
    let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
        interval(per)?
    } else {
        interval(&format!("1{per}")).map_err(|_| FORM)?
    };
    Ok(Rate { count, per })
}

/// A duration of a day at most, for what is counted on from.
pub(super) fn within_a_day(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    if span > Duration::from_hours(24) {
        return Err("it must not be above 24h".to_owned());
    }
    Ok(span)
}

/// A backoff: its kind, the first wait, and the longest.
pub(super) fn backoff(text: &str) -> Result<OwnBackoff, String> {
    let form = || {
        format!(
            "{text:?} is no backoff; write it like fixed:5s, exponential:1s:10m or linear:10s:5m"
        )
    };
    let mut parts = text.split(':');
    let kind = match parts.next() {
        Some("fixed") => BackoffKind::Fixed,
        Some("exponential") => BackoffKind::Exponential,
        Some("linear") => BackoffKind::Linear,
        _ => return Err(form()),
    };
    let initial = duration(parts.next().ok_or_else(form)?)?;
    let max = match (kind, parts.next()) {
        (BackoffKind::Fixed, None) => initial,
        (BackoffKind::Exponential | BackoffKind::Linear, Some(longest)) => duration(longest)?,
        _ => return Err(form()),
    };
    if parts.next().is_some() {
        return Err(form());
    }
    if max < initial {
        return Err(format!(
            "{text:?}: the longest wait is shorter than the first: write them the other way round"
        ));
    }
    Ok(OwnBackoff { kind, initial, max })
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
    fn a_backoff_has_a_kind_and_its_waits() {
        let own = |kind, initial, max| {
            let (initial, max) = (Duration::from_secs(initial), Duration::from_secs(max));
            Ok(OwnBackoff { kind, initial, max })
        };
        assert_eq!(backoff("fixed:5s"), own(BackoffKind::Fixed, 5, 5));
        assert_eq!(
            backoff("exponential:1s:10m"),
            own(BackoffKind::Exponential, 1, 600)
        );
        assert_eq!(backoff("linear:0s:0s"), own(BackoffKind::Linear, 0, 0));
        for bad in [
            "",
            "fixed",
            "fixed:",
            "fixed:5",
            "fixed:5s:6s",
            "exponential:1s",
            "linear:1s:2s:3s",
            "linear:2s:1s",
            "square:1s:2s",
        ] {
            assert!(backoff(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_counts_in_a_time() {
        let rate_of = |count, per| Ok(Rate { count, per });
        assert_eq!(rate("10/s"), rate_of(10, Duration::from_secs(1)));
        assert_eq!(rate("300/m"), rate_of(300, Duration::from_mins(1)));
        assert_eq!(rate("1/10s"), rate_of(1, Duration::from_secs(10)));
        for bad in [
            "",
            "10",
            "/s",
            "10/",
            "0/s",
            "-1/s",
            "10/0s",
            "10/fortnight",
            "x/s",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
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
