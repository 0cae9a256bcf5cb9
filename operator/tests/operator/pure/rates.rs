//! Tasks per second and mean run time.

use std::time::Duration;

use taskqueue_operator::rates::Rates;
use taskqueue_queue::Counters;

fn counters(enqueued: u64, completed: u64, run_millis: u64) -> Counters {
    Counters {
        enqueued,
        completed,
        run: Duration::from_millis(run_millis),
        ..Counters::default()
    }
}

fn at(rates: &mut Rates, seconds: u64, counters: Counters) {
    rates.record(Duration::from_secs(seconds), counters);
}

fn enqueued(rates: &Rates) -> f64 {
    rates.per_second(|counters| counters.enqueued)
}

/// Rates are told to a tenth.
fn is_about(rate: f64, expected: f64) {
    assert!((rate - expected).abs() < 0.05, "{rate} is not {expected}");
}

#[test]
fn one_sample_says_nothing() {
    let mut rates = Rates::default();
    is_about(enqueued(&rates), 0.0);
    at(&mut rates, 1, counters(1000, 0, 0));
    is_about(enqueued(&rates), 0.0);
    assert_eq!(rates.mean_run(), None);
}

#[test]
fn a_rate_is_the_growth_over_the_last_ten_seconds() {
    let mut rates = Rates::default();
    for second in 0..=30_u64 {
        // 5 a second, and 20 a second from second 20 on.
        let tasks = 5 * second + 15 * second.saturating_sub(20);
        at(&mut rates, second, counters(tasks, 0, 0));
        if second == 20 {
            is_about(enqueued(&rates), 5.0);
        }
    }
    is_about(enqueued(&rates), 20.0);
}

#[test]
fn a_quiet_queue_comes_to_rest() {
    let mut rates = Rates::default();
    at(&mut rates, 0, counters(0, 0, 0));
    at(&mut rates, 1, counters(100, 0, 0));
    for second in 2..=12 {
        at(&mut rates, second, counters(100, 0, 0));
    }
    is_about(enqueued(&rates), 0.0);
}

#[test]
fn two_samples_at_one_instant_divide_by_nothing() {
    let mut rates = Rates::default();
    at(&mut rates, 1, counters(0, 0, 0));
    at(&mut rates, 1, counters(100, 0, 0));
    is_about(enqueued(&rates), 0.0);
}

#[test]
fn counters_that_fell_start_anew_instead_of_counting_backwards() {
    let mut rates = Rates::default();
    at(&mut rates, 0, counters(1000, 900, 0));
    at(&mut rates, 1, counters(10, 9, 0));
    is_about(enqueued(&rates), 0.0);
    at(&mut rates, 2, counters(20, 19, 0));
    is_about(enqueued(&rates), 10.0);
}

#[test]
fn the_mean_run_is_of_the_tasks_that_completed_last_and_stays_when_none_do() {
    let mut rates = Rates::default();
    at(&mut rates, 0, counters(0, 100, 1_000_000));
    at(&mut rates, 1, counters(0, 110, 1_000_200));
    assert_eq!(rates.mean_run(), Some(Duration::from_millis(20)));
    for second in 2..=20 {
        at(&mut rates, second, counters(0, 110, 1_000_200));
    }
    assert_eq!(rates.mean_run(), Some(Duration::from_millis(20)));
}
