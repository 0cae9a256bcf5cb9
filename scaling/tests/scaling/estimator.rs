//! Arrival rate and run time from counters.

use std::time::Duration;

use taskqueue_scaling::Estimator;

use crate::policies::secs;

/// Tasks enqueued and completed each second, each of half a second.
fn fed(estimator: &mut Estimator, from: u64, to: u64, each: u64) {
    for second in from..=to {
        let tasks = second * each;
        estimator.record(
            secs(second),
            tasks,
            tasks,
            Duration::from_millis(500) * u32::try_from(tasks).unwrap(),
        );
    }
}

#[test]
fn few_samples_say_nothing() {
    let mut estimator = Estimator::default();
    estimator.record(secs(0), 0, 0, secs(0));
    estimator.record(secs(1), 19, 19, secs(19));
    assert_eq!(
        (estimator.flow().arrival, estimator.flow().run),
        (None, None)
    );
    estimator.record(secs(2), 20, 20, secs(20));
    assert_eq!(estimator.flow().run, Some(secs(1)));
    assert!(estimator.flow().arrival.is_some());
}

#[test]
fn a_steady_flow_is_found() {
    let mut estimator = Estimator::default();
    fed(&mut estimator, 0, 300, 10);
    let flow = estimator.flow();
    assert!((flow.arrival.unwrap() - 10.0).abs() < 0.1, "{flow:?}");
    assert_eq!(flow.run, Some(Duration::from_millis(500)));
    assert_eq!(flow.fresh, 20);
}

#[test]
fn a_flow_that_ends_halves_every_thirty_seconds_and_the_run_time_stays() {
    let mut estimator = Estimator::default();
    fed(&mut estimator, 0, 300, 10);
    let run = secs(1500);
    for second in 301..=360 {
        estimator.record(secs(second), 3000, 3000, run);
    }
    let flow = estimator.flow();
    assert!((flow.arrival.unwrap() - 2.5).abs() < 0.1, "{flow:?}");
    assert_eq!(
        (flow.run, flow.fresh),
        (Some(Duration::from_millis(500)), 0)
    );
}

#[test]
fn one_slow_task_after_a_pause_does_not_pass_for_all() {
    let mut estimator = Estimator::default();
    fed(&mut estimator, 0, 300, 10);
    estimator.record(secs(4000), 3001, 3001, secs(1500 + 100));
    let run = estimator.flow().run.unwrap();
    assert!(run < secs(6), "{run:?}");
}

#[test]
fn counters_that_fell_are_those_of_another_queue() {
    let mut estimator = Estimator::default();
    fed(&mut estimator, 0, 300, 10);
    let before = estimator.flow();
    estimator.record(secs(301), 5, 5, secs(1));
    assert_eq!(estimator.flow().arrival, before.arrival);
    assert_eq!(estimator.flow().fresh, 0);
}

#[test]
fn the_first_reading_of_a_full_queue_is_no_flood() {
    let mut estimator = Estimator::default();
    estimator.record(secs(1000), 1_000_000, 999_000, secs(1));
    assert_eq!(estimator.flow().arrival, None);
    estimator.record(secs(1001), 1_000_100, 999_000, secs(1));
    assert!(estimator.flow().arrival.unwrap() < 5.0);
}
