//! What `spec.scaling` means: the policy that [`taskqueue_scaling::decide`] decides by.
//!
//! The operator and `tq simulate` read a TaskQueue in the same way because they read it here. It
//! is behind the feature `scaling`, since types and schema need none of it.

use std::{fmt, sync::LazyLock};

use jiff::{
    civil::{self, Time},
    tz::TimeZoneDatabase,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use taskqueue_scaling::{Caps, Mode, Pace, Policy, Step, StepSize, Target, Window};

use crate::{
    TaskQueue, TaskQueueSpec,
    spec::{Duration, Limits, Scaling, ScalingMode, ScalingTarget, ScalingWindow, Weekday},
};

/// Annotation that pauses scaling in: with the value `"true"` the number of workers does not fall.
pub const PAUSE_SCALE_IN: &str = "taskqueue.dev/pause-scale-in";

/// Annotation that pauses scaling out: with the value `"true"` the number of workers does not rise.
pub const PAUSE_SCALE_OUT: &str = "taskqueue.dev/pause-scale-out";

/// The time zones that are built in, so that every process reads a window alike.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// What no policy can be made of. The API server refuses most of it; a resource may be older than
/// a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A number is out of its range.
    Range {
        /// Path of the field.
        field: &'static str,
        /// Value given.
        value: i64,
        /// Range allowed.
        range: &'static str,
    },
    /// A value is not one of those allowed.
    Value {
        /// Path of the field.
        field: &'static str,
        /// Value given.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range {
                field,
                value,
                range,
            } => write!(formatter, "{field} is {value}, out of the range {range}"),
            Self::Value { field, value, rule } => {
                write!(formatter, "{field} {value:?} is not allowed: {rule}")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The policy of a TaskQueue, with what its annotations hold.
pub fn policy(resource: &TaskQueue) -> Result<Policy, Refused> {
    let spec = &resource.spec;
    let scaling = &spec.scaling;
    let min = replicas("spec.scaling.minReplicas", scaling.min_replicas)?;
    let max = within(
        "spec.scaling.maxReplicas",
        scaling.max_replicas,
        1..=1000,
        "1 to 1000",
    )?;
    if min > max {
        return Err(Refused::Range {
            field: "spec.scaling.minReplicas",
            value: i64::from(min),
            range: "0 to spec.scaling.maxReplicas",
        });
    }
    let by_hand = match scaling.replicas {
        None | Some(Scaling::LEFT_ALONE) => None,
        Some(value) => Some(replicas("spec.scaling.replicas", value)?),
    };
    let (up, down) = (&scaling.scale_up, &scaling.scale_down);
    let windows = scaling.windows.iter();
    let is_set = |name: &str| {
        resource
            .annotations()
            .get(name)
            .is_some_and(|value| value == "true")
    };
    Ok(Policy {
        mode: match scaling.mode {
            ScalingMode::Auto => Mode::Auto,
            ScalingMode::Recommend => Mode::Recommend,
            ScalingMode::Paused => Mode::Paused(by_hand),
        },
        min,
        max,
        spare: replicas("spec.scaling.spareReplicas", scaling.spare_replicas)?,
        target: target(scaling.target.as_ref())?,
        concurrency: concurrency(spec)?,
        activation: u64::from(million("spec.scaling.activation", scaling.activation)?),
        tolerance_permille: permille(scaling.tolerance),
        up: Pace {
            stabilization: up.stabilization.get(),
            step: step("spec.scaling.scaleUp.maxStep", up.max_step.as_ref(), up.per)?,
        },
        down: Pace {
            stabilization: down.stabilization.get(),
            step: step(
                "spec.scaling.scaleDown.maxStep",
                down.max_step.as_ref(),
                down.per,
            )?,
        },
        wait_for_idle: down.wait_for_idle,
        idle: scaling.idle.get(),
        windows: windows
            .map(|given| window(given, min, max))
            .collect::<Result<_, _>>()?,
        hold_up: is_set(PAUSE_SCALE_OUT),
        hold_down: is_set(PAUSE_SCALE_IN),
    })
}

/// How many tasks a pod runs at once.
fn concurrency(spec: &TaskQueueSpec) -> Result<u32, Refused> {
    let (field, given) = match (&spec.worker, &spec.target_ref) {
        (Some(worker), _) => ("spec.worker.concurrency", worker.concurrency),
        (None, Some(target)) => ("spec.targetRef.concurrency", target.concurrency),
        // A spec that cannot work for other reasons.
        (None, None) => return Ok(1),
    };
    within(field, given, 1..=1000, "1 to 1000")
}

/// What lets only so many tasks of a queue run.
pub fn caps(limits: &Limits) -> Caps {
    let positive = |count: i32| u32::try_from(count).ok().filter(|&count| count > 0);
    let rate = limits.rate.as_ref().and_then(|rate| {
        let seconds = rate.per.get().as_secs_f64();
        let count = positive(rate.count)?;
        (seconds > 0.0).then(|| f64::from(count) / seconds)
    });
    Caps {
        concurrency: limits.concurrency.and_then(positive).map(u64::from),
        rate,
        used_up: false,
    }
}

fn target(target: Option<&ScalingTarget>) -> Result<Target, Refused> {
    let field = "spec.scaling.target.backlogPerReplica";
    match target {
        None => Ok(Target::Backlog {
            per_replica: million(field, ScalingTarget::DEFAULT_BACKLOG_PER_REPLICA)?,
        }),
        Some(&ScalingTarget {
            backlog_per_replica: Some(per_replica),
            latency: None,
        }) => Ok(Target::Backlog {
            per_replica: million(field, per_replica)?,
        }),
        Some(&ScalingTarget {
            backlog_per_replica: None,
            latency: Some(latency),
        }) if !latency.get().is_zero() => Ok(Target::Latency {
            within: latency.get(),
        }),
        Some(ScalingTarget {
            backlog_per_replica: None,
            latency: Some(latency),
        }) => Err(Refused::Value {
            field: "spec.scaling.target.latency",
            value: latency.to_string(),
            rule: "a duration from 100ms to 24h, such as 5s or 1m",
        }),
        Some(given) => Err(Refused::Value {
            field: "spec.scaling.target",
            value: match given.latency {
                Some(_) => "both".to_owned(),
                None => "none".to_owned(),
            },
            rule: "exactly one of backlogPerReplica and latency",
        }),
    }
}

fn step(
    field: &'static str,
    most: Option<&IntOrString>,
    per: Duration,
) -> Result<Option<Step>, Refused> {
    let most = match most {
        None => return Ok(None),
        Some(IntOrString::Int(replicas)) => {
            StepSize::Replicas(within(field, *replicas, 1..=1000, "1 to 1000")?)
        }
        Some(IntOrString::String(text)) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok());
            let percent = percent.filter(|percent| (1..=1000).contains(percent));
            StepSize::Percent(percent.ok_or_else(|| Refused::Value {
                field,
                value: text.clone(),
                rule: "a number of pods, such as 4, or a percentage, such as 50%",
            })?)
        }
    };
    Ok(Some(Step {
        most,
        per: per.get(),
    }))
}

fn window(window: &ScalingWindow, min: u32, max: u32) -> Result<Window, Refused> {
    let bound = |field, value: Option<i32>, least: u32| {
        let range = "spec.scaling.minReplicas to spec.scaling.maxReplicas";
        value
            .map(|value| within(field, value, least..=max, range))
            .transpose()
    };
    let least = bound(
        "spec.scaling.windows[].minReplicas",
        window.min_replicas,
        min,
    )?;
    let most = bound(
        "spec.scaling.windows[].maxReplicas",
        window.max_replicas,
        min.max(1),
    )?;
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return Err(Refused::Range {
            field: "spec.scaling.windows[].minReplicas",
            value: i64::from(least),
            range: "0 to maxReplicas of the window",
        });
    }
    let zone = ZONES.get(&window.time_zone).map_err(|_| Refused::Value {
        field: "spec.scaling.windows[].timeZone",
        value: window.time_zone.clone(),
        rule: "a name of the time zone database, such as Europe/Paris or UTC",
    })?;
    Ok(Window {
        days: window.days.iter().copied().map(weekday).collect(),
        start: time("spec.scaling.windows[].start", &window.start)?,
        end: time("spec.scaling.windows[].end", &window.end)?,
        time_zone: zone,
        min: least,
        max: most,
    })
}

fn time(field: &'static str, text: &str) -> Result<Time, Refused> {
    Time::strptime("%H:%M", text).map_err(|_| Refused::Value {
        field,
        value: text.to_owned(),
        rule: "hours and minutes from 00:00 to 23:59, such as 08:30",
    })
}

fn weekday(day: Weekday) -> civil::Weekday {
    match day {
        Weekday::Mon => civil::Weekday::Monday,
        Weekday::Tue => civil::Weekday::Tuesday,
        Weekday::Wed => civil::Weekday::Wednesday,
        Weekday::Thu => civil::Weekday::Thursday,
        Weekday::Fri => civil::Weekday::Friday,
        Weekday::Sat => civil::Weekday::Saturday,
        Weekday::Sun => civil::Weekday::Sunday,
    }
}

/// The tolerance in thousandths. The schema bounds it; what is older counts as the nearest.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0 to 1000 first"
)]
fn permille(fraction: f64) -> u32 {
    (fraction.clamp(0.0, 1.0) * 1000.0).round() as u32
}

fn replicas(field: &'static str, value: i32) -> Result<u32, Refused> {
    within(field, value, 0..=1000, "0 to 1000")
}

fn million(field: &'static str, value: i32) -> Result<u32, Refused> {
    within(field, value, 1..=1_000_000, "1 to 1000000")
}

fn within(
    field: &'static str,
    value: i32,
    allowed: std::ops::RangeInclusive<u32>,
    range: &'static str,
) -> Result<u32, Refused> {
    let number = u32::try_from(value)
        .ok()
        .filter(|number| allowed.contains(number));
    number.ok_or(Refused::Range {
        field,
        value: i64::from(value),
        range,
    })
}
