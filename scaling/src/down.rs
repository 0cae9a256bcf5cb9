//! Fewer are wanted than there are: by how much the number may fall now.

use crate::{
    Demand, Fleet, History, Instant, Policy, Reason,
    bounds::Bounds,
    decide::hold_if_near,
    explain::{Draft, per_second, span},
    want::{Want, whole},
};

/// Follows the want downwards. The maximum is not waited for, but for the tasks that run.
pub(crate) fn follow(
    policy: &Policy,
    demand: &Demand,
    fleet: &Fleet,
    bounds: &Bounds,
    history: &mut History,
    now: Instant,
    want: Want,
) -> Draft {
    let mut draft = want.draft;
    let none = draft.replicas == 0;
    if !none && hold_if_near(&mut draft, policy, fleet, bounds, want.exact) {
        return draft;
    }
    if policy.hold_down {
        let why = "an annotation pauses scaling in";
        draft.hold("annotation", fleet, Reason::HeldByAnnotation, why);
        return draft;
    }
    if fleet.rolling && !none {
        let why = "a rollout is under way";
        draft.hold("rollout", fleet, Reason::RollingOut, why);
        return draft;
    }
    if policy.wait_for_idle && !fleet.handshake && demand.active > 0 {
        let why = "no worker is stopped while tasks run";
        draft.hold("active", fleet, Reason::BusyWorkers, why);
        return draft;
    }
    if let Some(unseen) = demand.unseen.filter(|_| policy.wait_for_idle)
        && history.empty_for(now) < unseen
    {
        let span = span(unseen);
        let why = format_args!("a task may run unseen for {span} after the last was seen");
        draft.hold("unseen", fleet, Reason::UnseenTasks, why);
        return draft;
    }
    if !none {
        slow(&mut draft, policy, fleet, bounds, history, now);
        let most = fleet.replicas.min(bounds.max.replicas).min(want.of_use);
        keep_up(&mut draft, policy, demand, most);
    }
    least_for_running(&mut draft, policy, demand, fleet);
    if !none {
        gather(&mut draft, policy, fleet, bounds, history, now);
    }
    draft
}

/// Takes a fall in one step that would otherwise come in many, as the highest number within the
/// window slides down: it waits half the window again.
fn gather(
    draft: &mut Draft,
    policy: &Policy,
    fleet: &Fleet,
    bounds: &Bounds,
    history: &mut History,
    now: Instant,
) {
    let (why, wait) = (draft.reason, policy.down.stabilization / 2);
    if wait.is_zero() {
        return;
    }
    let to = history.gather(now, fleet.replicas, draft.replicas, wait);
    let to = to.min(bounds.max.replicas).max(draft.replicas);
    let said = format_args!("; {to} for {} to fall in one step", span(wait));
    draft.clamp("scaleDown.stabilization", to, Reason::Stabilizing, said);
    if why == Reason::IdleWait {
        draft.reason = why;
    }
}

/// Never fewer than the running tasks fill.
fn least_for_running(draft: &mut Draft, policy: &Policy, demand: &Demand, fleet: &Fleet) {
    let running = demand.active.div_ceil(u64::from(policy.concurrency.max(1)));
    let least = u32::try_from(running)
        .unwrap_or(u32::MAX)
        .min(fleet.replicas);
    if least > draft.replicas {
        let active = demand.active;
        let said = format_args!("; at least {least} for {active} active");
        draft.clamp("active", least, Reason::BusyWorkers, said);
    }
}

/// No fewer than what arrives keeps busy, with the tolerance as room: else the number would have to
/// rise again as soon as it has fallen.
fn keep_up(draft: &mut Draft, policy: &Policy, demand: &Demand, most: u32) {
    let (Some(arrival), Some(run)) = (demand.flow.arrival, demand.flow.run) else {
        return;
    };
    if demand.paused {
        return;
    }
    let busy = arrival * run.as_secs_f64() / f64::from(policy.concurrency.max(1));
    let room = 1.0 + f64::from(policy.tolerance_permille) / 1000.0;
    let to = whole(busy * room).min(most).max(draft.replicas);
    let said = format_args!("; at least {to} for {} arriving", per_second(arrival));
    draft.clamp("arrivals", to, Reason::Arrivals, said);
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
        && let Some((_, start)) = history.extremes(now, step.per)
    {
        let to = step.down_from(start).min(most).max(draft.replicas);
        let said = format_args!("; {to} = one step from {start} within {}", span(step.per));
        draft.clamp("scaleDown.maxStep", to, Reason::StepLimit, said);
    }
    if why == Reason::IdleWait {
        draft.reason = why;
    }
}
