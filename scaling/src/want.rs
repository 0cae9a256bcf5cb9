//! From the demand to the number wanted: what the tasks need, what is of use, and the bounds.

use std::time::Duration;

use crate::{
    Demand, Fleet, Flow, Limit, Policy, Reason, Target,
    bounds::{Bound, Bounds},
    explain::{Draft, due_soon, measured, per_second, span},
};

/// What the demand asks for, before any bound in time.
pub(crate) struct Want {
    pub(crate) draft: Draft,
    /// The same without rounding and before minimum and maximum: what the tolerance is about.
    pub(crate) exact: f64,
    /// The most replicas that the limits of the queue let work.
    pub(crate) of_use: u32,
}

/// Whether the queue is in use: something waits, runs or is due, or tasks came and went between
/// two readings.
pub(crate) fn in_use(demand: &Demand, fleet: &Fleet) -> bool {
    tasks(demand) > 0 || due_soon(demand, fleet) || demand.flow.fresh > 0
}

/// What is wanted now. `idle` tells whether the queue has been out of use for the idle time.
pub(crate) fn want(
    policy: &Policy,
    demand: &Demand,
    fleet: &Fleet,
    bounds: &Bounds,
    idle: bool,
) -> Want {
    let mut want = needed(policy, demand, fleet, idle);
    if want.draft.replicas > 0 && tasks(demand) > 0 {
        spare(&mut want, policy.spare);
    }
    caps(&mut want, policy, demand, fleet);
    bound(&mut want.draft, bounds);
    want
}

/// Tasks that need a worker.
fn tasks(demand: &Demand) -> u64 {
    runnable(demand).saturating_add(demand.active)
}

fn runnable(demand: &Demand) -> u64 {
    if demand.paused { 0 } else { demand.waiting }
}

/// What the tasks need.
fn needed(policy: &Policy, demand: &Demand, fleet: &Fleet, idle: bool) -> Want {
    let (tasks, due_soon) = (tasks(demand), due_soon(demand, fleet));
    let mut want = match (policy.target, demand.flow.run) {
        (Target::Backlog { per_replica }, _) => by_backlog(demand, per_replica),
        (Target::Latency { within }, Some(run)) if tasks > 0 || !rests(fleet, idle) => {
            by_latency(policy, demand, fleet, within, run)
        }
        (Target::Latency { .. }, _) => by_slots(policy, demand),
    };
    let draft = &mut want.draft;
    if demand.paused && demand.waiting > 0 {
        draft.say(format_args!(
            " ({} more wait in the paused queue)",
            demand.waiting
        ));
    }
    if fleet.replicas == 0 && tasks + u64::from(due_soon) < policy.activation.max(1) && tasks > 0 {
        let activation = policy.activation;
        draft.clamp(
            "activation",
            0,
            Reason::BelowActivation,
            format_args!(", 0 below {activation} tasks"),
        );
    } else if tasks == 0 && due_soon && (fleet.replicas > 0 || policy.activation <= 1) {
        draft.reason = Reason::DueSoon;
        let least = draft.replicas.max(1);
        draft.clamp("nextDue", least, Reason::DueSoon, ", 1 for a task due soon");
    } else if tasks == 0 {
        if draft.replicas == 0 {
            draft.reason = nothing(demand);
        }
        let most = draft.replicas.min(fleet.replicas.max(1));
        let said = format_args!(", no more than {most} without a task");
        draft.clamp("tasks", most, Reason::Latency, said);
        if !rests(fleet, idle) {
            let least = draft.replicas.max(1);
            let idle = span(policy.idle);
            draft.clamp(
                "idle",
                least,
                Reason::IdleWait,
                format_args!(", 1 until {idle} of that"),
            );
        }
    }
    want.exact = if draft.replicas == 0 {
        0.0
    } else {
        want.exact.max(if tasks == 0 { 1.0 } else { 0.0 })
    };
    want
}

/// Why none is needed.
fn nothing(demand: &Demand) -> Reason {
    if demand.paused {
        Reason::QueuePaused
    } else {
        Reason::Empty
    }
}

/// No worker is there, or none is needed any more.
fn rests(fleet: &Fleet, idle: bool) -> bool {
    fleet.replicas == 0 || idle
}

/// So many tasks for each replica.
fn by_backlog(demand: &Demand, per_replica: u32) -> Want {
    let (waiting, active) = (runnable(demand), demand.active);
    let per_replica = per_replica.max(1);
    let exact = number(waiting.saturating_add(active)) / f64::from(per_replica);
    let replicas = whole(exact);
    let equation =
        format!("ceil(({waiting} waiting + {active} active) / {per_replica}) = {replicas}");
    Want {
        draft: Draft::new(replicas, Reason::Backlog, equation),
        exact,
        of_use: u32::MAX,
    }
}

/// One slot for each task: as long as the run time is not known.
fn by_slots(policy: &Policy, demand: &Demand) -> Want {
    let mut want = by_backlog(demand, policy.concurrency);
    if want.draft.replicas > 0 {
        want.draft.say(", a slot each until the run time is known");
    }
    want
}

/// As many slots as the tasks that arrive keep busy, and those it takes to work off what waits
/// within the target (Little's law).
fn by_latency(
    policy: &Policy,
    demand: &Demand,
    fleet: &Fleet,
    within: Duration,
    run: Duration,
) -> Want {
    let (waiting, active) = (runnable(demand), demand.active);
    let slots = f64::from(policy.concurrency.max(1));
    let arrival = match demand.flow {
        Flow {
            arrival: Some(arrival),
            ..
        } if !demand.paused => arrival,
        Flow { .. } => 0.0,
    };
    let seconds = within.as_secs_f64().max(0.001);
    let mut exact = run.as_secs_f64() * (arrival + number(waiting) / seconds) / slots;
    let replicas = whole(exact);
    let equation = format!(
        "ceil({run} × ({arrival} + {waiting} waiting / {within}) / {concurrency}) = {replicas}",
        run = measured(run),
        arrival = per_second(arrival),
        within = span(within),
        concurrency = policy.concurrency,
    );
    let mut draft = Draft::new(replicas, Reason::Latency, equation);

    // A slot without a task works nothing off. Those count, too, that come while a pod starts.
    let coming = arrival * fleet.start_time.as_secs_f64();
    let filled = (number(waiting.saturating_add(active)) + coming) / slots;
    let most = whole(filled).min(draft.replicas);
    exact = exact.min(filled);
    draft.clamp(
        "tasks",
        most,
        Reason::Latency,
        format_args!(", at most {most} find a task"),
    );

    let running = number(active) / slots;
    let least = whole(running).max(draft.replicas);
    exact = exact.max(running);
    draft.clamp(
        "active",
        least,
        Reason::Latency,
        format_args!(", at least {least} for {active} active"),
    );
    if draft.replicas == 0 && waiting > 0 {
        draft.clamp("waiting", 1, Reason::Latency, ", at least 1");
    }
    Want {
        draft,
        exact,
        of_use: u32::MAX,
    }
}

fn spare(want: &mut Want, spare: u32) {
    let draft = &mut want.draft;
    let (to, reason) = (draft.replicas.saturating_add(spare), draft.reason);
    draft.clamp(
        "spareReplicas",
        to,
        reason,
        format_args!(", + {spare} spare = {to}"),
    );
    want.exact += f64::from(spare);
}

/// No more replicas than the limits of the queue let work.
fn caps(want: &mut Want, policy: &Policy, demand: &Demand, fleet: &Fleet) {
    let slots = f64::from(policy.concurrency.max(1));
    if let Some(concurrency) = demand.caps.concurrency {
        let said = format!("limits.concurrency {concurrency}");
        let of_use = number(concurrency) / slots;
        cap(
            want,
            of_use,
            "limits.concurrency",
            &said,
            Limit::Concurrency,
        );
    }
    if let (Some(rate), Some(run)) = (demand.caps.rate, demand.flow.run) {
        let said = format!("limits.rate {}", per_second(rate));
        let of_use = rate * run.as_secs_f64() / slots;
        cap(want, of_use, "limits.rate", &said, Limit::Rate);
    }
    if demand.caps.used_up {
        // Those there are will be of use again; more would not be before that.
        let (of_use, said) = (f64::from(fleet.replicas), "a rate limit that is used up");
        cap(want, of_use, "rateLimit", said, Limit::Rate);
    }
}

fn cap(want: &mut Want, of_use: f64, what: &'static str, said: &str, limit: Limit) {
    let most = whole(of_use).max(1);
    want.of_use = want.of_use.min(most);
    if want.draft.replicas <= most {
        return;
    }
    let reason = match limit {
        Limit::Rate => Reason::RateLimited,
        _ => Reason::ConcurrencyLimited,
    };
    want.draft.clamp(
        what,
        most,
        reason,
        format_args!(", at most {most} of use with {said}"),
    );
    want.draft.limit = Some(limit);
    want.exact = want.exact.min(f64::from(most));
}

fn bound(draft: &mut Draft, bounds: &Bounds) {
    let most = draft.replicas.min(bounds.max.replicas);
    limit(draft, bounds.max, "at most", most);
    let least = draft.replicas.max(bounds.min.replicas);
    limit(draft, bounds.min, "at least", least);
}

fn limit(draft: &mut Draft, bound: Bound, word: &str, to: u32) {
    let place = match bound.limit {
        Limit::WindowMinimum | Limit::WindowMaximum => " in a window",
        _ => "",
    };
    let said = format_args!(", {word} {to}{place}");
    if draft.clamp(bound.name, to, bound.reason, said) {
        draft.limit = Some(bound.limit);
    }
}

/// Rounded up, but for what is only the error of the arithmetic.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and what is needed is never below zero"
)]
pub(crate) fn whole(exact: f64) -> u32 {
    (exact - 1e-9).ceil() as u32
}

/// A count as a number that can be divided.
#[allow(
    clippy::cast_precision_loss,
    reason = "beyond 2^52 tasks one more or less does not count"
)]
fn number(tasks: u64) -> f64 {
    tasks as f64
}
