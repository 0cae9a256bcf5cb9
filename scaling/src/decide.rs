//! The decision itself.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::{
    Decision, Demand, Fleet, History, Instant, Mode, Policy, Reason,
    bounds::Bounds,
    down,
    explain::{Draft, inputs},
    up,
    want::{in_use, want},
};

/// Decides how many replicas there shall be from `now` on; `at` is the same instant by the wall
/// clock, which windows go by.
///
/// `demand` is `None` when the queue could not be read; the fleet is then held as it is, since
/// not knowing is not the same as empty. `history` takes note of what is wanted.
///
/// What the tasks need is capped by what is of use and by the bounds. That is followed upwards at
/// once and in one step, unless the policy says otherwise; only where pods of the step before are
/// still starting, less than twice as many are not asked for. Downwards it is followed
/// - never below what the running tasks fill and what arrives keeps busy, and, where workers
///   cannot be drained one by one, only while no task runs;
/// - to the highest number wanted within the stabilization window and after half of that again, so
///   that one lull is one step, and not in a rollout;
/// - to zero when nothing waits, runs or is due within the start time of a pod, and has not for
///   the idle time.
pub fn decide(
    policy: &Policy,
    demand: Option<&Demand>,
    fleet: &Fleet,
    history: &mut History,
    now: Instant,
    at: Timestamp,
) -> Decision {
    let bounds = Bounds::at(policy, at);
    let inputs = inputs(policy, demand, fleet, &bounds);
    history.see(now, fleet.replicas, policy);
    let Some(demand) = demand else {
        // As if the replicas were wanted: what comes after an outage waits the whole window.
        history.want(now, fleet.replicas, policy);
        history.busy(now, true);
        let draft = match policy.mode {
            Mode::Paused(replicas) => by_hand(replicas, fleet),
            Mode::Auto | Mode::Recommend => unknown(fleet),
        };
        return draft.into_decision(fleet.replicas, inputs);
    };
    let in_use = in_use(demand, fleet);
    history.busy(now, in_use);
    let idle = !in_use && history.empty_for(now) >= policy.idle;
    let want = want(policy, demand, fleet, &bounds, idle);
    let wanted = want.draft.replicas;
    history.want(now, wanted, policy);
    if wanted >= fleet.replicas {
        history.rest();
    }
    let draft = match (policy.mode, wanted.cmp(&fleet.replicas)) {
        (Mode::Paused(replicas), _) => by_hand(replicas, fleet),
        (_, Ordering::Equal) => want.draft,
        (_, Ordering::Greater) => up::follow(policy, fleet, &bounds, history, now, want),
        (_, Ordering::Less) => down::follow(policy, demand, fleet, &bounds, history, now, want),
    };
    draft.into_decision(wanted, inputs)
}

/// Holds the replicas there are if what is needed is within the tolerance of them; returns whether
/// it is.
pub(crate) fn hold_if_near(
    draft: &mut Draft,
    policy: &Policy,
    fleet: &Fleet,
    bounds: &Bounds,
    exact: f64,
) -> bool {
    let current = f64::from(fleet.replicas);
    let tolerated = current * f64::from(policy.tolerance_permille) / 1000.0;
    let near = fleet.replicas > 0
        && bounds.contain(fleet.replicas)
        && (exact - current).abs() <= tolerated + 1e-9;
    if near {
        let percent = f64::from(policy.tolerance_permille) / 10.0;
        let why = format_args!("{exact:.2} is within {percent} % of that");
        draft.hold("tolerance", fleet, Reason::Tolerance, why);
    }
    near
}

fn unknown(fleet: &Fleet) -> Draft {
    let held = fleet.replicas;
    let equation = format!("held at {held}: the queue cannot be read");
    Draft::new(held, Reason::RedisUnreachable, equation)
}

fn by_hand(replicas: Option<u32>, fleet: &Fleet) -> Draft {
    let held = fleet.replicas;
    let equation = match replicas {
        Some(replicas) => format!("scaling.replicas = {replicas}"),
        None => format!("held at {held}: scaling is paused"),
    };
    Draft::new(replicas.unwrap_or(held), Reason::ScalingPaused, equation)
}
