//! From `spec.scaling` to the policy that decisions are made by.

use taskqueue_api::{TaskQueueSpec, spec::ScalingMode};
use taskqueue_scaling::{Mode, Pace, Policy, Target};

use super::{Invalid, within};

pub(super) fn policy(
    spec: &TaskQueueSpec,
    (field, concurrency): (&'static str, i32),
) -> Result<Policy, Invalid> {
    let scaling = &spec.scaling;
    let replicas = |field, value| within(field, value, "0 to 1000", 0, 1000);
    let min = replicas("spec.scaling.minReplicas", scaling.min_replicas)?;
    let max = within(
        "spec.scaling.maxReplicas",
        scaling.max_replicas,
        "1 to 1000",
        1,
        1000,
    )?;
    if min > max {
        return Err(Invalid::Range {
            field: "spec.scaling.minReplicas",
            value: i64::from(min),
            range: "0 to spec.scaling.maxReplicas",
        });
    }
    let by_hand = scaling
        .replicas
        .map(|value| replicas("spec.scaling.replicas", value))
        .transpose()?;
    let per_replica = within(
        "spec.scaling.target.backlogPerReplica",
        scaling.target.backlog_per_replica,
        "1 to 1000000",
        1,
        1_000_000,
    )?;
    Ok(Policy {
        mode: match scaling.mode {
            ScalingMode::Auto => Mode::Auto,
            ScalingMode::Paused => Mode::Paused(by_hand),
        },
        min,
        max,
        spare: 0,
        target: Target::Backlog { per_replica },
        concurrency: within(field, concurrency, "1 to 1000", 1, 1000)?,
        activation: 1,
        tolerance_permille: 0,
        up: Pace::default(),
        down: Pace {
            stabilization: scaling.scale_down.stabilization.get(),
            step: None,
        },
        wait_for_idle: true,
        idle: scaling.idle.get(),
        windows: Vec::new(),
        hold_up: false,
        hold_down: false,
    })
}
