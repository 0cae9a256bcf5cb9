//! The model that plays traces.

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_scaling::{Caps, Follower, Load, Played, World, simulate};

use crate::policies::{policy, secs};

const WORLD: World = World {
    concurrency: 2,
    start: Duration::from_secs(2),
    downstream: None,
    handshake: true,
};

/// Tasks of a second at this rate for so long, and a minute of nothing.
fn load(arrivals: f64, seconds: u64) -> Vec<Load> {
    let at = |at, arrivals| Load {
        at: secs(at),
        arrivals,
        run: secs(1),
    };
    vec![at(0, arrivals), at(seconds, 0.0), at(seconds + 60, 0.0)]
}

/// With this number of replicas from the first instant on.
fn fixed(trace: &[Load], world: &World, replicas: u32) -> Played {
    simulate(trace, world, |_| replicas)
}

#[test]
fn one_pod_that_is_fast_enough_lets_nobody_wait_but_for_its_start() {
    let played = fixed(&load(1.0, 100), &WORLD, 1);
    let summary = played.summary;
    assert_eq!((summary.tasks, summary.changes, summary.most), (100, 1, 1));
    assert_eq!(summary.waiting_p50, Duration::ZERO);
    assert!((summary.pod_seconds - 160.0).abs() < 0.2, "{summary:?}");
}

#[test]
fn what_one_pod_cannot_take_waits_in_its_turn() {
    // Four a second for ten seconds, two at a time: the last of 40 begins after 20 s and the start.
    let summary = fixed(&load(4.0, 10), &WORLD, 1).summary;
    assert_eq!(summary.tasks, 40);
    let half = summary.waiting_p50.as_secs_f64();
    assert!((6.0..8.0).contains(&half), "{summary:?}");
}

#[test]
fn a_slow_downstream_lengthens_tasks_in_proportion() {
    let slow = World {
        downstream: Some(2),
        ..WORLD
    };
    let seconds = |world| {
        let played = fixed(&load(4.0, 100), world, 2);
        played.points.len()
    };
    // Twice as much at once takes twice as long: in the end no more is done with two pods.
    assert!(seconds(&slow) > seconds(&WORLD) + 30);
}

#[test]
fn a_busy_pod_ends_its_task_before_it_goes() {
    let long = [
        Load {
            at: secs(0),
            arrivals: 1.0,
            run: secs(50),
        },
        Load {
            at: secs(1),
            arrivals: 0.0,
            run: secs(50),
        },
        Load {
            at: secs(100),
            arrivals: 0.0,
            run: secs(50),
        },
    ];
    for handshake in [true, false] {
        let world = World { handshake, ..WORLD };
        let played = simulate(&long, &world, |seen| u32::from(seen.now < secs(10)));
        let summary = played.summary;
        assert_eq!((summary.tasks, summary.changes), (1, 2));
        // From the first instant to the end of the task, and to the look that follows it.
        assert!((51.0..54.0).contains(&summary.pod_seconds), "{summary:?}");
    }
}

#[test]
fn our_own_decision_goes_to_zero_and_back_and_always_the_same() {
    let trace = load(8.0, 120);
    let play = || {
        let mut follower = Follower::new(
            policy(),
            Caps::default(),
            WORLD.start,
            Timestamp::UNIX_EPOCH,
        );
        simulate(&trace, &WORLD, |seen| follower.aim(seen))
    };
    let played = play();
    assert_eq!(played, play());
    let summary = played.summary;
    assert_eq!(summary.tasks, 960);
    assert_eq!(played.points.last().unwrap().replicas, 0);
    assert!(summary.waiting_p95 < secs(5), "{summary:?}");
}
