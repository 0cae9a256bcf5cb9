use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Payload, Policy};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn plan(cron: &str, zone: &str) -> Plan {
    Plan::read(cron, zone).unwrap()
}

/// The first runs after a time.
fn runs(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let plan = plan(cron, zone);
    let first = plan.next(at(after));
    std::iter::successors(first, |at| plan.next(*at))
        .take(count)
        .map(|at| at.to_string())
        .collect()
}

fn refusal(cron: &str, zone: &str) -> String {
    check(cron, zone).unwrap_err().to_string()
}

#[test]
fn a_time_of_day_that_the_clock_leaves_out_runs_at_the_change() {
    // New York goes from 02:00 to 03:00 at 07:00 UTC.
    let around = ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"];
    for cron in ["30 2 * * *", "30,45 2 * * *", "0-59/30 2 * * *"] {
        let found = runs(cron, "America/New_York", "2026-03-07T12:00:00Z", 1);
        assert_eq!(found, around[..1], "{cron}");
    }
    let daily = runs("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);
    assert_eq!(daily, around);
    let sundays = runs("15 2 * * 0", "America/New_York", "2026-03-07T12:00:00Z", 2);
    assert_eq!(sundays, ["2026-03-08T07:00:00Z", "2026-03-15T06:15:00Z"]);
    // What is due at the change in its own right runs once.
    let hours = runs("0 2-4 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);
    assert_eq!(hours, ["2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"]);
    // Half an hour, at 02:00; midnight; a whole day.
    for (cron, zone, after, first) in [
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            "2026-10-03T15:30:00Z",
        ),
        (
            "0 0 * * *",
            "Africa/Cairo",
            "2026-04-23T12:00:00Z",
            "2026-04-23T22:00:00Z",
        ),
        (
            "30 0 * * *",
            "America/Santiago",
            "2026-09-05T12:00:00Z",
            "2026-09-06T04:00:00Z",
        ),
        (
            "0 12 30 12 *",
            "Pacific/Apia",
            "2011-12-01T00:00:00Z",
            "2011-12-30T10:00:00Z",
        ),
    ] {
        assert_eq!(runs(cron, zone, after, 1), [first], "{zone}");
    }
}

#[test]
fn a_time_of_day_that_happens_twice_runs_the_first_time() {
    // New York repeats 01:00 to 02:00 at 06:00 UTC.
    let daily = runs("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
    assert_eq!(daily, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
    let list = runs(
        "0,30 1 * * *",
        "America/New_York",
        "2026-10-31T12:00:00Z",
        3,
    );
    let wanted = [
        "2026-11-01T05:00:00Z",
        "2026-11-01T05:30:00Z",
        "2026-11-02T06:00:00Z",
    ];
    assert_eq!(list, wanted);
    let half = runs(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00:00Z",
        2,
    );
    assert_eq!(half, ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]);
    // Asked in the middle of the repetition.
    let late = runs("30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", 1);
    assert_eq!(late, ["2026-11-02T06:30:00Z"]);
}

#[test]
fn what_follows_the_clock_runs_through_its_changes() {
    let forth = runs(
        "*/30 * * * *",
        "America/New_York",
        "2026-03-08T06:00:00Z",
        3,
    );
    assert_eq!(
        forth,
        [
            "2026-03-08T06:30:00Z",
            "2026-03-08T07:00:00Z",
            "2026-03-08T07:30:00Z"
        ]
    );
    let back = runs(
        "*/30 * * * *",
        "America/New_York",
        "2026-11-01T04:59:00Z",
        5,
    );
    let wanted = ["05:00", "05:30", "06:00", "06:30", "07:00"];
    assert_eq!(back, wanted.map(|time| format!("2026-11-01T{time}:00Z")));
    let hourly = runs("@hourly", "Australia/Lord_Howe", "2026-04-04T13:59:00Z", 3);
    // 01:00, 02:00 half an hour late for the half hour that was repeated, 03:00.
    assert_eq!(
        hourly,
        [
            "2026-04-04T14:00:00Z",
            "2026-04-04T15:30:00Z",
            "2026-04-04T16:30:00Z"
        ]
    );
}

#[test]
fn days_are_those_of_the_calendar() {
    let from = "2026-11-01T00:30:00Z";
    for (cron, zone, wanted) in [
        (
            "0 0 29 2 *",
            "UTC",
            "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z",
        ),
        (
            "0 0 L * *",
            "UTC",
            "2026-11-30T00:00:00Z 2026-12-31T00:00:00Z 2027-01-31T00:00:00Z 2027-02-28T00:00:00Z",
        ),
        // Either day will do, but for `*`; a step is not one.
        (
            "0 0 */2 * 1",
            "UTC",
            "2026-11-02T00:00:00Z 2026-11-03T00:00:00Z 2026-11-05T00:00:00Z",
        ),
        (
            "0 0 13 * FRI",
            "UTC",
            "2026-11-06T00:00:00Z 2026-11-13T00:00:00Z 2026-11-20T00:00:00Z",
        ),
        (
            "0 0 15 * mon",
            "UTC",
            "2026-11-02T00:00:00Z 2026-11-09T00:00:00Z 2026-11-15T00:00:00Z",
        ),
        ("0 0 * * 7", "UTC", "2026-11-08T00:00:00Z"),
        (
            "0 0 * * fri-sun",
            "UTC",
            "2026-11-06T00:00:00Z 2026-11-07T00:00:00Z 2026-11-08T00:00:00Z",
        ),
        ("0 0 31 2 MON", "UTC", "2027-02-01T00:00:00Z"),
        (
            "0 12 1 jan,JUL *",
            "Europe/London",
            "2027-01-01T12:00:00Z 2027-07-01T11:00:00Z",
        ),
        ("0 6 * * *", "Asia/Kathmandu", "2026-11-02T00:15:00Z"),
        (
            "5/20 0 2 11 *",
            "UTC",
            "2026-11-02T00:05:00Z 2026-11-02T00:25:00Z 2026-11-02T00:45:00Z",
        ),
        (
            "0 0 * * MON#2",
            "UTC",
            "2026-11-09T00:00:00Z 2026-12-14T00:00:00Z",
        ),
        (
            "0 0 LW * ?",
            "UTC",
            "2026-11-30T00:00:00Z 2026-12-31T00:00:00Z",
        ),
        ("@daily", "Asia/Kathmandu", "2026-11-01T18:15:00Z"),
        ("@weekly", "UTC", "2026-11-08T00:00:00Z"),
        ("@monthly", "UTC", "2026-12-01T00:00:00Z"),
        ("@yearly", "UTC", "2027-01-01T00:00:00Z"),
    ] {
        let wanted: Vec<&str> = wanted.split(' ').collect();
        assert_eq!(
            runs(cron, zone, from, wanted.len()),
            wanted,
            "{cron} {zone}"
        );
    }
    // No leap day for eight years.
    assert_eq!(
        runs("0 0 29 2 *", "UTC", "2097-01-01T00:00:00Z", 1),
        ["2104-02-29T00:00:00Z"]
    );
}

#[test]
fn a_refusal_names_the_field_the_value_and_what_is_allowed() {
    assert_eq!(
        refusal("0 0 * * *", "Mars/Olympus"),
        "schedules.timeZone \"Mars/Olympus\" is not allowed: a name of the time zone database, as \
         Europe/Paris or UTC"
    );
    assert_eq!(
        refusal("0 0 31 2 *", "UTC"),
        "schedules.cron \"0 0 31 2 *\" is not allowed: a date that exists: no month that it names \
         has such a day"
    );
    for (cron, rule) in [
        ("", "this has 0"),
        ("* * * *", "this has 4"),
        ("0 * * * * *", "this has 6"),
        ("0 0 * * * UTC", "this has 6"),
        ("@reboot", "one of @hourly, "),
        ("0 JAN * * *", r#"0 to 23 as hour, not "JAN""#),
        ("1JAN 0 * * *", r#"0 to 59 as minute, not "1JAN""#),
        (
            "0 0 * * MONDAY",
            r#"0 to 7 or SUN as day of week, not "MONDAY""#,
        ),
        ("0 0 * SUN *", r#"1 to 12 or JAN as month, not "SUN""#),
        ("0 0 1, * *", r#"1 to 31 as day of month, not """#),
        ("H 0 * * *", r#"0 to 59 as minute, not "H""#),
        ("60 * * * *", r#"0 to 59 as minute, not "60""#),
        ("0 24 * * *", r#"0 to 23 as hour, not "24""#),
        ("0 0 0 * *", r#"1 to 31 as day of month, not "0""#),
        ("/5 * * * *", r#"0 to 59 as minute, not """#),
        ("*/90 * * * *", r#"a step of 1 to 59 as minute, not "90""#),
        ("*/0 * * * *", r#"a step of 1 to 59 as minute, not "0""#),
        ("*/5/5 * * * *", r#"a step of 1 to 59 as minute, not "5/5""#),
        ("0 0 * * 5-1", "as `30 2 * * MON` is"),
        ("1-2-3 * * * *", "as `30 2 * * MON` is"),
        ("0 0 30-31 2 *", "a date that exists"),
    ] {
        let message = refusal(cron, "UTC");
        assert!(message.starts_with("schedules.cron"), "{message}");
        assert!(message.contains(rule), "{cron}: {message}");
    }
    assert!(refusal(&"0,".repeat(200), "UTC").contains("at most 256 characters"));
}

fn any_plan() -> impl Strategy<Value = (&'static str, &'static str)> {
    let cron = prop::sample::select(vec![
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0,30 1-2 * * *",
        "@weekly",
        "0 0 L * *",
        "5 4 29 2 *",
        "0 0 13 * FRI",
    ]);
    let zone = prop::sample::select(vec![
        "UTC",
        "Europe/London",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "Pacific/Apia",
        "America/Santiago",
    ]);
    (cron, zone)
}

proptest! {
    #[test]
    fn the_next_run_is_later_and_the_same_whenever_it_is_asked_for(
        (cron, zone) in any_plan(),
        after_ms in 0..2_500_000_000_000_i64,
        part in 0..1_000_i64,
    ) {
        let plan = plan(cron, zone);
        let after = Timestamp::from_millisecond(after_ms).unwrap();
        let next = plan.next(after).unwrap();
        prop_assert!(next > after);
        let span = next.as_millisecond() - after_ms;
        let between = Timestamp::from_millisecond(after_ms + span * part / 1_000).unwrap();
        prop_assert_eq!(plan.next(between), Some(next));
    }

    #[test]
    fn the_latest_run_is_the_last_of_those_one_behind_the_other(
        (cron, zone) in any_plan(),
        after_ms in 0..2_500_000_000_000_i64,
        span in 0..40_000_000_i64,
    ) {
        let plan = plan(cron, zone);
        let after = Timestamp::from_millisecond(after_ms).unwrap();
        let until = Timestamp::from_millisecond(after_ms + span).unwrap();
        let next = |after| plan.next(after).filter(|at| *at <= until);
        let slow = std::iter::successors(next(after), |at| next(*at)).last();
        prop_assert_eq!(plan.latest(after, until), slow);
    }
}

fn schedule() -> Schedule {
    Schedule {
        name: "report".to_owned(),
        cron: "*/10 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        kind: "report".to_owned(),
        payload: Payload::null(),
        priority: None,
        suspend: false,
        missed: Missed::RunOnce,
        jitter: Duration::ZERO,
    }
}

fn queue() -> QueueName {
    QueueName::new("test", "jobs").unwrap()
}

fn time_ms(text: &str) -> u64 {
    at(&format!("2026-11-22T{text}Z"))
        .as_millisecond()
        .try_into()
        .unwrap()
}

fn decide(schedule: &Schedule, last: Option<&Last>, now: &str) -> Decision {
    let plan = Plan::of(schedule).unwrap();
    due(&queue(), schedule, &plan, last, time_ms(now))
}

/// What was noted of a schedule that began at a time.
fn begun(schedule: &Schedule, now: &str) -> Last {
    match decide(schedule, None, now) {
        Decision::Note(last) => last,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_schedule_begins_when_it_is_first_seen_and_runs_once_for_each_time() {
    let schedule = schedule();
    let last = begun(&schedule, "10:05:00");
    assert_eq!(Last::read(&last.to_string()), Some(last.clone()));
    assert_eq!(last.ran(), None);
    assert_eq!(
        decide(&schedule, Some(&last), "10:09:59.999"),
        Decision::Wait
    );
    let Decision::Run(ran) = decide(&schedule, Some(&last), "10:10:00") else {
        panic!("it is due");
    };
    assert_eq!(ran.ran(), Some(at("2026-11-22T10:10:00Z")));
    assert_eq!(decide(&schedule, Some(&ran), "10:10:00"), Decision::Wait);
    assert_eq!(decide(&schedule, Some(&ran), "10:19:59"), Decision::Wait);
}

#[test]
fn one_run_makes_up_for_all_that_were_missed_or_they_are_left_out() {
    let mut schedule = schedule();
    let last = begun(&schedule, "10:05:00");
    let Decision::Run(ran) = decide(&schedule, Some(&last), "13:17:00") else {
        panic!("it is due");
    };
    assert_eq!(ran.ran(), Some(at("2026-11-22T13:10:00Z")));
    assert_eq!(decide(&schedule, Some(&ran), "13:19:00"), Decision::Wait);

    schedule.missed = Missed::Skip;
    let Decision::Note(skipped) = decide(&schedule, Some(&last), "13:17:00") else {
        panic!("it was missed");
    };
    assert_eq!(skipped.ran(), None);
    assert_eq!(
        decide(&schedule, Some(&skipped), "13:18:00"),
        Decision::Wait
    );
    // A minute late is not too late, and the last of many may be in time.
    for now in ["10:11:00", "13:20:59"] {
        let decision = decide(&schedule, Some(&last), now);
        assert!(matches!(decision, Decision::Run(_)), "{now}: {decision:?}");
    }
    let decision = decide(&schedule, Some(&last), "10:11:00.001");
    assert!(matches!(decision, Decision::Note(_)), "{decision:?}");
}

#[test]
fn what_is_edited_suspended_or_resumed_begins_anew_and_makes_up_for_nothing() {
    let schedule = schedule();
    let Decision::Run(ran) = decide(&schedule, Some(&begun(&schedule, "10:05:00")), "10:10:01")
    else {
        panic!("it is due");
    };
    let mut edited = vec![schedule.clone(); 3];
    edited[0].cron = "*/5 * * * *".to_owned();
    edited[1].time_zone = "Europe/London".to_owned();
    edited[2].suspend = true;
    for schedule in &edited {
        let Decision::Note(anew) = decide(schedule, Some(&ran), "13:17:00") else {
            panic!("{schedule:?} begins now");
        };
        // When it ran is remembered.
        assert_eq!(anew.ran(), ran.ran());
        assert_eq!(decide(schedule, Some(&anew), "13:17:01"), Decision::Wait);
    }
    let Decision::Note(suspended) = decide(&edited[2], Some(&ran), "10:15:00") else {
        panic!("it is suspended");
    };
    assert_eq!(
        decide(&edited[2], Some(&suspended), "13:00:00"),
        Decision::Wait
    );
    let later = at("2026-11-22T13:00:00Z");
    assert_eq!(upcoming(&queue(), &edited[2], later, 1), []);
    let Decision::Note(resumed) = decide(&schedule, Some(&suspended), "13:05:00") else {
        panic!("it is resumed");
    };
    assert!(matches!(
        decide(&schedule, Some(&resumed), "13:10:00"),
        Decision::Run(_)
    ));
    // A change of what it enqueues is none of its times.
    let mut other = schedule.clone();
    other.kind = "digest".to_owned();
    assert_eq!(decide(&other, Some(&ran), "10:19:00"), Decision::Wait);
}

#[test]
fn a_note_of_a_clock_that_was_wrong_or_of_someone_else_is_begun_anew() {
    let schedule = schedule();
    let ahead = begun(&schedule, "18:00:00");
    assert!(matches!(
        decide(&schedule, Some(&ahead), "10:05:00"),
        Decision::Note(_)
    ));
    assert_eq!(decide(&schedule, Some(&ahead), "17:59:59"), Decision::Wait);
    for text in ["", "x", "1", "1 2", "1 x on UTC", "-1 0 on UTC * * * * *"] {
        assert_eq!(Last::read(text), None, "{text:?}");
    }
}

#[test]
fn the_next_run_of_a_policy_is_the_earliest_of_those_that_run_at_all() {
    let mut policy = Policy::default();
    let noon = at("2026-11-22T12:00:00Z");
    assert_eq!(policy.next_run(&queue(), noon), None);
    policy.schedules = vec![schedule(); 4];
    policy.schedules[0].cron = "30 15 * * *".to_owned();
    policy.schedules[1].cron = "0 14 * * *".to_owned();
    policy.schedules[1].time_zone = "Europe/Paris".to_owned();
    policy.schedules[2].suspend = true;
    policy.schedules[3].cron = "no expression".to_owned();
    assert_eq!(
        policy.next_run(&queue(), noon),
        Some(at("2026-11-22T13:00:00Z"))
    );
    let then = at("2026-11-22T13:00:00Z");
    assert_eq!(
        policy.next_run(&queue(), then),
        Some(at("2026-11-22T15:30:00Z"))
    );
    policy.schedules.truncate(0);
    policy.schedules.push(Schedule {
        suspend: true,
        ..schedule()
    });
    assert_eq!(policy.next_run(&queue(), noon), None);
}

/// Every ten minutes, put off by up to an hour, which is more than they are apart.
fn jittered() -> Schedule {
    Schedule {
        jitter: Duration::from_hours(1),
        ..schedule()
    }
}

#[test]
fn a_run_is_put_off_by_its_jitter_and_stays_before_the_next() {
    let from = at("2026-11-22T10:09:59.999Z");
    let runs = upcoming(&queue(), &jittered(), from, 100);
    let times = upcoming(&queue(), &schedule(), from, 101);
    let mut seconds = Vec::new();
    for (place, run) in runs.iter().enumerate() {
        assert!((times[place]..times[place + 1]).contains(run), "{run}");
        seconds.push(run.duration_since(times[place]).as_secs());
    }
    // Evenly, about.
    let early = seconds.iter().filter(|seconds| **seconds < 300).count();
    assert!((30..=70).contains(&early), "{seconds:?}");
    // Another queue has others.
    let other = QueueName::new("test", "other").unwrap();
    assert_ne!(upcoming(&other, &jittered(), from, 100), runs);
    let brief = Schedule {
        jitter: Duration::from_secs(30),
        ..schedule()
    };
    for (run, time) in upcoming(&queue(), &brief, from, 100).iter().zip(&times) {
        assert!(run.duration_since(*time).as_secs() <= 30, "{run} {time}");
    }
}

#[test]
fn each_run_that_is_put_off_happens_once_and_when_it_was_told() {
    let schedule = jittered();
    let mut last = begun(&schedule, "10:09:59.999");
    let first = upcoming(&queue(), &schedule, at("2026-11-22T10:09:59.999Z"), 1);
    let mut expected = first[0];
    let plan = Plan::of(&schedule).unwrap();
    for _ in 0..30 {
        let decide = |ms| due(&queue(), &schedule, &plan, Some(&last), ms);
        assert_eq!(decide(ms(expected) - 1), Decision::Wait, "{expected}");
        let Decision::Run(ran) = decide(ms(expected)) else {
            panic!("{expected} is due");
        };
        assert!(ran.ran().unwrap() <= expected);
        last = ran;
        expected = upcoming(&queue(), &schedule, expected, 1)[0];
    }
    // A time whose run is still to come does not hide the one before it, if nobody looked for that one.
    let begin = begun(&schedule, "10:09:59.999");
    let runs = upcoming(&queue(), &schedule, at("2026-11-22T10:09:59.999Z"), 2);
    let decided = due(&queue(), &schedule, &plan, Some(&begin), ms(runs[1]) - 1);
    let Decision::Run(ran) = decided else {
        panic!("{decided:?}");
    };
    assert_eq!(ran.ran(), Some(at("2026-11-22T10:10:00Z")));
}
