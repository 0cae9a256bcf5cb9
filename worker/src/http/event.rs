//! A task as a CloudEvent in binary mode: attributes in headers, the payload as the body. Pure.
//!
//! Sources: the CloudEvents 1.0.2 specification and its HTTP protocol binding.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Method, Request, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
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

fn deadline(now: Timestamp, timeout: Duration) -> String {
    let at = now.checked_add(timeout).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}
