//! What holds the number: annotations, obstacles, rollouts, busy workers, steps and outages.

use jiff::Timestamp;
use taskqueue_scaling::{
    Decision, Demand, Fleet, History, Mode, Obstacle, Pace, Policy, Reason, Step, StepSize, decide,
};

use crate::policies::{fleet, look, policy, secs, tasks};

fn calm() -> Policy {
    Policy {
        down: Pace::default(),
        ..policy()
    }
}

fn drainable(replicas: u32) -> Fleet {
    Fleet {
        handshake: true,
        ..fleet(replicas)
    }
}

fn first(policy: &Policy, demand: Demand, fleet: &Fleet) -> Decision {
    look(policy, demand, fleet, &mut History::default(), 1000)
}

#[test]
fn annotations_hold_one_direction_each() {
    let up = Policy {
        hold_up: true,
        ..calm()
    };
    let down = Policy {
        hold_down: true,
        ..calm()
    };
    for (policy, waiting, replicas, reason) in [
        (&up, 50, 4, Reason::HeldByAnnotation),
        (&up, 5, 1, Reason::Backlog),
        (&down, 5, 4, Reason::HeldByAnnotation),
        (&down, 50, 10, Reason::Backlog),
    ] {
        let decision = first(policy, tasks(waiting, 0), &drainable(4));
        assert_eq!((decision.replicas, decision.reason), (replicas, reason));
    }
}

#[test]
fn pods_that_cannot_run_get_no_company_and_one_may_try_from_zero() {
    let stuck = |replicas| Fleet {
        obstacle: Some(Obstacle {
            reason: "Unschedulable".to_owned(),
            message: "0/3 nodes are available".to_owned(),
        }),
        ..drainable(replicas)
    };
    let held = first(&calm(), tasks(50, 0), &stuck(4));
    assert_eq!(
        (held.replicas, held.wanted, held.reason),
        (4, 10, Reason::WorkersFailing)
    );
    assert!(
        held.equation
            .ends_with("; no more than 4: pods fail with Unschedulable"),
        "{}",
        held.equation
    );
    assert_eq!(first(&calm(), tasks(50, 0), &stuck(0)).replicas, 1);
    assert_eq!(first(&calm(), tasks(5, 0), &stuck(4)).replicas, 1);
}

#[test]
fn a_rollout_holds_every_fall_but_that_to_zero() {
    let rolling = Fleet {
        rolling: true,
        ..drainable(4)
    };
    let held = first(&calm(), tasks(5, 0), &rolling);
    assert_eq!((held.replicas, held.reason), (4, Reason::RollingOut));
    let at_once = Policy {
        idle: secs(0),
        ..calm()
    };
    assert_eq!(first(&at_once, tasks(0, 0), &rolling).replicas, 0);
}

#[test]
fn workers_that_can_be_drained_leave_while_others_run_tasks() {
    // Two tasks a replica: three of them are full.
    let decision = first(&calm(), tasks(0, 6), &drainable(8));
    assert_eq!(
        (decision.replicas, decision.reason),
        (3, Reason::BusyWorkers)
    );
    let without = Policy {
        wait_for_idle: false,
        ..calm()
    };
    assert_eq!(first(&without, tasks(0, 6), &fleet(8)).replicas, 3);
}

#[test]
fn where_running_tasks_are_not_seen_the_number_is_held_until_their_time_is_over() {
    let hidden = |waiting| Demand {
        unseen: Some(secs(30)),
        ..tasks(waiting, 0)
    };
    let (policy, mut history) = (calm(), History::default());
    let mut at =
        |seconds, waiting| look(&policy, hidden(waiting), &fleet(4), &mut history, seconds);
    // Fewer would do for what waits, but those before may still run.
    for (second, waiting) in [(0, 5), (10, 1), (11, 0), (39, 0)] {
        let held = at(second, waiting);
        assert_eq!((held.replicas, held.reason), (4, Reason::UnseenTasks));
        assert!(
            held.equation
                .ends_with("; held at 4: a task may run unseen for 30 s after the last was seen"),
            "{}",
            held.equation
        );
    }
    assert_eq!(at(40, 0).replicas, 0);
    // Who does not wait for idle workers does not wait for these.
    let at_once = Policy {
        wait_for_idle: false,
        ..calm()
    };
    assert_eq!(first(&at_once, hidden(1), &fleet(4)).replicas, 1);
}

#[test]
fn steps_count_from_the_start_of_their_time() {
    let step = |most| {
        Some(Step {
            most,
            per: secs(15),
        })
    };
    let policy = Policy {
        max: 100,
        up: Pace {
            stabilization: secs(0),
            step: step(StepSize::Percent(100)),
        },
        down: Pace {
            stabilization: secs(0),
            step: step(StepSize::Replicas(3)),
        },
        ..policy()
    };
    let mut history = History::default();
    let mut replicas = 0;
    // What the number is after each change, with the second of it.
    let mut changes = Vec::new();
    for second in 0..100 {
        let waiting = if second < 70 { 500 } else { 5 };
        let fleet = drainable(replicas);
        let decision = look(&policy, tasks(waiting, 0), &fleet, &mut history, second);
        if decision.replicas != replicas {
            replicas = decision.replicas;
            changes.push((second, replicas));
        }
        assert!(replicas == 1 || decision.reason == Reason::StepLimit);
    }
    let expected = [
        (0, 1),
        (16, 2),
        (32, 4),
        (48, 8),
        (64, 16),
        (70, 13),
        (86, 10),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn a_rise_can_be_made_to_wait_for_a_want_that_lasts() {
    let policy = Policy {
        up: Pace {
            stabilization: secs(10),
            step: None,
        },
        ..policy()
    };
    let mut history = History::default();
    let mut at =
        |seconds, waiting| look(&policy, tasks(waiting, 0), &fleet(2), &mut history, seconds);
    at(0, 10);
    let spike = at(1, 50);
    assert_eq!((spike.replicas, spike.reason), (2, Reason::Stabilizing));
    assert_eq!(at(5, 30).replicas, 2);
    assert_eq!(at(11, 50).replicas, 6);
    assert_eq!(at(16, 50).replicas, 10);
}

#[test]
fn after_an_outage_the_whole_window_is_waited_again() {
    let (policy, mut history) = (policy(), History::default());
    look(&policy, tasks(40, 0), &fleet(8), &mut history, 0);
    for second in 1..=300 {
        let at = Timestamp::UNIX_EPOCH;
        let decision = decide(&policy, None, &fleet(8), &mut history, secs(second), at);
        assert_eq!(
            (decision.replicas, decision.reason),
            (8, Reason::RedisUnreachable)
        );
    }
    let back = look(&policy, tasks(5, 0), &fleet(8), &mut history, 301);
    assert_eq!((back.replicas, back.reason), (8, Reason::Stabilizing));
    let empty = look(&policy, tasks(0, 0), &fleet(8), &mut history, 329);
    assert_eq!((empty.replicas, empty.reason), (8, Reason::IdleWait));
}

#[test]
fn a_number_set_by_hand_needs_no_redis() {
    let policy = Policy {
        mode: Mode::Paused(Some(3)),
        ..policy()
    };
    let at = Timestamp::UNIX_EPOCH;
    let decision = decide(
        &policy,
        None,
        &fleet(8),
        &mut History::default(),
        secs(1),
        at,
    );
    assert_eq!(
        (decision.replicas, decision.reason),
        (3, Reason::ScalingPaused)
    );
}

#[test]
fn what_is_recommended_is_what_would_be_done() {
    let recommend = Policy {
        mode: Mode::Recommend,
        ..policy()
    };
    for waiting in [0, 5, 500] {
        let (told, done) = (
            first(&recommend, tasks(waiting, 0), &fleet(3)),
            first(&policy(), tasks(waiting, 0), &fleet(3)),
        );
        assert_eq!(told, done);
    }
}
