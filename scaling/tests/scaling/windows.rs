//! Windows of the week.

use jiff::{
    Timestamp,
    civil::{Weekday, time},
    tz::TimeZone,
};
use taskqueue_scaling::{Decision, Fleet, History, Limit, Policy, Reason, Window, decide};

use crate::policies::{policy, secs, tasks};

/// Office hours in Berlin, from Monday to Friday.
fn office() -> Window {
    Window {
        days: vec![
            Weekday::Monday,
            Weekday::Tuesday,
            Weekday::Wednesday,
            Weekday::Thursday,
            Weekday::Friday,
        ],
        start: time(8, 0, 0, 0),
        end: time(18, 0, 0, 0),
        time_zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
        min: Some(3),
        max: None,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_window_is_open_by_the_clock_of_its_zone_and_its_end_is_out() {
    let office = office();
    for (instant, open) in [
        // A Wednesday in winter, and one in summer.
        ("2026-01-07T06:59:59Z", false),
        ("2026-01-07T07:00:00Z", true),
        ("2026-01-07T16:59:59Z", true),
        ("2026-01-07T17:00:00Z", false),
        ("2026-07-08T06:00:00Z", true),
        ("2026-07-08T16:00:00Z", false),
        // A Saturday.
        ("2026-01-10T10:00:00Z", false),
    ] {
        assert_eq!(office.contains(at(instant)), open, "{instant}");
    }
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_starts() {
    let night = Window {
        days: vec![Weekday::Friday],
        start: time(22, 0, 0, 0),
        end: time(6, 0, 0, 0),
        time_zone: TimeZone::UTC,
        ..office()
    };
    for (instant, open) in [
        ("2026-01-09T05:00:00Z", false),
        ("2026-01-09T22:00:00Z", true),
        ("2026-01-10T05:59:59Z", true),
        ("2026-01-10T06:00:00Z", false),
        ("2026-01-10T22:00:00Z", false),
    ] {
        assert_eq!(night.contains(at(instant)), open, "{instant}");
    }
    let all_day = Window {
        days: Vec::new(),
        end: night.start,
        ..night
    };
    assert!(all_day.contains(at("2026-01-07T21:59:59Z")));
}

fn decided(windows: Vec<Window>, waiting: u64, replicas: u32) -> Decision {
    let policy = Policy {
        windows,
        ..policy()
    };
    let fleet = Fleet {
        replicas,
        ..Fleet::default()
    };
    let noon = at("2026-01-07T11:00:00Z");
    let mut history = History::default();
    decide(
        &policy,
        Some(&tasks(waiting, 0)),
        &fleet,
        &mut history,
        secs(9),
        noon,
    )
}

#[test]
fn an_open_window_raises_the_minimum_and_caps_the_maximum() {
    let raised = decided(vec![office()], 0, 0);
    assert_eq!((raised.replicas, raised.reason), (3, Reason::Window));
    assert_eq!(raised.limit, Some(Limit::WindowMinimum));
    assert!(
        raised.equation.ends_with(", at least 3 in a window"),
        "{}",
        raised.equation
    );
    let cap = Window {
        min: None,
        max: Some(4),
        ..office()
    };
    let capped = decided(vec![cap.clone()], 50, 0);
    assert_eq!(
        (capped.replicas, capped.limit),
        (4, Some(Limit::WindowMaximum))
    );
    // What is there beyond the cap goes at once.
    assert_eq!(decided(vec![cap.clone()], 50, 9).replicas, 4);
    // Of two that contradict each other the cap counts.
    let high = Window {
        min: Some(6),
        ..office()
    };
    assert_eq!(decided(vec![high, cap], 0, 0).replicas, 4);
}
