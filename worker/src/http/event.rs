//! A task as a CloudEvent in binary mode: attributes in headers, the payload as the body; many as a batch. Pure.
//!
//! Sources: the CloudEvents 1.0.2 specification and its HTTP protocol binding.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Method, Request, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;
use taskqueue_queue::worker::LeasedTask;

use super::sending::{Sending, Sent, sending};

/// What the binding wants encoded in header values, besides all that is not ASCII: section 3.1.3.2.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The request for an attempt that begins at `now`; `control` is where its handler can be heard, and `sent` is told when
/// the request is on its way.
pub(super) fn request(
    task: &LeasedTask,
    uri: &Uri,
    control: &str,
    now: Timestamp,
    sent: Sent,
) -> Request<Sending> {
    let payload = Bytes::copy_from_slice(task.payload.as_bytes());
    let mut request = Request::new(sending(payload, sent));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut add = |name: &'static str, value: &str| {
        let encoded = utf8_percent_encode(value, ENCODED).to_string();
        // Printable ASCII is a header value.
        if let Ok(value) = HeaderValue::try_from(encoded) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    add("ce-specversion", "1.0");
    add("ce-id", task.id.as_str());
    add("ce-type", &task.kind);
    add("ce-source", &format!("/taskqueue/{}", task.queue));
    add("ce-time", &task.created.to_string());
    // What follows are extensions of ours.
    add("ce-queue", &task.queue.to_string());
    add("ce-attempt", &task.attempt.to_string());
    add("ce-losses", &task.losses.to_string());
    add("ce-priority", &task.priority);
    add("ce-deadline", &deadline(now, task.timeout));
    add("ce-control", control);
    if let Some(parent) = &task.trace_parent {
        // The extension of CloudEvents, and the header that any tracing library reads.
        add("ce-traceparent", parent);
        add("traceparent", parent);
    }
    request
}

/// A task as a CloudEvent in structured mode.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    r#type: &'a str,
    source: String,
    time: String,
    datacontenttype: &'static str,
    // What follows are extensions of ours.
    queue: String,
    attempt: u32,
    losses: u32,
    priority: &'a str,
    deadline: &'a str,
    control: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a RawValue,
}

/// The request for many tasks, each with where its control is, in the batched mode of CloudEvents. They begin at `now` and
/// may run for so long.
pub(super) fn batch(
    tasks: &[(&LeasedTask, String)],
    uri: &Uri,
    now: Timestamp,
    timeout: Duration,
    sent: Sent,
) -> Request<Sending> {
    let deadline = deadline(now, timeout);
    let mut body = vec![b'['];
    for (task, control) in tasks {
        let Ok(data) = serde_json::from_slice(task.payload.as_bytes()) else {
            // It is JSON by its type.
            continue;
        };
        let event = Event {
            specversion: "1.0",
            id: task.id.as_str(),
            r#type: &task.kind,
            source: format!("/taskqueue/{}", task.queue),
            time: task.created.to_string(),
            datacontenttype: "application/json",
            queue: task.queue.to_string(),
            attempt: task.attempt,
            losses: task.losses,
            priority: &task.priority,
            deadline: &deadline,
            control,
            traceparent: task.trace_parent.as_deref(),
            data,
        };
        if body.len() > 1 {
            body.push(b',');
        }
        // Plain structs always have a JSON form.
        body.extend(serde_json::to_vec(&event).unwrap_or_default());
    }
    body.push(b']');
    let mut request = Request::new(sending(body.into(), sent));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let batch = HeaderValue::from_static("application/cloudevents-batch+json");
    request.headers_mut().insert(CONTENT_TYPE, batch);
    request
}

fn deadline(now: Timestamp, timeout: Duration) -> String {
    let at = now.checked_add(timeout).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}
