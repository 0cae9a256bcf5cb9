//! What a look at a queue leaves to be done in it. Pure: the look and the past are arguments.
//!
//! The look itself is the one pipelined round trip for all queues; whatever is done here costs the
//! queue calls of its own, so that a queue at rest has to need little.

use std::time::Duration;

use taskqueue_queue::{Counters, Policy, Snapshot, Tidied};

use super::endpoint::TICK;

/// Time between two times that a queue without workers is tidied in which nothing is urgent: tasks
/// that come near (a minute ahead) and tasks that did not start in time, which no worker would start
/// any more, can wait that long.
const AT_LEISURE: Duration = Duration::from_secs(10);
/// The same where workers do it too, or where there is nothing but what has ended.
const RARELY: Duration = Duration::from_mins(1);

/// The last time that a queue was tidied.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastTidy {
    /// What was done.
    pub(super) done: Tidied,
    /// What the queue had counted when it was decided on.
    pub(super) counters: Counters,
    /// How long ago it was.
    pub(super) ago: Duration,
}

/// What is to be done in a queue, apart from putting its policy in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chores {
    /// Moves due tasks, and drops dead letters beyond their bounds.
    pub(super) promote: bool,
    /// Takes back the tasks of lost workers.
    pub(super) reclaim: bool,
    /// Runs schedules, ends what has expired, forgets ended tasks.
    pub(super) tidy: bool,
}

impl Chores {
    /// What there is to do. `last` is the last time that the queue was tidied.
    pub(super) fn of(policy: &Policy, snapshot: &Snapshot, last: Option<LastTidy>) -> Self {
        let tidy = tidies_every(policy, snapshot, last).is_some_and(|every| {
            // Looks come at every tick, a little early or late.
            last.is_none_or(|last| last.ago + TICK / 2 >= every)
        });
        Self {
            promote: snapshot.due > 0 || (tidy && snapshot.dead > 0),
            reclaim: snapshot.expired_workers > 0,
            tidy,
        }
    }

    /// Whether there is anything.
    pub(super) fn any(self) -> bool {
        self.promote || self.reclaim || self.tidy
    }
}

/// How much time may lie between two times that a queue is tidied; `None` if nothing can be out of
/// order in it.
fn tidies_every(policy: &Policy, snapshot: &Snapshot, last: Option<LastTidy>) -> Option<Duration> {
    let scheduled = policy.schedules.iter().any(|schedule| !schedule.suspend);
    // One time does a bounded part of it.
    let goes_on = last.is_some_and(|last| last.done != Tidied::default());
    let fills = policy.completed_max_count.is_some() && snapshot.active > 0;
    if scheduled || goes_on || fills {
        return Some(TICK);
    }
    let unfinished = snapshot.backlog() + snapshot.scheduled + snapshot.active + snapshot.blocked;
    let workers = snapshot.workers + snapshot.expired_workers;
    if unfinished + snapshot.dead + workers > 0 {
        let alone = unfinished > 0 && snapshot.workers == 0;
        return Some(if alone { AT_LEISURE } else { RARELY });
    }
    let untouched = last.is_some_and(|last| last.counters == snapshot.counters);
    if untouched {
        let due = snapshot.tidy_at.is_some_and(|at| at <= snapshot.now);
        return due.then_some(RARELY);
    }
    (snapshot.counters.enqueued > 0).then_some(AT_LEISURE)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use taskqueue_queue::{Missed, Payload, Schedule};

    use super::*;

    /// A queue in which there once was a task, and is none.
    fn at_rest() -> Snapshot {
        Snapshot {
            now: Timestamp::UNIX_EPOCH,
            waiting: Vec::new(),
            scheduled: 0,
            due: 0,
            active: 0,
            lost: 0,
            dead: 0,
            blocked: 0,
            oldest_waiting: None,
            next_due: None,
            workers: 0,
            expired_workers: 0,
            tidy_at: None,
            fault: None,
            counters: Counters {
                enqueued: 1,
                ..Counters::default()
            },
            version: 1,
        }
    }

    fn schedules(suspend: bool) -> Policy {
        let schedule = Schedule {
            name: "nightly".to_owned(),
            cron: "0 3 * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            kind: "report".to_owned(),
            payload: Payload::null(),
            priority: None,
            suspend,
            missed: Missed::RunOnce,
            jitter: Duration::ZERO,
        };
        Policy {
            schedules: vec![schedule],
            ..Policy::default()
        }
    }

    /// Tidied of this with the counters of [`at_rest`].
    fn tidied(done: Tidied, ago: Duration) -> LastTidy {
        LastTidy {
            done,
            counters: at_rest().counters,
            ago,
        }
    }

    #[test]
    fn a_queue_is_tidied_as_often_as_something_in_it_can_be_out_of_order() {
        let rest = at_rest();
        let with = |edit: fn(&mut Snapshot)| {
            let mut snapshot = at_rest();
            edit(&mut snapshot);
            snapshot
        };
        let unused = with(|queue| queue.counters = Counters::default());
        let used = with(|queue| queue.counters.enqueued = 2);
        let waiting = with(|queue| queue.scheduled = 1);
        let worked = with(|queue| (queue.active, queue.workers) = (1, 1));
        let stranded = with(|queue| (queue.active, queue.expired_workers) = (1, 1));
        let dead = with(|queue| queue.dead = 1);
        let old = with(|queue| queue.tidy_at = Some(queue.now));
        let young = with(|queue| queue.tidy_at = Some(Timestamp::MAX));
        let counted = Policy {
            completed_max_count: Some(1_000),
            ..Policy::default()
        };
        let found = Tidied {
            expired: 1,
            ..Tidied::default()
        };
        let found = Some(tidied(found, Duration::ZERO));
        let nothing = Some(tidied(Tidied::default(), Duration::ZERO));
        let plain = Policy::default();
        let cron = schedules(false);
        let suspended = schedules(true);
        let table = [
            ("never used", &plain, &unused, None, None),
            ("new to us", &plain, &rest, None, Some(AT_LEISURE)),
            ("at rest", &plain, &rest, nothing, None),
            ("used since", &plain, &used, nothing, Some(AT_LEISURE)),
            ("what ended is old", &plain, &old, nothing, Some(RARELY)),
            ("what ended is young", &plain, &young, nothing, None),
            (
                "without workers",
                &plain,
                &waiting,
                nothing,
                Some(AT_LEISURE),
            ),
            ("lost workers", &plain, &stranded, nothing, Some(AT_LEISURE)),
            ("with workers", &plain, &worked, nothing, Some(RARELY)),
            ("dead letters", &plain, &dead, nothing, Some(RARELY)),
            ("there may be more", &plain, &rest, found, Some(TICK)),
            ("kept by count, at rest", &counted, &rest, nothing, None),
            (
                "kept by count, busy",
                &counted,
                &worked,
                nothing,
                Some(TICK),
            ),
            ("schedules", &cron, &unused, nothing, Some(TICK)),
            ("schedules, suspended", &suspended, &rest, nothing, None),
        ];
        for (what, policy, snapshot, last, every) in table {
            assert_eq!(tidies_every(policy, snapshot, last), every, "{what}");
        }
    }

    #[test]
    fn it_is_tidied_when_its_time_has_come_and_at_the_first_look() {
        let waiting = Snapshot {
            scheduled: 1,
            ..at_rest()
        };
        let after = |ago| Some(tidied(Tidied::default(), Duration::from_millis(ago)));
        let table = [
            (Policy::default(), None, true),
            (Policy::default(), after(9_400), false),
            (Policy::default(), after(9_990), true),
            // Looks come more often right after an announcement.
            (schedules(false), after(100), false),
            (schedules(false), after(990), true),
        ];
        for (policy, last, tidy) in table {
            let chores = Chores::of(&policy, &waiting, last);
            assert_eq!(chores.tidy, tidy, "{last:?}");
            assert_eq!(chores.any(), tidy);
        }
    }

    #[test]
    fn what_is_due_and_what_is_lost_cannot_wait() {
        let just_now = Some(tidied(Tidied::default(), Duration::ZERO));
        let due = Snapshot {
            due: 1,
            ..at_rest()
        };
        let lost = Snapshot {
            expired_workers: 1,
            ..at_rest()
        };
        let chores = |snapshot| Chores::of(&Policy::default(), snapshot, just_now);
        assert!(chores(&due).promote && chores(&lost).reclaim);
        assert!(!chores(&due).reclaim && !chores(&lost).promote);
    }

    #[test]
    fn dead_letters_are_trimmed_where_nothing_is_ever_due() {
        let dead = Snapshot {
            dead: 1,
            ..at_rest()
        };
        assert!(Chores::of(&Policy::default(), &dead, None).promote);
        assert!(!Chores::of(&Policy::default(), &at_rest(), None).promote);
    }
}
