//! When a schedule is due. Pure: the time is an argument and the time zones are built in, so that
//! all processes of one version agree, whatever their images hold.
//!
//! `croner` reads an expression and finds what it matches on a wall clock that never jumps. What
//! that means where clocks do jump is decided here, as Vixie's cron does it: an expression whose
//! minute and hour both begin with something else than `*` names times of day, and runs once for
//! each of them. A time that is left out runs at the change of the clock, and of a time that
//! happens twice the first one counts. Any other expression follows the clock: what is left out
//! does not happen, and what is repeated happens again. (What `croner` does by itself differs from
//! that where the minute or the hour is a list.)

use std::fmt;
use std::sync::LazyLock;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::clock::timestamp;
use crate::lease::millis;
use crate::policy::{Missed, Schedule};
use crate::{Error, QueueName};

/// Longest expression.
const MAX_LENGTH: usize = 256;
/// A run that is later than this is missed.
const GRACE_MS: u64 = 60_000;
/// What was noted this far ahead of the clock was noted by a clock that was wrong.
const MOST_AHEAD_MS: u64 = 3_600_000;
const MONTHS: &[&str] = &[
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Checks a cron expression and the name of a time zone.
pub(crate) fn check(cron: &str, time_zone: &str) -> Result<(), Error> {
    Plan::read(cron, time_zone).map(drop)
}

/// The next runs of a queue's schedule after a time, at most `count`; none while it is suspended, or if it
/// cannot be read.
pub(crate) fn upcoming(
    queue: &QueueName,
    schedule: &Schedule,
    after: Timestamp,
    count: usize,
) -> Vec<Timestamp> {
    let Ok(plan) = Plan::of(schedule) else {
        return Vec::new();
    };
    let next = |after| next(queue, schedule, &plan, after);
    let first = next(after).filter(|_| !schedule.suspend);
    let runs = std::iter::successors(first, |run| next(*run));
    runs.take(count).collect()
}

/// When a schedule, which is read already, is due next after a time.
fn next(
    queue: &QueueName,
    schedule: &Schedule,
    plan: &Plan,
    after: Timestamp,
) -> Option<Timestamp> {
    let due = |at| timestamp(due_ms(queue, schedule, plan, at));
    let jitter = millis(schedule.jitter);
    if jitter > 0 {
        // Of the time that was last, the run may still be to come.
        let from = timestamp(ms(after).saturating_sub(jitter.saturating_add(1)));
        let late = plan.latest(from, after).map(due);
        if let Some(late) = late.filter(|late| *late > after) {
            return Some(late);
        }
    }
    plan.next(after).map(due)
}

/// The earliest run of any of a queue's schedules after a time.
pub(crate) fn first(
    queue: &QueueName,
    schedules: &[Schedule],
    after: Timestamp,
) -> Option<Timestamp> {
    let firsts = schedules
        .iter()
        .flat_map(|schedule| upcoming(queue, schedule, after, 1));
    firsts.min()
}

/// When the run of this time is due, in ms: up to the schedule's jitter later, but before the next time, so
/// that runs stay in their order. It is the same for whoever asks, and another for each queue, schedule and
/// time.
fn due_ms(queue: &QueueName, schedule: &Schedule, plan: &Plan, at: Timestamp) -> u64 {
    let at_ms = ms(at);
    let jitter = millis(schedule.jitter);
    if jitter == 0 {
        return at_ms;
    }
    let next_ms = plan.next(at).map_or(u64::MAX, ms);
    let most = jitter.min(next_ms.saturating_sub(at_ms).saturating_sub(1));
    at_ms + chance(&format!("{queue} {} {at_ms}", schedule.name)) % (most + 1)
}

/// A number that a text gives, any as likely as any other: FNV-1a, and the last steps of `SplitMix64`.
fn chance(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn ms(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

/// What is to be done about a schedule. What comes with it is to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Wait,
    /// It begins now, or runs were missed that are left out.
    Note(Last),
    /// Its task is to be enqueued.
    Run(Last),
}

/// What is noted of a schedule, and of which: one that is edited, suspended or resumed begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Last {
    /// All runs up to then are settled.
    settled_ms: u64,
    /// The last run, as the time at which it was due; 0 for none.
    ran_ms: u64,
    of: String,
}

impl Last {
    /// `None` for what is no such note.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        Some(Self {
            settled_ms: parts.next()?.parse().ok()?,
            ran_ms: parts.next()?.parse().ok()?,
            of: parts.next()?.to_owned(),
        })
    }

    /// The last run, as the time at which it was due.
    pub(crate) fn ran(&self) -> Option<Timestamp> {
        (self.ran_ms > 0).then(|| timestamp(self.ran_ms))
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.settled_ms, self.ran_ms, self.of)
    }
}

/// Decides what is to be done about a queue's schedule, which is read already, at a time.
pub(crate) fn due(
    queue: &QueueName,
    schedule: &Schedule,
    plan: &Plan,
    last: Option<&Last>,
    now_ms: u64,
) -> Decision {
    let state = if schedule.suspend { "suspended" } else { "on" };
    let of = format!("{state} {} {}", schedule.time_zone, schedule.cron);
    let holds = |last: &&Last| last.of == of && last.settled_ms <= now_ms + MOST_AHEAD_MS;
    let Some(known) = last.filter(holds) else {
        return Decision::Note(Last {
            settled_ms: now_ms,
            ran_ms: last.map_or(0, |last| last.ran_ms),
            of,
        });
    };
    if schedule.suspend {
        return Decision::Wait;
    }
    let latest = |until_ms| plan.latest(timestamp(known.settled_ms), timestamp(until_ms));
    let due = |at| due_ms(queue, schedule, plan, at);
    let last = match latest(now_ms) {
        // The one before has come by then.
        Some(late) if due(late) > now_ms => latest(ms(late).saturating_sub(1)),
        last => last,
    };
    let Some(at) = last else {
        return Decision::Wait;
    };
    let at_ms = ms(at);
    let missed = schedule.missed == Missed::Skip && now_ms.saturating_sub(due(at)) > GRACE_MS;
    let settled = Last {
        settled_ms: at_ms,
        ran_ms: if missed { known.ran_ms } else { at_ms },
        of,
    };
    if missed {
        Decision::Note(settled)
    } else {
        Decision::Run(settled)
    }
}

/// An expression and a time zone.
#[derive(Debug)]
pub(crate) struct Plan {
    cron: Cron,
    zone: TimeZone,
    /// Whether it names times of day.
    fixed: bool,
}

impl Plan {
    /// That of a schedule.
    pub(crate) fn of(schedule: &Schedule) -> Result<Self, Error> {
        Self::read(&schedule.cron, &schedule.time_zone)
    }

    fn read(cron: &str, time_zone: &str) -> Result<Self, Error> {
        let wrong = |rule: String| Error::invalid("schedules.cron", cron, rule);
        let zone = ZONES.get(time_zone).map_err(|_| {
            let rule = "a name of the time zone database, as Europe/Paris or UTC";
            Error::invalid("schedules.timeZone", time_zone, rule)
        })?;
        if cron.len() > MAX_LENGTH {
            return Err(wrong(format!("at most {MAX_LENGTH} characters")));
        }
        check_fields(cron).map_err(wrong)?;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            // `5/15` for `5-59/15`, as Kubernetes takes it.
            .sloppy_ranges(true)
            .build();
        let parsed = parser
            .parse(cron)
            .map_err(|fault| wrong(format!("as `30 2 * * MON` is ({fault})")))?;
        // With what an alias stands for.
        let fields = parsed.pattern.as_str().split_whitespace();
        let fixed = !fields.take(2).any(|field| field.starts_with('*'));
        let plan = Self {
            cron: parsed,
            zone,
            fixed,
        };
        if plan
            .reading(date(2000, 1, 1).at(0, 0, 0, 0), true)
            .is_none()
        {
            let rule = "a date that exists: no month that it names has such a day";
            return Err(wrong(rule.to_owned()));
        }
        Ok(plan)
    }

    /// The first reading of the wall clock that matches after this one, or from it on.
    fn reading(&self, wall: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&wall, inclusive).ok()
    }

    /// The first run after a time.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        loop {
            // Until the clock is changed, its readings are as far apart as the times.
            let offset = self.zone.to_offset(from);
            let change = self.zone.following(from).next();
            let mut wall = offset.to_datetime(from);
            loop {
                let reading = self.reading(wall, false)?;
                let at = offset.to_timestamp(reading).ok()?;
                if change
                    .as_ref()
                    .is_some_and(|change| at >= change.timestamp())
                {
                    break;
                }
                // Of two times with one reading, this is the first.
                if !self.fixed || self.zone.to_timestamp(reading).ok() == Some(at) {
                    return Some(at);
                }
                wall = reading;
            }
            let change = change?;
            from = change.timestamp();
            let (would_be, is) = (offset.to_datetime(from), change.offset().to_datetime(from));
            let runs = if self.fixed {
                let reading = self.reading(would_be, true);
                reading.is_some_and(|reading| reading <= is)
            } else {
                self.reading(is, true) == Some(is)
            };
            if runs {
                return Some(from);
            }
        }
    }

    /// The last run after a time and up to another, found by halving, for there may be millions.
    fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let next = |after| self.next(after).filter(|at| *at <= until);
        let mut found = next(after)?;
        // Nothing runs after `end`, and runs are at least a minute apart.
        let mut end = until;
        while end.as_second() - found.as_second() >= 60 {
            let middle = i64::midpoint(found.as_second(), end.as_second());
            let middle = Timestamp::from_second(middle).ok()?;
            match next(middle) {
                Some(at) => found = at,
                None => end = middle,
            }
        }
        Some(found)
    }
}

/// Refuses what `croner` lets pass (names of months and weekdays in other fields or glued to other
/// characters, steps that are longer than their field) and what it refuses without a field's name.
fn check_fields(cron: &str) -> Result<(), String> {
    if cron.starts_with('@') {
        let known = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"];
        return if known.contains(&cron) {
            Ok(())
        } else {
            Err(format!("one of {}, or five fields", known.join(", ")))
        };
    }
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let known = [
        ("minute", 0..=59, &[] as &[&str], &[] as &[char]),
        ("hour", 0..=23, &[], &[]),
        ("day of month", 1..=31, &[], &['L', 'W']),
        ("month", 1..=12, MONTHS, &[]),
        ("day of week", 0..=7, WEEKDAYS, &['L']),
    ];
    if fields.len() != known.len() {
        let names = known.map(|(name, ..)| name).join(", ");
        return Err(format!("five fields: {names}; this has {}", fields.len()));
    }
    for (field, (name, range, words, suffixes)) in fields.iter().zip(known) {
        let upper = field.to_ascii_uppercase();
        let (least, most) = range.clone().into_inner();
        for item in upper.split(',') {
            let (span, step) = item.split_once('/').unwrap_or((item, "1"));
            if !step.parse().is_ok_and(|step| (1..=most).contains(&step)) {
                return Err(format!("a step of 1 to {most} as {name}, not {step:?}"));
            }
            for end in span.split(['-', '#']) {
                let bare = end.trim_end_matches(suffixes);
                let is_number = bare.parse().is_ok_and(|number: u8| range.contains(&number));
                let is_suffix = bare.is_empty() && !end.is_empty();
                if !(is_number || is_suffix || matches!(bare, "*" | "?") || words.contains(&bare)) {
                    let or = words
                        .first()
                        .map_or(String::new(), |word| format!(" or {word}"));
                    return Err(format!("{least} to {most}{or} as {name}, not {end:?}"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
