//! What may happen in a sequence, and how likely each of it is.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    Cause, EventLog, Limits, Logged, Order, Pending, Policy, Rate, RetryAction, RetryRule,
    TypePolicy,
};

pub(super) const WORKERS: usize = 3;
pub(super) const MOST_LOSSES: u32 = 1;
/// The type of which the policy may say more than of others.
pub(super) const RULED: &str = "ruled";
/// Far longer than any sequence takes: nothing happens by itself.
pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const LEVELS: [&[&str]; 4] = [
    &["high", "normal", "low"],
    &["normal", "low"],
    &["urgent", "normal"],
    &["low", "high"],
];

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A batch; the answer may be lost, and then it is sent again at once.
    Enqueue {
        tasks: Vec<Spec>,
        apart: bool,
        lost: bool,
    },
    /// The last batch once more, as by a producer that waits for its answer still.
    Repeat {
        apart: bool,
    },
    /// The answer may be lost: then the worker asks what it holds.
    Fetch {
        worker: usize,
        slots: usize,
        lost: bool,
    },
    /// Of what the worker believes to hold, and of what another one holds.
    Ack {
        worker: usize,
        count: usize,
        foreign: bool,
        twice: bool,
    },
    /// Other ends, several in one call.
    Settle {
        worker: usize,
        ends: Vec<Ends>,
        twice: bool,
    },
    /// A heartbeat; what is to be cancelled is, or goes on all the same.
    Beat {
        worker: usize,
        obey: bool,
    },
    Note {
        worker: usize,
    },
    Crash {
        worker: usize,
    },
    /// It is late with its heartbeat, and does not know.
    Stall {
        worker: usize,
    },
    Reclaim,
    /// Somebody has seen that the worker is gone.
    Release {
        worker: usize,
        cause: Cause,
    },
    /// Workers are marked as draining, the first `most` of them.
    Drain {
        most: usize,
    },
    Undrain {
        worker: usize,
    },
    /// The marks lapse.
    PassMarks,
    /// What is scheduled becomes due.
    PassTime,
    /// What waits in the level has waited for a long time.
    Age {
        level: usize,
    },
    PassExpiry,
    PassTtl,
    /// The time is over of all idempotency keys whose tasks have ended, and the others are to be looked at.
    PassKeep,
    PassRate,
    /// The done records are old: past the age that the policy keeps, or only past the least.
    PassRetention {
        all: bool,
    },
    Promote,
    Tidy,
    Cancel {
        pick: usize,
    },
    Redrive,
    Purge,
    /// Scheduled or not, it is to run now.
    PromoteNow {
        pick: usize,
    },
    /// It gets the level at this place.
    Prioritize {
        pick: usize,
        level: usize,
    },
    /// It gets another payload; a dead letter may go round again with it.
    Amend {
        pick: usize,
        retry: bool,
    },
    Clear(Pending),
    Configure(Edit),
}

/// A task to enqueue.
#[derive(Debug, Clone, Default)]
pub(super) struct Spec {
    pub(super) level: usize,
    pub(super) start: Start,
    pub(super) unique: Option<u8>,
    pub(super) key: Option<u8>,
    pub(super) expires: bool,
    /// Whether it is of the type of which the policy may say more.
    pub(super) ruled: bool,
    /// Most attempts of its own.
    pub(super) attempts: Option<u32>,
    pub(super) idempotency: Option<u8>,
    /// Its payload.
    pub(super) payload: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Start {
    #[default]
    Now,
    Later,
}

/// How an attempt ends, if not by a plain ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Retry,
    Snooze,
    Dead,
    Release,
    Lost,
    LostForNow,
    Quarantined,
    Completed,
    Cancelled,
    Expired,
    Dropped,
}

#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub(super) levels: usize,
    per_key: Option<u32>,
    concurrency: Option<u32>,
    rate: Option<u32>,
    most_waiting: Option<u64>,
    most_done: Option<u32>,
    order: u8,
    rules: u8,
    log: u8,
    /// What is said of the type: nothing, attempts, or these and a limit.
    ruled: u32,
}

impl Edit {
    pub(super) fn first() -> Self {
        Self {
            levels: 0,
            per_key: Some(1),
            concurrency: None,
            rate: None,
            most_waiting: None,
            most_done: None,
            order: 0,
            rules: 0,
            log: 2,
            ruled: 0,
        }
    }

    pub(super) fn policy(&self) -> Policy {
        let levels = LEVELS[self.levels];
        let mut policy = Policy {
            levels: levels.iter().map(ToString::to_string).collect(),
            max_losses: MOST_LOSSES,
            completed_max_count: self.most_done,
            limits: Limits {
                rate: self.rate.map(|count| Rate {
                    count,
                    per: Duration::from_hours(31 * 24),
                }),
                concurrency: self.concurrency,
                per_key_concurrency: self.per_key,
                max_backlog: self.most_waiting,
            },
            order: match self.order {
                0 => Order::Strict { aging: None },
                1 => Order::Strict { aging: Some(HOUR) },
                _ => Order::Weighted {
                    weights: [5, 2, 1][..levels.len()].to_vec(),
                },
            },
            ..Policy::default()
        };
        policy.events = match self.log {
            0 => None,
            1 => Some(EventLog::default()),
            _ => Some(EventLog {
                log: Logged::Attempts,
                ..EventLog::default()
            }),
        };
        policy.retry.max_attempts = 3;
        if let Some(most) = self.ruled.checked_sub(1) {
            let mut of = TypePolicy {
                name: RULED.to_owned(),
                concurrency: Some(most).filter(|most| *most > 0),
                ..TypePolicy::default()
            };
            of.retry.max_attempts = Some(2);
            policy.types.push(of);
        }
        let rule = |cause, action, counts, after| RetryRule {
            cause: Some(cause),
            pattern: None,
            action,
            counts_as_attempt: counts,
            after,
        };
        if self.rules > 0 {
            policy.retry.rules = vec![
                rule(Cause::OomKilled, RetryAction::DeadLetter, None, None),
                rule(Cause::Evicted, RetryAction::Retry, Some(true), Some(HOUR)),
            ];
        }
        policy
    }
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let worker = || 0..WORKERS;
    let often = prop_oneof![
        6 => (prop::collection::vec(any_spec(), 1..6), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(tasks, apart, lost)| Step::Enqueue { tasks, apart, lost }),
        9 => (worker(), 0..5_usize, prop::bool::weighted(0.2))
            .prop_map(|(worker, slots, lost)| Step::Fetch { worker, slots, lost }),
        4 => (worker(), 1..5_usize, prop::bool::weighted(0.3), prop::bool::weighted(0.3))
            .prop_map(|(worker, count, foreign, twice)| Step::Ack { worker, count, foreign, twice }),
        5 => (worker(), prop::collection::vec(any_end(), 1..5), prop::bool::weighted(0.3))
            .prop_map(|(worker, ends, twice)| Step::Settle { worker, ends, twice }),
        3 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        2 => any_edit().prop_map(Step::Configure),
        2 => Just(Step::Tidy),
        2 => Just(Step::PassTime),
    ];
    let seldom = prop_oneof![
        1 => any::<bool>().prop_map(|apart| Step::Repeat { apart }),
        2 => (worker(), any::<bool>()).prop_map(|(worker, obey)| Step::Beat { worker, obey }),
        1 => worker().prop_map(|worker| Step::Note { worker }),
        1 => worker().prop_map(|worker| Step::Crash { worker }),
        1 => worker().prop_map(|worker| Step::Stall { worker }),
        2 => Just(Step::Reclaim),
        1 => (worker(), prop_oneof![Just(Cause::WorkerLost), Just(Cause::OomKilled), Just(Cause::Evicted)])
            .prop_map(|(worker, cause)| Step::Release { worker, cause }),
        2 => (1..=WORKERS).prop_map(|most| Step::Drain { most }),
        2 => worker().prop_map(|worker| Step::Undrain { worker }),
        1 => Just(Step::PassMarks),
        1 => (0..3_usize).prop_map(|level| Step::Age { level }),
        1 => Just(Step::PassExpiry),
        1 => Just(Step::PassTtl),
        1 => Just(Step::PassKeep),
        1 => Just(Step::PassRate),
        1 => prop::bool::weighted(0.2).prop_map(|all| Step::PassRetention { all }),
        1 => Just(Step::Promote),
        1 => Just(Step::Redrive),
        1 => Just(Step::Purge),
        2 => any::<usize>().prop_map(|pick| Step::PromoteNow { pick }),
        2 => (any::<usize>(), 0..2_usize).prop_map(|(pick, level)| Step::Prioritize { pick, level }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(pick, retry)| Step::Amend { pick, retry }),
        1 => prop_oneof![Just(Pending::Waiting), Just(Pending::Blocked), Just(Pending::Scheduled)]
            .prop_map(Step::Clear),
    ];
    prop_oneof![2 => often, 1 => seldom]
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let start = prop_oneof![2 => Just(Start::Now), 1 => Just(Start::Later)];
    (
        0..2_usize,
        start,
        prop::option::weighted(0.2, 0..3_u8),
        prop::option::weighted(0.4, 0..2_u8),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.2, 1..4_u32),
        prop::option::weighted(0.25, 0..3_u8),
        0..2_u8,
        any::<bool>(),
    )
        .prop_map(
            |(level, start, unique, key, expires, ruled, attempts, idempotency, payload, plain)| {
                // Or no two calls with one key ever asked for the same.
                if plain && idempotency.is_some() {
                    return Spec {
                        idempotency,
                        payload,
                        ..Spec::default()
                    };
                }
                Spec {
                    level,
                    start,
                    unique,
                    // One of its own would be refused where the type has a limit.
                    key: key.filter(|_| !ruled),
                    expires,
                    ruled,
                    attempts,
                    idempotency,
                    payload,
                }
            },
        )
}

fn any_end() -> impl Strategy<Value = Ends> {
    prop_oneof![
        3 => Just(Ends::Retry),
        1 => Just(Ends::Snooze),
        1 => Just(Ends::Dead),
        2 => Just(Ends::Release),
        1 => Just(Ends::Lost),
        1 => Just(Ends::LostForNow),
        1 => Just(Ends::Quarantined),
        4 => Just(Ends::Completed),
        1 => Just(Ends::Cancelled),
        1 => Just(Ends::Expired),
        1 => Just(Ends::Dropped),
    ]
}

fn any_edit() -> impl Strategy<Value = Edit> {
    (
        0..LEVELS.len(),
        prop::option::weighted(0.8, 1..3_u32),
        prop::option::weighted(0.3, 1..5_u32),
        prop::option::weighted(0.2, 3..9_u32),
        prop::option::weighted(0.3, 1..12_u64),
        prop::option::weighted(0.5, 1..6_u32),
        0..3_u8,
        0..2_u8,
        0..3_u8,
        0..4_u32,
    )
        .prop_map(
            |(
                levels,
                per_key,
                concurrency,
                rate,
                most_waiting,
                most_done,
                order,
                rules,
                log,
                ruled,
            )| {
                Edit {
                    levels,
                    per_key,
                    concurrency,
                    rate,
                    most_waiting,
                    most_done,
                    order,
                    rules,
                    log,
                    ruled,
                }
            },
        )
}
