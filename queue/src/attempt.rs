//! Attempts as callers see them. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::timestamp;
use crate::fingerprint::is_hex;
use crate::record::{Noted, Site};
use crate::{Cause, WorkerId};

/// One attempt at a task. What is not known is absent: earlier versions kept less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Which one it was, from 1, as its handler was told. One that does not count, such as the loss of a worker,
    /// has the number of the next.
    pub number: u32,
    /// How it ended, if it has.
    pub outcome: AttemptOutcome,
    /// When it began, by the clock of Redis. Of one that runs it is known within three seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended; of one that was lost, when that was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What kind of failure it was, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The first KiB of what was said of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The worker that ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The pod of that worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The node of that pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The trace that it belongs to, if it was traced: 32 digits of `0-9a-f`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Its span in that trace: 16 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AttemptOutcome {
    /// It has not.
    Running,
    /// The task is done.
    Completed,
    /// It failed.
    Failed,
    /// It lost its worker.
    Lost,
    /// It was let go because the task was cancelled.
    Cancelled,
}

impl Attempt {
    fn new(number: u32, outcome: AttemptOutcome) -> Self {
        Self {
            number,
            outcome,
            started: None,
            ended: None,
            cause: None,
            message: None,
            worker: None,
            pod: None,
            node: None,
            trace_id: None,
            span_id: None,
        }
    }

    /// One that failed.
    pub(crate) fn failed(noted: &Noted) -> Self {
        let failure = &noted.failure;
        let outcome = if failure.cause.is_loss() {
            AttemptOutcome::Lost
        } else {
            AttemptOutcome::Failed
        };
        let mut attempt = Self {
            ended: Some(failure.at),
            cause: Some(failure.cause),
            message: Some(failure.message.clone()),
            ..Self::new(failure.attempt, outcome)
        };
        attempt.at(&noted.site);
        attempt
    }

    /// One that runs.
    pub(crate) fn running(number: u32, worker: Option<WorkerId>) -> Self {
        Self {
            worker,
            ..Self::new(number, AttemptOutcome::Running)
        }
    }

    /// One that ended without a failure.
    pub(crate) fn over(
        number: u32,
        outcome: AttemptOutcome,
        started: Option<Timestamp>,
        ended: Option<Timestamp>,
        worker: Option<WorkerId>,
    ) -> Self {
        Self {
            started,
            ended,
            worker,
            ..Self::new(number, outcome)
        }
    }

    /// Takes in what is known of where it ran; what is not leaves it as it is.
    pub(crate) fn at(&mut self, site: &Site) {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        if site.started_ms > 0 {
            self.started = Some(timestamp(site.started_ms));
        }
        self.worker = site.worker.parse().ok().or(self.worker);
        self.pod = given(&site.pod).or(self.pod.take());
        self.node = given(&site.node).or(self.node.take());
        if let Some(span) = Span::of_text(&site.span) {
            self.trace_id = Some(span.trace.to_owned());
            self.span_id = Some(span.span.to_owned());
        }
    }
}

/// A span and the trace that it belongs to, as digits of `0-9a-f`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    trace: &'a str,
    span: &'a str,
}

impl<'a> Span<'a> {
    /// That of a W3C `traceparent`.
    pub(crate) fn of_header(header: &'a str) -> Option<Self> {
        let mut parts = header.split('-').skip(1);
        Self::of(parts.next()?, parts.next()?)
    }

    /// What [`Span::text`] has written.
    fn of_text(text: &'a str) -> Option<Self> {
        let (trace, span) = text.split_once('-')?;
        Self::of(trace, span)
    }

    fn of(trace: &'a str, span: &'a str) -> Option<Self> {
        (is_hex(trace, 32) && is_hex(span, 16)).then_some(Self { trace, span })
    }

    /// As records keep it.
    pub(crate) fn text(&self) -> String {
        format!("{}-{}", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_of_a_header_is_kept_and_what_is_none_is_not() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let header = format!("00-{trace}-{span}-01");
        let site = Site::default().traced(Some(&header));
        let mut attempt = Attempt::running(1, None);
        attempt.at(&site);
        assert_eq!(attempt.trace_id.as_deref(), Some(trace));
        assert_eq!(attempt.span_id.as_deref(), Some(span));
        for wrong in ["", "00", "00-0af-b7a-01", "00--", &header[..40]] {
            let site = Site::default().traced(Some(wrong));
            assert_eq!(site, Site::default(), "{wrong}");
        }
    }
}
