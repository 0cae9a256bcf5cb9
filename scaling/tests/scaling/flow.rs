//! Targets, caps, spare, activation and tolerance.

use taskqueue_scaling::{
    Caps, Decision, Demand, Fleet, Flow, History, Limit, Policy, Reason, Target,
};

use crate::policies::{fleet, look, policy, secs, tasks};

fn latency() -> Policy {
    Policy {
        target: Target::Latency { within: secs(30) },
        concurrency: 8,
        max: 50,
        ..policy()
    }
}

fn flowing(waiting: u64, active: u64, arrival: f64, run_ms: u64) -> Demand {
    Demand {
        flow: Flow {
            arrival: Some(arrival),
            run: Some(std::time::Duration::from_millis(run_ms)),
            fresh: 1,
        },
        ..tasks(waiting, active)
    }
}

fn drainable(replicas: u32) -> Fleet {
    Fleet {
        handshake: true,
        ..fleet(replicas)
    }
}

fn first(policy: &Policy, demand: Demand, replicas: u32) -> Decision {
    let mut history = History::default();
    look(policy, demand, &drainable(replicas), &mut history, 1000)
}

#[test]
fn a_latency_target_follows_arrivals_and_backlog() {
    let policy = Policy {
        spare: 1,
        ..latency()
    };
    let decision = first(&policy, flowing(340, 0, 12.5, 420), 0);
    assert_eq!(
        decision.equation,
        "ceil(0.42 s × (12.5/s + 340 waiting / 30 s) / 8) = 2, + 1 spare = 3"
    );
    assert_eq!((decision.replicas, decision.reason), (3, Reason::Latency));
    let inputs: Vec<_> = decision
        .inputs
        .iter()
        .map(|input| (input.name, &*input.value))
        .collect();
    assert_eq!(
        inputs,
        [
            ("replicas", "0"),
            ("ready", "0"),
            ("waiting", "340"),
            ("active", "0"),
            ("arrivalRate", "12.5/s"),
            ("meanRun", "0.42 s"),
            ("target", "latency 30 s"),
            ("concurrency", "8"),
            ("minReplicas", "0"),
            ("maxReplicas", "50"),
            ("spareReplicas", "1"),
        ]
    );
}

#[test]
fn before_the_run_time_is_known_each_task_gets_a_slot() {
    let decision = first(&latency(), tasks(33, 0), 0);
    assert_eq!(decision.replicas, 5);
    assert_eq!(
        decision.equation,
        "ceil((33 waiting + 0 active) / 8) = 5, a slot each until the run time is known"
    );
}

#[test]
fn no_slots_are_added_that_find_no_task() {
    // Four tasks of ten minutes: 80 slots would not end them any sooner.
    let decision = first(&latency(), flowing(4, 0, 0.0, 600_000), 0);
    assert_eq!(decision.replicas, 1);
    assert!(
        decision.equation.ends_with(", at most 1 find a task"),
        "{}",
        decision.equation
    );
}

#[test]
fn long_tasks_keep_their_workers_when_nothing_arrives() {
    let decision = first(&latency(), flowing(0, 20, 0.0, 1000), 3);
    assert_eq!(decision.replicas, 3);
}

#[test]
fn an_empty_queue_at_rest_is_not_woken_by_the_rate_of_the_past() {
    let decision = first(&latency(), flowing(0, 0, 12.5, 420), 0);
    assert_eq!((decision.replicas, decision.reason), (0, Reason::Empty));
}

#[test]
fn tasks_that_come_and_go_between_readings_keep_a_queue_in_use() {
    let (policy, mut history) = (latency(), History::default());
    let mut at = |seconds, fresh| {
        let mut demand = flowing(0, 0, 1.0, 1);
        demand.flow.fresh = fresh;
        look(&policy, demand, &drainable(1), &mut history, seconds).replicas
    };
    assert_eq!((at(0, 1), at(60, 1), at(89, 0), at(90, 0)), (1, 1, 1, 0));
}

#[test]
fn no_worker_is_added_that_a_limit_would_let_wait() {
    let limited = |caps| {
        let demand = Demand {
            caps,
            ..flowing(5000, 0, 10.0, 1000)
        };
        first(&latency(), demand, 0)
    };
    let concurrency = limited(Caps {
        concurrency: Some(20),
        ..Caps::default()
    });
    assert_eq!(
        (concurrency.replicas, concurrency.reason),
        (3, Reason::ConcurrencyLimited)
    );
    assert_eq!(concurrency.limit, Some(Limit::Concurrency));
    let rate = limited(Caps {
        concurrency: Some(20),
        rate: Some(10.0),
        ..Caps::default()
    });
    assert_eq!(
        (rate.replicas, rate.reason, rate.limit),
        (2, Reason::RateLimited, Some(Limit::Rate))
    );
    assert!(
        rate.equation.ends_with(", at most 3 of use with limits.concurrency 20, at most 2 of use with limits.rate 10.0/s"),
        "{}",
        rate.equation
    );
    let clamps: Vec<_> = rate
        .clamps
        .iter()
        .map(|clamp| (clamp.what, clamp.from, clamp.to))
        .collect();
    assert_eq!(
        clamps,
        [("limits.concurrency", 23, 3), ("limits.rate", 3, 2)]
    );
    // A rate so low that it needs a part of a worker needs that worker.
    let slow = limited(Caps {
        rate: Some(0.01),
        ..Caps::default()
    });
    assert_eq!(slow.replicas, 1);
}

#[test]
fn a_rate_limit_that_is_used_up_adds_no_worker_and_takes_none() {
    let used_up = Caps {
        used_up: true,
        ..Caps::default()
    };
    for (replicas, expected) in [(0, 1), (3, 3)] {
        let demand = Demand {
            caps: used_up,
            ..tasks(5000, 0)
        };
        let decision = first(&policy(), demand, replicas);
        assert_eq!(decision.replicas, expected);
        assert_eq!(
            (decision.reason, decision.limit),
            (Reason::RateLimited, Some(Limit::Rate))
        );
        assert!(
            decision
                .equation
                .ends_with("of use with a rate limit that is used up"),
            "{}",
            decision.equation
        );
    }
    // What needs fewer needs fewer all the same.
    let little = Demand {
        caps: used_up,
        ..tasks(5, 0)
    };
    assert_eq!(first(&policy(), little, 3).wanted, 1);
}

#[test]
fn zero_is_left_only_for_enough_tasks_and_kept_by_any() {
    let policy = Policy {
        activation: 10,
        ..policy()
    };
    let few = first(&policy, tasks(9, 0), 0);
    assert_eq!((few.replicas, few.reason), (0, Reason::BelowActivation));
    assert_eq!(first(&policy, tasks(10, 0), 0).replicas, 2);
    assert_eq!(first(&policy, tasks(1, 0), 2).replicas, 2);
}

#[test]
fn spare_replicas_go_with_the_last_task() {
    let policy = Policy {
        spare: 2,
        ..policy()
    };
    assert_eq!(first(&policy, tasks(1, 0), 0).replicas, 3);
    assert_eq!(first(&policy, tasks(0, 0), 0).replicas, 0);
}

#[test]
fn what_is_within_the_tolerance_changes_nothing() {
    let policy = Policy {
        tolerance_permille: 100,
        max: 50,
        ..policy()
    };
    let near = first(&policy, tasks(110, 0), 20);
    assert_eq!(
        (near.replicas, near.wanted, near.reason),
        (20, 22, Reason::Tolerance)
    );
    assert!(
        near.equation
            .ends_with("; held at 20: 22.00 is within 10 % of that"),
        "{}",
        near.equation
    );
    assert_eq!(first(&policy, tasks(111, 0), 20).replicas, 23);
    assert_eq!(first(&policy, tasks(90, 0), 20).replicas, 20);
    // Not from zero, and not for a bound.
    assert_eq!(first(&policy, tasks(1, 0), 0).replicas, 1);
    assert_eq!(
        first(
            &Policy {
                min: 20,
                ..policy.clone()
            },
            tasks(95, 0),
            19
        )
        .replicas,
        20
    );
    assert_eq!(
        first(&Policy { max: 19, ..policy }, tasks(95, 0), 20).replicas,
        19
    );
}

#[test]
fn what_arrives_keeps_its_workers_while_the_backlog_is_short() {
    let policy = Policy {
        target: Target::Backlog { per_replica: 20 },
        tolerance_permille: 100,
        concurrency: 8,
        max: 50,
        ..policy()
    };
    let mut history = History::default();
    let mut at = |seconds| {
        let demand = flowing(0, 30, 40.0, 1000);
        look(&policy, demand, &drainable(12), &mut history, seconds)
    };
    at(0);
    at(61);
    let keeps = at(91);
    // 40 slots are busy, in 5 pods, and 10 % more make 6.
    assert_eq!((keeps.replicas, keeps.reason), (6, Reason::Arrivals));
}

#[test]
fn a_small_step_waits_for_the_pods_of_the_one_before() {
    let (policy, mut history) = (
        Policy {
            max: 50,
            ..policy()
        },
        History::default(),
    );
    let mut at = |seconds, waiting, replicas| {
        look(
            &policy,
            tasks(waiting, 0),
            &fleet(replicas),
            &mut history,
            seconds,
        )
        .replicas
    };
    assert_eq!(at(0, 50, 10), 10);
    assert_eq!(at(30, 60, 10), 12);
    assert_eq!(at(31, 70, 12), 12);
    assert_eq!(at(32, 120, 12), 24, "twice as many do not wait");
    assert_eq!(at(36, 70, 12), 14);
}

#[test]
fn a_wake_from_zero_waits_for_nothing() {
    let (policy, mut history) = (
        Policy {
            max: 50,
            ..policy()
        },
        History::default(),
    );
    let mut at = |seconds, waiting, replicas| {
        look(
            &policy,
            tasks(waiting, 0),
            &fleet(replicas),
            &mut history,
            seconds,
        )
        .replicas
    };
    assert_eq!((at(10, 0, 0), at(11, 30, 0), at(12, 50, 6)), (0, 6, 10));
}
