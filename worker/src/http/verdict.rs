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
    Retry { error: String },
    Dead { error: String },
}

/// Judges an answer; `body` is how it begins.
pub(super) fn judge(status: StatusCode, body: &str) -> Verdict {
    let body = body.trim();
    let mut error = format!("answered {status}");
    if !body.is_empty() {
        error = format!("{error}: {body}");
    }
    if let Some(advice) = advice(status) {
        error = format!("{error} ({advice})");
    }
    match status.as_u16() {
        200..=299 => Verdict::Done,
        408 | 425 | 429 | 500..=599 | 300..=399 => Verdict::Retry { error },
        _ => Verdict::Dead { error },
    }
}

/// What to do about an answer that is none to a task.
fn advice(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        101 => "a task is no request for another protocol: answer 200 when it is done",
        301 | 302 | 307 | 308 => "no redirect is followed: set handler.http.path to where it leads",
        303 => {
            "no redirect is followed: answer 200 when the task is done, with its result as the body"
        }
        304 => {
            "that says that nothing has changed since an earlier answer, for which no task asks: answer 200 when it is done"
        }
        300..=399 => "a task has one place to go to: answer 200 when it is done",
        _ => return None,
    })
}

/// The wait that a `Retry-After` asks for, a number of seconds or a date: RFC 9110, section 10.2.3. More seconds than a
/// number holds are the longest wait. `None` if it is neither.
pub(super) fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Verdict {
        judge(StatusCode::from_u16(status).expect("a status"), body)
    }

    fn retried(status: u16, body: &str) -> String {
        match of(status, body) {
            Verdict::Retry { error } => error,
            other => unreachable!("{status}: {other:?}"),
        }
    }

    #[test]
    fn any_2xx_is_done() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status, "body"), Verdict::Done);
        }
    }

    #[test]
    fn what_may_pass_is_retried_and_says_why() {
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            let error = retried(status, " busy\n");
            assert!(error.starts_with(&format!("answered {status}")), "{error}");
            assert!(error.ends_with(": busy"), "{error}");
        }
    }

    #[test]
    fn retry_after_is_honoured_as_seconds_and_as_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let after = |value: &str| retry_after(value.as_bytes(), now);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after(" 0 "), Some(Duration::ZERO));
        let date = "Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(after(date), Some(Duration::from_mins(1)));
        let past = "Sun, 06 Nov 1994 08:00:00 GMT";
        assert_eq!(after(past), Some(Duration::ZERO));
    }

    #[test]
    fn a_retry_after_beyond_all_numbers_is_the_longest_wait_and_what_is_no_wait_is_none() {
        let after = |value: &[u8]| retry_after(value, SystemTime::UNIX_EPOCH);
        let longest = Some(Duration::from_secs(u64::MAX));
        assert_eq!(after(b"18446744073709551615"), longest);
        assert_eq!(after(b"100000000000000000000000"), longest);
        for odd in ["soon", "", "-5", "+5", "1e20", "1.5", "5s", "1, 2"] {
            assert_eq!(after(odd.as_bytes()), None, "{odd:?}");
        }
        assert_eq!(after(b"\xff"), None);
    }

    #[test]
    fn what_will_not_pass_is_dead() {
        for status in [101, 400, 401, 403, 404, 405, 409, 413, 422, 600, 999] {
            assert!(matches!(of(status, ""), Verdict::Dead { .. }));
        }
    }

    #[test]
    fn a_redirect_is_a_failed_attempt_that_names_the_field() {
        for status in [301, 302, 307, 308] {
            let error = retried(status, "");
            assert!(error.contains("handler.http.path"), "{error}");
        }
    }

    #[test]
    fn an_answer_that_is_no_redirect_and_none_to_a_task_says_what_to_answer() {
        for status in [300, 303, 304, 305, 306, 399] {
            let error = retried(status, "words");
            assert!(error.starts_with(&format!("answered {status}")), "{error}");
            assert!(error.contains("answer 200"), "{error}");
            assert!(!error.contains("handler.http.path"), "{error}");
        }
        let Verdict::Dead { error } = of(101, "") else {
            unreachable!("it is dead");
        };
        assert!(error.contains("no request for another protocol"), "{error}");
    }
}
