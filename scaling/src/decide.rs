//! The decision itself.

use std::fmt::Write;

use crate::{Decision, Demand, Fleet, History, Instant, Limit, Mode, Policy, Reason};

/// Decides how many replicas there shall be from `now` on.
///
/// `demand` is `None` when the queue could not be read; the fleet is then held as it is, since
/// not knowing is not the same as empty. `history` takes note of what is wanted.
///
/// The number wanted is `ceil((waiting + active) / backlog_per_replica)`, within the bounds. It
/// is followed upwards at once and in one step. Downwards it is followed only
/// - while no task runs, since which pods a smaller Deployment loses is not ours to choose;
/// - to the highest number wanted within the stabilization window;
/// - to zero when nothing waits, runs or is due within the start time of a pod, and has not for
///   the idle time.
pub fn decide(
    policy: &Policy,
    demand: Option<&Demand>,
    fleet: Fleet,
    history: &mut History,
    now: Instant,
) -> Decision {
    let Some(demand) = demand else {
        return held(
            fleet,
            Reason::RedisUnreachable,
            None,
            "the queue cannot be read",
        );
    };
    let want = Want::of(policy, demand);
    history.begin(now, fleet.replicas, policy.stabilization);
    history.record(now, want.replicas, want.busy, policy.stabilization);
    if let Mode::Paused(replicas) = policy.mode {
        return by_hand(replicas, fleet);
    }
    if want.replicas >= fleet.replicas {
        return want.into_decision();
    }
    follow_down(policy, demand, fleet, history, now, want)
}

/// The number that the demand asks for, within the bounds and before any bound in time.
struct Want {
    replicas: u32,
    busy: bool,
    reason: Reason,
    limit: Option<Limit>,
    equation: String,
}

impl Want {
    fn of(policy: &Policy, demand: &Demand) -> Self {
        let waiting = if demand.paused { 0 } else { demand.waiting };
        let per_replica = policy.backlog_per_replica.max(1);
        let tasks = waiting.saturating_add(demand.active);
        let needed = tasks.div_ceil(u64::from(per_replica));
        let due_soon =
            !demand.paused && demand.next_due.is_some_and(|due| due <= policy.start_time);

        let mut equation = format!(
            "ceil(({waiting} waiting + {active} active) / {per_replica}) = {needed}",
            active = demand.active
        );
        if demand.paused && demand.waiting > 0 {
            let _ = write!(
                equation,
                " ({} more wait in the paused queue)",
                demand.waiting
            );
        }
        let needed = if needed == 0 && due_soon {
            equation.push_str(", 1 for a task due soon");
            1
        } else {
            needed
        };

        let (replicas, limit) = match u32::try_from(needed) {
            Ok(needed) if needed < policy.min => (policy.min, Some(Limit::Minimum)),
            Ok(needed) if needed <= policy.max => (needed, None),
            _ => (policy.max, Some(Limit::Maximum)),
        };
        match limit {
            Some(Limit::Maximum) => {
                let _ = write!(equation, ", at most {}", policy.max);
            }
            Some(Limit::Minimum) => {
                let _ = write!(equation, ", at least {}", policy.min);
            }
            None => {}
        }
        let reason = match limit {
            Some(Limit::Maximum) => Reason::AtMaximum,
            Some(Limit::Minimum) => Reason::AtMinimum,
            None if tasks > 0 => Reason::Backlog,
            None if due_soon => Reason::DueSoon,
            None if demand.paused => Reason::QueuePaused,
            None => Reason::Empty,
        };
        Self {
            replicas,
            busy: tasks > 0 || due_soon,
            reason,
            limit,
            equation,
        }
    }

    fn into_decision(self) -> Decision {
        Decision {
            replicas: self.replicas,
            reason: self.reason,
            limit: self.limit,
            equation: self.equation,
        }
    }
}

/// Fewer are wanted than there are: by how much the number may fall now.
fn follow_down(
    policy: &Policy,
    demand: &Demand,
    fleet: Fleet,
    history: &History,
    now: Instant,
    want: Want,
) -> Decision {
    if demand.active > 0 {
        let why = format!("{}; no worker is stopped while tasks run", want.equation);
        return held(fleet, Reason::BusyWorkers, want.limit, &why);
    }
    if want.replicas == 0 {
        // An empty queue has its own wait: the stabilization window is for lulls.
        if history.empty_for(now) < policy.idle {
            let why = format!("{}; 0 after {:?} of that", want.equation, policy.idle);
            return held(fleet, Reason::IdleWait, want.limit, &why);
        }
        return want.into_decision();
    }
    let highest = history
        .highest(now, policy.stabilization)
        .clamp(policy.min, policy.max);
    if highest <= want.replicas {
        return want.into_decision();
    }
    let replicas = highest.min(fleet.replicas);
    Decision {
        replicas,
        reason: Reason::Stabilizing,
        limit: want.limit,
        equation: format!(
            "{}; {replicas} = highest within {:?}",
            want.equation, policy.stabilization
        ),
    }
}

fn held(fleet: Fleet, reason: Reason, limit: Option<Limit>, why: &str) -> Decision {
    Decision {
        replicas: fleet.replicas,
        reason,
        limit,
        equation: format!("held at {}: {why}", fleet.replicas),
    }
}

fn by_hand(replicas: Option<u32>, fleet: Fleet) -> Decision {
    let (replicas, equation) = match replicas {
        Some(replicas) => (replicas, format!("scaling.replicas = {replicas}")),
        None => (
            fleet.replicas,
            format!("held at {}: scaling is paused", fleet.replicas),
        ),
    };
    Decision {
        replicas,
        reason: Reason::ScalingPaused,
        limit: None,
        equation,
    }
}
