//! Fewer are wanted than there are: by how much the number may fall now.

use crate::{
    Demand, Fleet, History, Instant, Policy, Reason,
    bounds::Bounds,
    decide::within_tolerance,
    explain::{Draft, span},
    want::Want,
};

/// Follows the want downwards. The maximum is not waited for, but for the tasks that run.
pub(crate) fn follow(
    policy: &Policy,
    demand: &Demand,
    fleet: &Fleet,
    bounds: &Bounds,
    history: &History,
    now: Instant,
    want: Want,
) -> Draft {
    let (near, mut draft) = (
        within_tolerance(policy, fleet, bounds, want.exact),
        want.draft,
    );
    let none = draft.replicas == 0;
    if near && !none {
        let percent = f64::from(policy.tolerance_permille) / 10.0;
        let why = format_args!("{:.2} is within {percent} % of that", want.exact);
        draft.hold("tolerance", fleet, Reason::Tolerance, why);
        return draft;
    }
    if policy.hold_down {
        let why = "an annotation pauses scaling in";
        draft.hold("annotation", fleet, Reason::HeldByAnnotation, why);
        return draft;
    }
    if fleet.rolling && !none {
        draft.hold(
            "rollout",
            fleet,
            Reason::RollingOut,
            "a rollout is under way",
        );
        return draft;
    }
    if policy.wait_for_idle && !fleet.handshake && demand.active > 0 {
        let why = "no worker is stopped while tasks run";
        draft.hold("active", fleet, Reason::BusyWorkers, why);
        return draft;
    }
    if !none {
        slow(&mut draft, policy, fleet, bounds, history, now);
    }
    let running = demand.active.div_ceil(u64::from(policy.concurrency.max(1)));
    let least = u32::try_from(running)
        .unwrap_or(u32::MAX)
        .min(fleet.replicas);
    if least > draft.replicas {
        let active = demand.active;
        let said = format_args!("; at least {least} for {active} active");
        draft.clamp("active", least, Reason::BusyWorkers, said);
    }
    draft
}

/// The bounds in time. The step to zero has its own, the idle time.
fn slow(
    draft: &mut Draft,
    policy: &Policy,
    fleet: &Fleet,
    bounds: &Bounds,
    history: &History,
    now: Instant,
) {
    let most = fleet.replicas.min(bounds.max.replicas);
    let why = draft.reason;
    let window = policy.down.stabilization;
    if let Some(highest) = history.highest(now, window) {
        let to = highest.clamp(draft.replicas, most);
        let said = format_args!("; {to} = highest within {}", span(window));
        draft.clamp("scaleDown.stabilization", to, Reason::Stabilizing, said);
    }
    if let Some(step) = policy.down.step
        && let Some(start) = history.replicas_before(now, step.per)
    {
        let to = step.down_from(start).min(most).max(draft.replicas);
        let said = format_args!("; {to} = one step from {start} within {}", span(step.per));
        draft.clamp("scaleDown.maxStep", to, Reason::StepLimit, said);
    }
    if why == Reason::IdleWait {
        draft.reason = why;
    }
}
