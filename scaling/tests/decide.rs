//! What the decision promises, case by case and as properties.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use proptest::prelude::*;
use taskqueue_scaling::{Decision, Demand, Fleet, History, Limit, Mode, Policy, Reason, decide};

fn policy() -> Policy {
    Policy {
        mode: Mode::Auto,
        min: 0,
        max: 10,
        backlog_per_replica: 5,
        idle: secs(30),
        stabilization: secs(60),
        start_time: secs(2),
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tasks(waiting: u64, active: u64) -> Demand {
    Demand {
        waiting,
        active,
        ..Demand::default()
    }
}

/// One decision with no past.
fn first(policy: &Policy, demand: Demand, replicas: u32) -> Decision {
    decide(
        policy,
        Some(&demand),
        Fleet { replicas },
        &mut History::default(),
        secs(1000),
    )
}

#[test]
fn goes_from_zero_straight_to_what_the_backlog_needs() {
    let decision = first(&policy(), tasks(50, 0), 0);
    assert_eq!(decision.replicas, 10);
    assert_eq!(decision.reason, Reason::Backlog);
    assert_eq!(decision.equation, "ceil((50 waiting + 0 active) / 5) = 10");
}

#[test]
fn counts_running_tasks_as_need() {
    assert_eq!(first(&policy(), tasks(1, 10), 0).replicas, 3);
}

#[test]
fn stops_at_the_maximum_and_says_so() {
    let decision = first(&policy(), tasks(51, 0), 0);
    assert_eq!(
        (decision.replicas, decision.limit),
        (10, Some(Limit::Maximum))
    );
    assert_eq!(
        decision.equation,
        "ceil((51 waiting + 0 active) / 5) = 11, at most 10"
    );
}

#[test]
fn keeps_the_minimum_and_says_so() {
    let decision = first(&Policy { min: 2, ..policy() }, tasks(0, 0), 0);
    assert_eq!(
        (decision.replicas, decision.limit),
        (2, Some(Limit::Minimum))
    );
}

#[test]
fn an_unreadable_queue_holds_the_fleet() {
    for replicas in [0, 7] {
        let decision = decide(
            &policy(),
            None,
            Fleet { replicas },
            &mut History::default(),
            secs(5),
        );
        assert_eq!(decision.replicas, replicas);
        assert_eq!(decision.reason, Reason::RedisUnreachable);
    }
}

#[test]
fn no_worker_is_stopped_while_a_task_runs() {
    let decision = first(&policy(), tasks(0, 1), 8);
    assert_eq!(
        (decision.replicas, decision.reason),
        (8, Reason::BusyWorkers)
    );
}

#[test]
fn falls_to_zero_only_after_the_idle_time() {
    let (policy, mut history) = (policy(), History::default());
    let mut at = |seconds, demand: Demand| {
        decide(
            &policy,
            Some(&demand),
            Fleet { replicas: 4 },
            &mut history,
            secs(seconds),
        )
    };
    at(100, tasks(0, 1));
    let waits = at(129, tasks(0, 0));
    assert_eq!((waits.replicas, waits.reason), (4, Reason::IdleWait));
    let goes = at(130, tasks(0, 0));
    assert_eq!((goes.replicas, goes.reason), (0, Reason::Empty));
}

#[test]
fn an_operator_that_just_started_waits_the_idle_time_too() {
    assert_eq!(first(&policy(), tasks(0, 0), 3).replicas, 3);
}

#[test]
fn a_task_due_within_the_start_time_of_a_pod_wakes_a_worker() {
    let due = |next_due| {
        let demand = Demand {
            next_due: Some(next_due),
            ..tasks(0, 0)
        };
        first(&policy(), demand, 0).replicas
    };
    assert_eq!(due(secs(2)), 1);
    assert_eq!(due(secs(3)), 0);
}

#[test]
fn falls_only_to_the_highest_number_within_the_window() {
    let (policy, mut history) = (policy(), History::default());
    let mut at = |seconds, waiting| {
        decide(
            &policy,
            Some(&tasks(waiting, 0)),
            Fleet { replicas: 10 },
            &mut history,
            secs(seconds),
        )
    };
    at(0, 50);
    at(1, 40);
    at(10, 20);
    let lull = at(61, 5);
    assert_eq!((lull.replicas, lull.reason), (8, Reason::Stabilizing));
    assert_eq!(at(62, 5).replicas, 4);
    assert_eq!(at(71, 5).replicas, 1);
}

#[test]
fn an_operator_that_just_started_waits_the_stabilization_time_too() {
    let (policy, mut history) = (policy(), History::default());
    let mut at = |seconds| {
        let fleet = Fleet { replicas: 6 };
        decide(
            &policy,
            Some(&tasks(5, 0)),
            fleet,
            &mut history,
            secs(seconds),
        )
    };
    assert_eq!((at(0).replicas, at(60).replicas), (6, 6));
    assert_eq!(at(61).replicas, 1);
}

#[test]
fn a_paused_queue_needs_workers_only_for_what_runs() {
    let demand = Demand {
        paused: true,
        ..tasks(100, 0)
    };
    assert_eq!(first(&policy(), demand, 0).replicas, 0);
    assert_eq!(first(&policy(), demand, 0).reason, Reason::QueuePaused);
}

#[test]
fn paused_scaling_follows_the_number_that_a_person_set() {
    let by_hand = Policy {
        mode: Mode::Paused(Some(3)),
        ..policy()
    };
    assert_eq!(first(&by_hand, tasks(500, 0), 9).replicas, 3);
    let left_alone = Policy {
        mode: Mode::Paused(None),
        ..policy()
    };
    assert_eq!(first(&left_alone, tasks(500, 0), 9).replicas, 9);
}

prop_compose! {
    fn any_policy()(min in 0u32..20, more in 0u32..50, per in 1u32..100, idle in 0u64..100, window in 0u64..100) -> Policy {
        Policy { min, max: (min + more).max(1), backlog_per_replica: per, idle: secs(idle), stabilization: secs(window), ..policy() }
    }
}

prop_compose! {
    fn any_demand()(waiting in 0u64..5000, active in 0u64..500, due in proptest::option::of(0u64..20), paused: bool) -> Demand {
        Demand { waiting, active, next_due: due.map(secs), paused }
    }
}

proptest! {
    #[test]
    fn stays_within_the_bounds_when_it_changes_anything(policy in any_policy(), demand in any_demand(), replicas in 0u32..80) {
        let decision = first(&policy, demand, replicas);
        prop_assert!(decision.replicas == replicas || (policy.min..=policy.max).contains(&decision.replicas));
    }

    #[test]
    fn more_waiting_tasks_never_mean_fewer_workers(policy in any_policy(), demand in any_demand(), more in 0u64..1000, replicas in 0u32..80) {
        let busier = Demand { waiting: demand.waiting + more, ..demand };
        prop_assert!(first(&policy, busier, replicas).replicas >= first(&policy, demand, replicas).replicas);
    }

    #[test]
    fn never_shrinks_while_a_task_runs_and_never_reaches_zero_with_work(policy in any_policy(), demand in any_demand(), replicas in 0u32..80) {
        let decision = first(&policy, demand, replicas);
        if demand.active > 0 {
            prop_assert!(decision.replicas >= replicas);
        }
        if demand.active > 0 || (demand.waiting > 0 && !demand.paused) {
            prop_assert!(decision.replicas > 0);
        }
    }

    #[test]
    fn a_constant_load_settles_and_stays(policy in any_policy(), demand in any_demand(), start in 0u32..80) {
        let mut history = History::default();
        let mut replicas = start;
        let mut changes = 0;
        for second in 0..400 {
            let decision = decide(&policy, Some(&demand), Fleet { replicas }, &mut history, secs(second));
            changes += u32::from(decision.replicas != replicas);
            replicas = decision.replicas;
        }
        // Into the bounds at once, and then to what is wanted when the window has passed.
        let steps = 1 + u32::from(start > policy.max);
        prop_assert!(changes <= steps, "{changes} changes");
    }

    #[test]
    fn the_same_inputs_decide_the_same(policy in any_policy(), trace in proptest::collection::vec(any_demand(), 1..50)) {
        let run = || {
            let (mut history, mut replicas) = (History::default(), 0);
            trace.iter().zip(0u64..).map(|(demand, second)| {
                let decision = decide(&policy, Some(demand), Fleet { replicas }, &mut history, secs(second * 7));
                replicas = decision.replicas;
                replicas
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
