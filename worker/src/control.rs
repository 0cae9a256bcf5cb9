//! What a handler can say and ask while it runs a task, over HTTP on loopback: for `exec` and `http`, whose own channels
//! carry only the payload and the result. Each attempt has a URL of its own that nobody can guess, in the variable
//! `TASK_CONTROL` or the header `ce-control`; it ends with the attempt.
//!
//! | request | body | does |
//! |---|---|---|
//! | `POST <url>/progress` | any JSON up to 1 KiB | says how far the attempt is |
//! | `POST <url>/log` | text | adds its lines to the task's log |
//! | `POST <url>/extend` | `90` or `1m30s` | lets the attempt go on for this long from now |
//! | `POST <url>/snooze` | `90` or `1m30s` | puts the task off: when the attempt ends well, it runs again after that |
//! | `GET <url>/cancelled?wait=30` | | `true` or `false`; waits up to so many seconds for a `true` |

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::value::RawValue;
use taskqueue_listener::Limits;
use taskqueue_queue::worker::{LeasedTask, Outcome};
use tokio::net::TcpListener;

use crate::config::Concurrency;
use crate::wait;

/// Largest body of a request.
const MOST_BODY_BYTES: usize = 64 * 1024;
/// What some writers of UTF-8 begin with.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Longest time with units, in bytes.
const MOST_TIME_BYTES: usize = 64;
/// Longest wait for a cancellation.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How long a request may take to arrive, and a handler's connection may rest between two.
const PATIENCE: Duration = Duration::from_mins(1);
/// Connections at a time for each task: one that waits for a cancellation, and another one.
const CONNECTIONS_A_TASK: usize = 2;
/// Connections at a time beyond those.
const SPARE_CONNECTIONS: usize = 64;

/// The control endpoint and the attempts that may use it. Clones share them.
#[derive(Clone, Debug)]
pub struct Controls {
    address: SocketAddr,
    open: Arc<Mutex<HashMap<String, Entry>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    task: LeasedTask,
    snooze: Option<Duration>,
}

/// The control of one attempt, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Control {
    controls: Controls,
    token: String,
}

impl Controls {
    /// Listens on loopback, on a port of the system's choice, and answers from now on, to the handlers of so many tasks at
    /// a time.
    pub async fn listen(concurrency: Concurrency) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let controls = Self {
            address: listener.local_addr()?,
            open: Arc::default(),
        };
        let router = Router::new()
            .route("/{token}/progress", post(progress))
            .route("/{token}/log", post(log))
            .route("/{token}/extend", post(extend))
            .route("/{token}/snooze", post(snooze))
            .route("/{token}/cancelled", get(cancelled))
            .with_state(controls.clone());
        let limits = Limits {
            connections: SPARE_CONNECTIONS + CONNECTIONS_A_TASK * usize::from(concurrency.get()),
            patience: PATIENCE,
            body_bytes: MOST_BODY_BYTES,
        };
        let never = std::future::pending();
        tokio::spawn(taskqueue_listener::serve(listener, router, limits, never));
        Ok(controls)
    }

    /// Opens the control of an attempt.
    pub(crate) fn open(&self, task: &LeasedTask) -> Control {
        let token = format!("{:032x}", rand::random::<u128>());
        let entry = Entry {
            task: task.clone(),
            snooze: None,
        };
        self.lock().insert(token.clone(), entry);
        Control {
            controls: self.clone(),
            token,
        }
    }

    fn task(&self, token: &str) -> Result<LeasedTask, Refusal> {
        let entry = self.lock().get(token).map(|entry| entry.task.clone());
        entry.ok_or((
            StatusCode::NOT_FOUND,
            "no such attempt: it has ended\n".to_owned(),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Where the attempt's handler reaches it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/{}", self.controls.address, self.token)
    }

    /// The outcome of the attempt: put off, if its handler asked for that and then ended well.
    pub(crate) fn outcome(&self, outcome: Outcome) -> Outcome {
        let entry = self.controls.lock();
        let snooze = entry.get(&self.token).and_then(|entry| entry.snooze);
        match (outcome, snooze) {
            (Outcome::Completed(_), Some(after)) => Outcome::Snoozed { after },
            (outcome, _) => outcome,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.controls.lock().remove(&self.token);
    }
}

type Refusal = (StatusCode, String);

async fn progress(
    State(controls): State<Controls>,
    Path(token): Path<String>,
    body: String,
) -> Result<StatusCode, Refusal> {
    let task = controls.task(&token)?;
    let progress: &RawValue = serde_json::from_str(text(&body))
        .map_err(|error| refuse(&format!("progress is any JSON, such as 0.5: {error}")))?;
    task.progress(progress)
        .map_err(|error| refuse(&error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn log(
    State(controls): State<Controls>,
    Path(token): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let task = controls.task(&token)?;
    for line in String::from_utf8_lossy(&body)
        .trim_start_matches(BYTE_ORDER_MARK)
        .lines()
        .filter(|line| !line.is_empty())
    {
        task.log(line);
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn extend(
    State(controls): State<Controls>,
    Path(token): Path<String>,
    body: String,
) -> Result<StatusCode, Refusal> {
    let task = controls.task(&token)?;
    task.extend(span(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn snooze(
    State(controls): State<Controls>,
    Path(token): Path<String>,
    body: String,
) -> Result<StatusCode, Refusal> {
    let after = span(&body)?;
    controls.task(&token)?;
    if let Some(entry) = controls.lock().get_mut(&token) {
        entry.snooze = Some(after);
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    wait: Option<String>,
}

impl Wait {
    /// How long that is; what is above the most is the most.
    fn span(&self) -> Result<Duration, Refusal> {
        let Some(text) = &self.wait else {
            return Ok(Duration::ZERO);
        };
        let span = wait::seconds(text).ok_or_else(|| {
            let most = LONGEST_WAIT.as_secs();
            refuse(&format!(
                "wait is a number of seconds from 0 to {most}, such as 30, and not {text:?}"
            ))
        })?;
        Ok(span.min(LONGEST_WAIT))
    }
}

async fn cancelled(
    State(controls): State<Controls>,
    Path(token): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<String, Refusal> {
    let task = controls.task(&token)?;
    let wait = wait.span()?;
    // Resolved at once if it is so already, however short the wait.
    let cancelled = tokio::time::timeout(wait, task.cancelled()).await.is_ok();
    Ok(format!("{cancelled}\n"))
}

/// What a body says.
fn text(body: &str) -> &str {
    body.trim_start_matches(BYTE_ORDER_MARK).trim()
}

/// A time as a number of seconds, or with units.
fn span(body: &str) -> Result<Duration, Refusal> {
    let text = text(body);
    let units = || {
        let span = text.parse::<SignedDuration>().ok()?;
        Duration::try_from(span).ok()
    };
    let refusal = |reason: &str| {
        refuse(&format!(
            "{reason}: give seconds, such as 90, or units, such as 1m30s"
        ))
    };
    if let Some(span) = wait::seconds(text) {
        return Ok(span);
    }
    // No time has so many digits, and no parser has to cope with them.
    if text.len() > MOST_TIME_BYTES {
        return Err(refusal(&format!("a time of {} bytes is none", text.len())));
    }
    units().ok_or_else(|| refusal(&format!("{text:?} is no time")))
}

fn refuse(reason: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, format!("{reason}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_what_is_none_names_its_field_and_its_range() {
        let of = |wait: Option<&str>| {
            let wait = wait.map(str::to_owned);
            Wait { wait }.span()
        };
        for (wait, millis) in [
            (None, 0),
            (Some("0"), 0),
            (Some("1.5"), 1_500),
            (Some("30"), 30_000),
            (Some("61"), 60_000),
            (Some("1e20"), 60_000),
        ] {
            assert_eq!(of(wait), Ok(Duration::from_millis(millis)), "{wait:?}");
        }
        for odd in ["", "-1", "soon", "30s", "nan"] {
            let (status, reason) = of(Some(odd)).expect_err("it is refused");
            assert_eq!(status, StatusCode::BAD_REQUEST);
            let named = reason.starts_with("wait is a number of seconds from 0 to 60");
            assert!(named && reason.contains(&format!("{odd:?}")), "{reason}");
        }
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        for (body, millis) in [
            ("90", 90_000),
            (" 1.5\n", 1_500),
            ("\u{feff}2\r\n", 2_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("0", 0),
        ] {
            assert_eq!(span(body), Ok(Duration::from_millis(millis)), "{body}");
        }
        for body in ["1e20", "9".repeat(400).as_str()] {
            assert_eq!(
                span(body),
                Ok(Duration::MAX),
                "what is above the most is the most"
            );
        }
        let long = format!("{}h", "9".repeat(400));
        for body in ["", "soon", "-1", "-1e20", "-5s", "nan", "inf", &long] {
            let (status, reason) = span(body).expect_err("it is refused");
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(reason.contains("such as 90"), "{reason}");
        }
    }
}
