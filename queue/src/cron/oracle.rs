//! Runs found the slow way, by looking at the clock every minute, to compare with.

use jiff::SignedDuration;

use super::*;

/// What an expression says: minutes, hours, days of month, weekdays from Sunday; empty for all.
struct Simple(
    &'static str,
    &'static [i8],
    &'static [i8],
    &'static [i8],
    &'static [i8],
);

impl Simple {
    fn matches(&self, wall: DateTime) -> bool {
        let among = |wanted: &[i8], value: i8| wanted.is_empty() || wanted.contains(&value);
        among(self.1, wall.minute())
            && among(self.2, wall.hour())
            && among(self.3, wall.day())
            && among(self.4, wall.weekday().to_sunday_zero_offset())
    }
}

const EVEN: &[i8] = &[0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22];

const EXPRESSIONS: &[Simple] = &[
    Simple("30 2 * * *", &[30], &[2], &[], &[]),
    Simple("0,45 0,1,2,3 * * *", &[0, 45], &[0, 1, 2, 3], &[], &[]),
    Simple("15 * * * *", &[15], &[], &[], &[]),
    Simple("*/20 1-3 * * *", &[0, 20, 40], &[1, 2, 3], &[], &[]),
    Simple("0 */2 * * *", &[0], EVEN, &[], &[]),
    Simple("59 23 * * 6", &[59], &[23], &[], &[6]),
    Simple("0 0 1,31 * *", &[0], &[0], &[1, 31], &[]),
    Simple("10 1 * * 0", &[10], &[1], &[], &[0]),
];

/// The runs of each expression in a little more than a year.
fn runs(zone: &TimeZone, first: Timestamp) -> Vec<Vec<Timestamp>> {
    let plans: Vec<Plan> = EXPRESSIONS
        .iter()
        .map(|simple| Plan::read(simple.0, "UTC").unwrap())
        .collect();
    let mut runs = vec![Vec::new(); EXPRESSIONS.len()];
    let minute = SignedDuration::from_mins(1);
    let mut latest = zone.to_datetime(first - minute);
    for passed in 0..375 * 24 * 60 {
        let at = first + SignedDuration::from_mins(passed);
        let wall = zone.to_datetime(at);
        // What the clock shows or has left out, but nothing that it showed before.
        let mut fresh = Vec::new();
        while latest < wall {
            latest += minute;
            fresh.push(latest);
        }
        for ((simple, plan), runs) in EXPRESSIONS.iter().zip(&plans).zip(&mut runs) {
            let is_due = if plan.fixed {
                fresh.iter().any(|reading| simple.matches(*reading))
            } else {
                simple.matches(wall)
            };
            if is_due {
                runs.push(at);
            }
        }
    }
    runs
}

#[test]
fn a_year_is_as_looking_at_the_clock_every_minute_finds_it() {
    for (name, year) in [
        ("Europe/London", 1971),
        ("America/New_York", 2007),
        ("Australia/Lord_Howe", 2026),
        ("Asia/Kathmandu", 1986),
        ("Africa/Casablanca", 2026),
        ("Antarctica/Troll", 2026),
        ("Pacific/Apia", 2011),
    ] {
        let zone = ZONES.get(name).unwrap();
        let first = date(year - 1, 12, 20).at(0, 0, 0, 0);
        let first = TimeZone::UTC.to_timestamp(first).unwrap();
        for (simple, runs) in EXPRESSIONS.iter().zip(runs(&zone, first)) {
            let plan = Plan::read(simple.0, name).unwrap();
            // Of the many runs of an hourly one, those that are near a change of the clock.
            let all = runs.len() < 1_000;
            let week = SignedDuration::from_hours(7 * 24);
            let mut from = first - SignedDuration::from_secs(1);
            for run in runs {
                if all || zone.to_offset(from - week) != zone.to_offset(run + week) {
                    let found = plan.next(from);
                    assert_eq!(found, Some(run), "{} {name} after {from}", simple.0);
                }
                from = run;
            }
        }
    }
}
