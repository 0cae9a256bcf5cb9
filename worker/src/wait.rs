//! A time that a handler gives as a number of seconds. Pure.

use std::time::Duration;

/// The time that so many seconds are, as they stand in JSON or in a request. What is above the most that can be told is
/// that most; `None` is what is no time at all: less than nothing, or no number.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    // Rust reads "inf" and "nan" as numbers, too.
    let number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !text.bytes().all(number) {
        return None;
    }
    let seconds: f64 = text.parse().ok()?;
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_the_most_is_the_most() {
        for text in [
            "1e20",
            "18446744073709551616",
            "1e400",
            "9".repeat(500).as_str(),
        ] {
            assert_eq!(seconds(text), Some(Duration::MAX), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "-1", "-1e20", "-0.001", "-1e400", "nan", "NaN", "inf", "infinity", "", ".", "e", "-",
            "soon", "1 2",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_is_taken_to_its_parts() {
        for (text, millis) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("1.5", 1_500),
            ("1e3", 1_000_000),
            ("60", 60_000),
        ] {
            assert_eq!(seconds(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(
            seconds("9223372036854775807"),
            Some(Duration::from_secs(1 << 63))
        );
    }
}
