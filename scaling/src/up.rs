//! More are wanted than there are: by how much the number may rise now.

use std::time::Duration;

use crate::{
    Fleet, History, Instant, Policy, Reason,
    bounds::Bounds,
    decide::hold_if_near,
    explain::{Draft, span},
    want::Want,
};

/// How long the pods of one step are let start and get to work before the next step, at least and
/// at most. A step that would double the number does not wait, nor does one soon after zero.
const SHORTEST_START: Duration = Duration::from_secs(5);
pub(crate) const LONGEST_START: Duration = Duration::from_secs(15);

/// Follows the want upwards. The minimum is never waited for, but for what keeps pods from
/// running at all.
pub(crate) fn follow(
    policy: &Policy,
    fleet: &Fleet,
    bounds: &Bounds,
    history: &History,
    now: Instant,
    want: Want,
) -> Draft {
    let mut draft = want.draft;
    if hold_if_near(&mut draft, policy, fleet, bounds, want.exact) {
        return draft;
    }
    if policy.hold_up {
        let why = "an annotation pauses scaling out";
        draft.hold("annotation", fleet, Reason::HeldByAnnotation, why);
        return draft;
    }
    if let Some(obstacle) = &fleet.obstacle {
        // From zero one pod is let to try: without a pod there is nobody to say that all is well.
        let most = fleet.replicas.max(1);
        let reason = &obstacle.reason;
        let said = format_args!("; no more than {most}: pods fail with {reason}");
        draft.clamp("obstacle", most, Reason::WorkersFailing, said);
        return draft;
    }
    let least = fleet.replicas.max(bounds.min.replicas);
    let patience = fleet.start_time.clamp(SHORTEST_START, LONGEST_START);
    if draft.replicas < fleet.replicas.saturating_mul(2)
        && least == fleet.replicas
        && history.rose_within(now, patience)
    {
        let why = "the pods of the last step are starting";
        draft.hold("starting", fleet, Reason::Stabilizing, why);
        return draft;
    }
    let window = policy.up.stabilization;
    if let Some(lowest) = history.lowest(now, window) {
        let to = lowest.clamp(least, draft.replicas);
        let said = format_args!("; {to} = lowest within {}", span(window));
        draft.clamp("scaleUp.stabilization", to, Reason::Stabilizing, said);
    }
    if let Some(step) = policy.up.step
        && let Some((start, _)) = history.extremes(now, step.per)
    {
        let to = step.up_from(start).max(least).min(draft.replicas);
        let said = format_args!("; {to} = one step from {start} within {}", span(step.per));
        draft.clamp("scaleUp.maxStep", to, Reason::StepLimit, said);
    }
    draft
}
