//! What a look at a queue leaves to be done in it. Pure: the look and the past are arguments.
//!
//! The look itself is the one pipelined round trip for all queues; whatever is done here costs the
//! queue calls of its own, so that a queue at rest has to need little.

use std::time::Duration;

use taskqueue_queue::{Policy, Snapshot, Tidied};

use super::endpoint::TICK;

/// Time between two times that a queue is tidied in which nothing is urgent: ended tasks that are
/// old enough, tasks that come near (a minute ahead) and tasks that did not start in time, which no
/// worker would start any more, can all wait that long.
const AT_REST: Duration = Duration::from_secs(10);

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
    /// What there is to do. `tidied` is what the queue was tidied of last, and how long ago.
    pub(super) fn of(
        policy: &Policy,
        snapshot: &Snapshot,
        tidied: Option<(Tidied, Duration)>,
    ) -> Self {
        let every = tidies_every(policy, snapshot, tidied.map(|(tidied, _)| tidied));
        let tidy = every.is_some_and(|every| {
            // Looks come at every tick, a little early or late.
            tidied.is_none_or(|(_, ago)| ago + TICK / 2 >= every)
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
fn tidies_every(policy: &Policy, snapshot: &Snapshot, last: Option<Tidied>) -> Option<Duration> {
    let scheduled = policy.schedules.iter().any(|schedule| !schedule.suspend);
    // One time does a bounded part of it.
    let goes_on = last.is_some_and(|last| last != Tidied::default());
    let fills = policy.completed_max_count.is_some() && snapshot.active > 0;
    if scheduled || goes_on || fills {
        Some(TICK)
    } else {
        (snapshot.counters.enqueued > 0).then_some(AT_REST)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use taskqueue_queue::{Counters, Missed, Payload, Schedule};

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
        };
        Policy {
            schedules: vec![schedule],
            ..Policy::default()
        }
    }

    #[test]
    fn a_queue_is_tidied_as_often_as_something_in_it_can_be_out_of_order() {
        let rest = at_rest();
        let unused = Snapshot {
            counters: Counters::default(),
            ..at_rest()
        };
        let busy = Snapshot {
            active: 1,
            ..at_rest()
        };
        let counted = Policy {
            completed_max_count: Some(1_000),
            ..Policy::default()
        };
        let found = Some(Tidied {
            expired: 1,
            ..Tidied::default()
        });
        let nothing = Some(Tidied::default());
        let plain = Policy::default();
        let table = [
            ("never used", &plain, &unused, None, None),
            ("new to us", &plain, &rest, None, Some(AT_REST)),
            ("at rest", &plain, &rest, nothing, Some(AT_REST)),
            ("busy", &plain, &busy, nothing, Some(AT_REST)),
            ("there may be more", &plain, &rest, found, Some(TICK)),
            (
                "kept by count, at rest",
                &counted,
                &rest,
                nothing,
                Some(AT_REST),
            ),
            ("kept by count, busy", &counted, &busy, nothing, Some(TICK)),
            ("schedules", &schedules(false), &unused, nothing, Some(TICK)),
            (
                "schedules that are suspended",
                &schedules(true),
                &rest,
                nothing,
                Some(AT_REST),
            ),
        ];
        for (what, policy, snapshot, last, every) in table {
            assert_eq!(tidies_every(policy, snapshot, last), every, "{what}");
        }
    }

    #[test]
    fn it_is_tidied_when_its_time_has_come_and_at_the_first_look() {
        let tidied = |ago: u64| Some((Tidied::default(), Duration::from_millis(ago)));
        let table = [
            (Policy::default(), None, true),
            (Policy::default(), tidied(9_400), false),
            (Policy::default(), tidied(9_990), true),
            // Looks come more often right after an announcement.
            (schedules(false), tidied(100), false),
            (schedules(false), tidied(990), true),
        ];
        for (policy, tidied, tidy) in table {
            let chores = Chores::of(&policy, &at_rest(), tidied);
            assert_eq!(chores.tidy, tidy, "{tidied:?}");
            assert_eq!(chores.any(), tidy);
        }
    }

    #[test]
    fn what_is_due_and_what_is_lost_cannot_wait() {
        let tidied = Some((Tidied::default(), Duration::ZERO));
        let due = Snapshot {
            due: 1,
            ..at_rest()
        };
        let lost = Snapshot {
            expired_workers: 1,
            ..at_rest()
        };
        let chores = |snapshot| Chores::of(&Policy::default(), snapshot, tidied);
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
