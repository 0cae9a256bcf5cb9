//! Conditions, with a transition time that moves only when the status does. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use taskqueue_plain as plain;

use super::whole_seconds;

/// Bytes of a message. The definition refuses a whole status with one of more than 32 KiB, and much of
/// what is told comes from others.
const MOST_MESSAGE: usize = 1_024;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told.
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The conditions of one status in the making.
pub(super) struct Conditions<'a> {
    previous: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    made: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Starts from the conditions as they stand in the resource.
    pub(super) fn new(previous: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            previous,
            generation,
            now,
            made: Vec::new(),
        }
    }

    /// Adds a condition.
    pub(super) fn set(
        &mut self,
        kind: &str,
        truth: impl Into<Truth>,
        reason: &str,
        message: impl Into<String>,
    ) {
        let status = match truth.into() {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        };
        let since = self
            .previous
            .iter()
            .find(|before| before.type_ == kind && before.status == status)
            .map_or_else(
                || whole_seconds(self.now),
                |before| before.last_transition_time.clone(),
            );
        self.made.push(Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: plain::cut(message, MOST_MESSAGE),
            last_transition_time: since,
            observed_generation: self.generation,
        });
    }

    /// Leaves a condition as it stands in the resource, if it does.
    pub(super) fn keep(&mut self, kind: &str) {
        let before = self.previous.iter().find(|before| before.type_ == kind);
        self.made.extend(before.cloned());
    }

    /// All of them, in the order in which they were set.
    pub(super) fn finish(self) -> Vec<Condition> {
        self.made
    }
}
