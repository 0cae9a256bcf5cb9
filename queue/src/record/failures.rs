//! The failures that a record keeps, and where each attempt ran. Pure.

use jiff::Timestamp;

use super::{Record, first_kib};
use crate::attempt::Span;
use crate::clock::timestamp;
use crate::groups::Group;
use crate::pack::{Malformed, More, Reader, Writer};
use crate::{Cause, Failure};

/// Bytes kept of the name of a pod or a node: Kubernetes has none that is longer.
const MOST_NAME_BYTES: usize = 253;

/// A failure as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) failure: Failure,
    /// Written where something of it is known.
    pub(crate) site: Site,
    /// What stands behind that.
    pub(crate) more: More,
}

/// Where an attempt ran, and since when: 0 and empty texts stand for what is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) started_ms: u64,
    pub(crate) worker: String,
    pub(crate) pod: String,
    pub(crate) node: String,
    /// See [`Span::text`].
    pub(crate) span: String,
    /// What stands behind that.
    pub(crate) more: More,
}

impl Site {
    /// In this pod, on this node.
    pub(crate) fn of(pod: &str, node: &str) -> Self {
        let name = |name: &str| name[..name.floor_char_boundary(MOST_NAME_BYTES)].to_owned();
        Self {
            pod: name(pod),
            node: name(node),
            ..Self::default()
        }
    }

    /// In the span of this W3C `traceparent`.
    pub(crate) fn traced(self, header: Option<&str>) -> Self {
        let span = header.and_then(Span::of_header);
        Self {
            span: span.map(|span| span.text()).unwrap_or_default(),
            ..self
        }
    }

    /// An array of start in ms, worker, pod, node and span.
    pub(super) fn pack(&self, writer: &mut Writer) {
        writer.array(5 + self.more.count());
        writer.uint(self.started_ms);
        for text in [&self.worker, &self.pod, &self.node, &self.span] {
            writer.text(text);
        }
        writer.more(&self.more);
    }

    pub(super) fn unpack(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let more = reader.array_of(5)?;
        let started_ms = reader.uint()?;
        let mut text = || reader.text().map(str::to_owned);
        let (worker, pod, node, span) = (text()?, text()?, text()?, text()?);
        Ok(Self {
            started_ms,
            worker,
            pod,
            node,
            span,
            more: reader.more(more)?,
        })
    }
}

impl Record {
    /// Notes a failed attempt, which `counts` or does not.
    pub(crate) fn fail(&mut self, at: Timestamp, cause: Cause, message: &str, counts: bool) {
        self.errors.push(Noted {
            failure: Failure {
                attempt: self.attempts.saturating_add(1),
                at,
                cause,
                message: first_kib(message).to_owned(),
            },
            site: Site::default(),
            more: More::default(),
        });
        if counts {
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    /// If there are more failures than the `before` that there were: says of the last one where it ran, keeps the
    /// last `most`, and tells what to count it with.
    pub(crate) fn close(
        &mut self,
        before: usize,
        most: u32,
        site: impl FnOnce() -> Site,
    ) -> Option<Group> {
        let count = self.errors.len();
        let last = self.errors.last_mut().filter(|_| count > before)?;
        last.site = site();
        let group = Group::of(&self.kind, &last.failure);
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        self.errors.drain(..count.saturating_sub(most));
        Some(group)
    }
}

/// Each is an array of attempt, time in ms, cause and message; and of where it ran, if that is known.
pub(super) fn pack(writer: &mut Writer, failures: &[Noted]) {
    writer.array(failures.len());
    for Noted {
        failure,
        site,
        more,
    } in failures
    {
        let sited = *site != Site::default() || more.count() > 0;
        writer.array(4 + usize::from(sited) + more.count());
        writer.uint(failure.attempt.into());
        writer.uint(u64::try_from(failure.at.as_millisecond()).unwrap_or(0));
        writer.uint(failure.cause.number());
        writer.text(&failure.message);
        if sited {
            site.pack(writer);
        }
        writer.more(more);
    }
}

pub(super) fn unpack(reader: &mut Reader<'_>) -> Result<Vec<Noted>, Malformed> {
    let count = reader.array()?;
    let mut failures = Vec::new();
    for _ in 0..count {
        let mut more = reader.array_of(4)?;
        let failure = Failure {
            attempt: reader.uint()?,
            at: timestamp(reader.uint()?),
            cause: Cause::of_number(reader.uint()?),
            message: reader.text()?.to_owned(),
        };
        let mut site = Site::default();
        if more > 0 {
            site = Site::unpack(reader)?;
            more -= 1;
        }
        failures.push(Noted {
            failure,
            site,
            more: reader.more(more)?,
        });
    }
    Ok(failures)
}
