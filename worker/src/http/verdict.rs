//! What an answer of an HTTP handler means for the task. Pure.
//!
//! | status | task |
//! |---|---|
//! | 2xx | completed; the body is the result |
//! | 408, 425, 429, 5xx | a failed attempt, retried while there are attempts left, after `Retry-After` if it is given |
//! | 3xx | the same: no redirect is followed |
//! | any other, so 4xx | dead-lettered: no retry can help |

use std::time::{Duration, SystemTime};

use axum::http::StatusCode;

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Retry {
        error: String,
        after: Option<Duration>,
    },
    Dead {
        error: String,
    },
}

/// Judges an answer; `body` is how it begins.
pub(super) fn judge(
    status: StatusCode,
    retry_after: Option<&str>,
    body: &str,
    now: SystemTime,
) -> Verdict {
    let body = body.trim();
    let error = if body.is_empty() {
        format!("answered {status}")
    } else {
        format!("answered {status}: {body}")
    };
    let after = || retry_after.and_then(|value| wait(value, now));
    match status.as_u16() {
        200..=299 => Verdict::Done,
        408 | 425 | 429 | 500..=599 => Verdict::Retry {
            error,
            after: after(),
        },
        300..=399 => Verdict::Retry {
            error: format!(
                "{error} (no redirect is followed: set handler.http.path to where it leads)"
            ),
            after: after(),
        },
        _ => Verdict::Dead { error },
    }
}

/// `Retry-After` is a number of seconds or a date: RFC 9110, section 10.2.3.
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, retry_after: Option<&str>, body: &str) -> Verdict {
        let status = StatusCode::from_u16(status).expect("a status");
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        judge(status, retry_after, body, now)
    }

    #[test]
    fn any_2xx_is_done() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status, Some("5"), "body"), Verdict::Done);
        }
    }

    #[test]
    fn what_may_pass_is_retried_and_says_why() {
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            let Verdict::Retry { error, after } = of(status, None, " busy\n") else {
                unreachable!("{status} is retried");
            };
            assert!(error.starts_with(&format!("answered {status}")), "{error}");
            assert!(error.ends_with(": busy"), "{error}");
            assert_eq!(after, None);
        }
    }

    #[test]
    fn retry_after_is_honoured_as_seconds_and_as_a_date() {
        let after = |value| match of(503, Some(value), "") {
            Verdict::Retry { after, .. } => after,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        let date = "Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(after(date), Some(Duration::from_mins(1)));
        let past = "Sun, 06 Nov 1994 08:00:00 GMT";
        assert_eq!(after(past), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn what_will_not_pass_is_dead() {
        for status in [400, 401, 403, 404, 405, 409, 413, 422] {
            assert!(matches!(of(status, None, ""), Verdict::Dead { .. }));
        }
    }

    #[test]
    fn a_redirect_is_a_failed_attempt_that_names_the_field() {
        let Verdict::Retry { error, .. } = of(308, None, "") else {
            unreachable!("it is retried");
        };
        assert!(error.contains("handler.http.path"), "{error}");
    }
}
