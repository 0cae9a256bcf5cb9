//! When a queue needs a pass over its workers: while there are fewer to come to, and as long as
//! marks of former passes stand. No I/O; the steps of a pass are planned in `shrink`.

use std::time::Duration;

use tokio::time::Instant;

use super::{handshake::Passed, replicas::Step, shrink::Marks};
use crate::workload::Workload;

/// How often marks are renewed while nothing else happens. A mark lasts for `shrink::SPAN`.
const RENEWAL: Duration = Duration::from_secs(5);

/// The passes over the workers of one queue.
pub(super) struct Drains {
    /// What passes remember; `None` while one is under way.
    marks: Option<Marks>,
    /// Marks may stand that a pass has to follow up. True at first: of a former operator.
    marked: bool,
    /// What the last pass was made on and when; `None` if the next one can do more at once.
    last: Option<(Signs, Instant)>,
    /// What the shrink waits for.
    wait: Option<String>,
}

/// A change of any of these may let a pass do more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    /// Replicas asked for last.
    pub(super) replicas: u32,
    /// Replicas to come to.
    pub(super) target: u32,
    /// Tasks that workers hold.
    pub(super) active: u64,
    /// Pods that are ready.
    pub(super) ready: u32,
    /// Pods that are not.
    pub(super) starting: u32,
}

/// What a pass is to come to.
pub(super) struct PassOrder {
    pub(super) step: Step,
    pub(super) marks: Marks,
    pub(super) rolling: bool,
    pub(super) unobserved: bool,
    pub(super) counted: u32,
}

impl Default for Drains {
    fn default() -> Self {
        Self {
            marks: Some(Marks::default()),
            marked: true,
            last: None,
            wait: None,
        }
    }
}

impl Drains {
    /// Whether no pass is under way.
    pub(super) fn at_rest(&self) -> bool {
        self.marks.is_some()
    }

    /// What the shrink waits for.
    pub(super) fn waits_for(&self) -> Option<String> {
        self.wait.clone()
    }

    /// The next pass, if one is due. It comes to the target of the signs, by a write where
    /// `has_turn`.
    pub(super) fn pass(
        &mut self,
        step: &Step,
        signs: Signs,
        has_turn: bool,
        workload: &Workload,
    ) -> Option<PassOrder> {
        let shrinks = signs.target < signs.replicas;
        let follows_up = self.marked && signs.ready + signs.starting > 0;
        if !shrinks && !follows_up {
            self.wait = None;
            return None;
        }
        let again = match self.last {
            Some((before, at)) => before != signs || at.elapsed() >= RENEWAL,
            None => true,
        };
        // To give workers back needs no turn, and must not wait for one.
        if !again || (shrinks && !has_turn) {
            return None;
        }
        let marks = self.marks.take()?;
        self.last = Some((signs, Instant::now()));
        Some(PassOrder {
            step: Step {
                to: signs.target,
                ..step.clone()
            },
            marks,
            rolling: workload.is_rolling(),
            unobserved: workload.is_unobserved(),
            counted: expected(step.from, workload),
        })
    }

    /// A pass ended. Until it is known to have done something else, marks may stand.
    pub(super) fn returned(&mut self, marks: Marks) {
        self.marks = Some(marks);
        self.marked = true;
    }

    /// A pass came to its end.
    pub(super) fn passed(&mut self, passed: &Passed) {
        self.marked = passed.marked;
        self.wait = passed.wait.as_ref().map(ToString::to_string);
        if passed.moves {
            self.last = None;
        }
    }
}

/// Pods that are to be seen before the number falls: those that the Deployment counts, and those
/// that are still being made after a rise, since they would be the first to go, and may bring a
/// worker up meanwhile. Where the Deployment says that it cannot make them, nobody waits for them.
fn expected(replicas: u32, workload: &Workload) -> u32 {
    let making = if workload.stuck.is_none() {
        replicas
    } else {
        0
    };
    workload.existing.max(making)
}
