//! What the decision promises, case by case.

use jiff::Timestamp;
use taskqueue_scaling::{Decision, Demand, History, Limit, Mode, Policy, Reason, Target, decide};

use crate::policies::{fleet, look, policy, secs, tasks};

/// One decision with no past.
fn first(policy: &Policy, demand: Demand, replicas: u32) -> Decision {
    let mut history = History::default();
    look(policy, demand, &fleet(replicas), &mut history, 1000)
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
            &fleet(replicas),
            &mut History::default(),
            secs(5),
            Timestamp::UNIX_EPOCH,
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
    let mut at = |seconds, demand: Demand| look(&policy, demand, &fleet(4), &mut history, seconds);
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
fn falls_in_one_step_to_the_highest_number_within_the_window() {
    let (policy, mut history) = (policy(), History::default());
    let mut at = |seconds, waiting| {
        let fleet = fleet(10);
        look(&policy, tasks(waiting, 0), &fleet, &mut history, seconds)
    };
    at(0, 50);
    at(1, 40);
    at(10, 20);
    // Eight were wanted last at 1 s, four at 10 s: from 61 s on a fall is possible, and half a
    // window later all that it has come to is taken at once.
    let lull = at(61, 5);
    assert_eq!((lull.replicas, lull.reason), (10, Reason::Stabilizing));
    assert_eq!(
        lull.equation,
        "ceil((5 waiting + 0 active) / 5) = 1; 8 = highest within 60 s; 10 for 30 s to fall in one step"
    );
    assert_eq!(at(90, 5).replicas, 10);
    assert_eq!(at(91, 5).replicas, 1);
}

#[test]
fn a_fall_that_has_begun_is_finished_before_the_next() {
    let policy = Policy {
        target: Target::Backlog { per_replica: 1 },
        ..policy()
    };
    let mut history = History::default();
    let mut at = |seconds, waiting, replicas| {
        let fleet = fleet(replicas);
        look(&policy, tasks(waiting, 0), &fleet, &mut history, seconds).replicas
    };
    at(0, 10, 10);
    at(1, 6, 10);
    at(61, 6, 10);
    assert_eq!(at(91, 6, 10), 6);
    // Not all pods are gone yet, and by now even fewer would do.
    at(92, 2, 8);
    assert_eq!(at(160, 2, 8), 6);
    // They are: now the next fall is thought of.
    assert_eq!((at(161, 2, 6), at(190, 2, 6), at(191, 2, 6)), (6, 6, 2));
}

#[test]
fn an_operator_that_just_started_waits_the_stabilization_time_too() {
    let (policy, mut history) = (policy(), History::default());
    let mut at = |seconds| look(&policy, tasks(5, 0), &fleet(6), &mut history, seconds);
    assert_eq!((at(0).replicas, at(60).replicas), (6, 6));
    assert_eq!((at(61).replicas, at(91).replicas), (6, 1));
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
