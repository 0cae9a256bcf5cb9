//! What Redis shows of the tasks that run: one table for all systems. Pure.

use std::time::Duration;

use crate::source::{Celery, Expression, List, Role, SortedSet, Source};

/// How old the `busy` of a Sidekiq process may be: the time between two of its heartbeats.
const SIDEKIQ_BEAT: Duration = Duration::from_secs(10);

/// What Redis shows of the tasks that workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// Each of them, for as long as it runs: `in_flight` can be relied on.
    Shown,
    /// Each of them, but only so long after it began.
    Late(Duration),
    /// Not all of them, and maybe none.
    Hidden {
        /// Why.
        why: &'static str,
        /// What would show them.
        fix: &'static str,
    },
}

impl Source {
    /// What Redis shows of the tasks of this source that run.
    pub fn running(&self) -> Running {
        match self {
            // The list `active`, which a job leaves when it ends.
            Self::BullMq(_)
            // The registry `wip`, which a job leaves when it ends.
            | Self::Rq(_)
            // The list `active`, which a task leaves when it ends.
            | Self::Asynq(_)
            // What the group was given and has not acknowledged.
            | Self::Stream(_) => Running::Shown,
            Self::Sidekiq(_) => Running::Late(SIDEKIQ_BEAT),
            Self::Celery(of) => celery(of),
            Self::List(List { in_flight_key, .. })
            | Self::SortedSet(SortedSet { in_flight_key, .. }) => plain(in_flight_key.as_deref()),
            Self::Expressions(all) => expressions(all),
        }
    }
}

fn celery(of: &Celery) -> Running {
    if of.acks_late {
        return Running::Shown;
    }
    Running::Hidden {
        why: "Celery acknowledges a task when it starts unless task_acks_late is set, and then Redis holds no trace of it while it runs",
        fix: "set task_acks_late in the application and source.celery.acksLate: true here",
    }
}

fn plain(in_flight_key: Option<&str>) -> Running {
    if in_flight_key.is_some() {
        return Running::Shown;
    }
    Running::Hidden {
        why: "without inFlightKey a task that a worker has taken is under no key that is read",
        fix: "have workers move what they run to a key of their own, and name it in inFlightKey",
    }
}

fn expressions(all: &[Expression]) -> Running {
    if all.iter().any(|one| one.role == Role::InFlight) {
        return Running::Shown;
    }
    Running::Hidden {
        why: "none of source.expressions has the role InFlight, so that a task that a worker has taken is not counted",
        fix: "add an expression with role: InFlight",
    }
}
