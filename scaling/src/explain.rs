//! A number on its way to the decision, with what happened to it.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use crate::{
    Clamp, Decision, Demand, Fleet, Input, Limit, Mode, Policy, Reason, Target, bounds::Bounds,
};

/// A number on its way to the decision.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) replicas: u32,
    pub(crate) reason: Reason,
    pub(crate) limit: Option<Limit>,
    clamps: Vec<Clamp>,
    equation: String,
}

impl Draft {
    /// A number that comes from nothing but this equation.
    pub(crate) fn new(replicas: u32, reason: Reason, equation: String) -> Self {
        Self {
            replicas,
            reason,
            limit: None,
            clamps: Vec::new(),
            equation,
        }
    }

    /// Adds to the equation.
    pub(crate) fn say(&mut self, what: impl fmt::Display) {
        // Writing into a String cannot fail.
        let _ = write!(self.equation, "{what}");
    }

    /// Changes the number; without effect where it is that already.
    pub(crate) fn clamp(
        &mut self,
        what: &'static str,
        to: u32,
        reason: Reason,
        said: impl fmt::Display,
    ) -> bool {
        if to == self.replicas {
            return false;
        }
        self.clamps.push(Clamp {
            what,
            from: self.replicas,
            to,
        });
        self.replicas = to;
        self.reason = reason;
        self.say(said);
        true
    }

    /// Lets the fleet be as it is.
    pub(crate) fn hold(
        &mut self,
        what: &'static str,
        fleet: &Fleet,
        reason: Reason,
        why: impl fmt::Display,
    ) {
        let held = fleet.replicas;
        self.clamp(what, held, reason, format_args!("; held at {held}: {why}"));
    }

    pub(crate) fn into_decision(self, wanted: u32, inputs: Vec<Input>) -> Decision {
        Decision {
            replicas: self.replicas,
            wanted,
            reason: self.reason,
            limit: self.limit,
            inputs,
            clamps: self.clamps,
            equation: self.equation,
        }
    }
}

/// What a decision is made on. What says nothing for this queue is left out.
pub(crate) fn inputs(
    policy: &Policy,
    demand: Option<&Demand>,
    fleet: &Fleet,
    bounds: &Bounds,
) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut put = |name, value: String| inputs.push(Input { name, value });
    put("replicas", fleet.replicas.to_string());
    put("ready", fleet.ready.to_string());
    if let Mode::Paused(_) = policy.mode {
        return inputs;
    }
    if let Some(demand) = demand {
        put("waiting", demand.waiting.to_string());
        put("active", demand.active.to_string());
        if demand.paused {
            put("paused", "true".to_owned());
        }
        if due_soon(demand, fleet) {
            put("nextDue", format!("within {}", span(fleet.start_time)));
        }
        if let Some(arrival) = demand.flow.arrival {
            put("arrivalRate", per_second(arrival));
        }
        if let Some(run) = demand.flow.run {
            put("meanRun", measured(run));
        }
        if let Some(concurrency) = demand.caps.concurrency {
            put("concurrencyLimit", concurrency.to_string());
        }
        if let Some(rate) = demand.caps.rate {
            put("rateLimit", per_second(rate));
        }
        if demand.caps.used_up {
            put("rateLimit", "used up".to_owned());
        }
        if let Some(unseen) = demand.unseen {
            put("unseen", format!("up to {}", span(unseen)));
        }
    }
    put(
        "target",
        match policy.target {
            Target::Backlog { per_replica } => format!("{per_replica} per replica"),
            Target::Latency { within } => format!("latency {}", span(within)),
        },
    );
    put("concurrency", policy.concurrency.to_string());
    put("minReplicas", bounds.min.replicas.to_string());
    put("maxReplicas", bounds.max.replicas.to_string());
    if policy.spare > 0 {
        put("spareReplicas", policy.spare.to_string());
    }
    inputs
}

/// Whether something is due before a pod that starts now would be ready.
pub(crate) fn due_soon(demand: &Demand, fleet: &Fleet) -> bool {
    !demand.paused && demand.next_due.is_some_and(|due| due <= fleet.start_time)
}

/// A time that somebody has set, such as `30 s` or `5 min`.
pub(crate) fn span(span: Duration) -> String {
    let ms = span.as_millis();
    match ms {
        ms if ms >= 7_200_000 && ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms >= 120_000 && ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms if ms < 1000 => format!("{ms} ms"),
        _ => format!("{} s", span.as_secs_f64()),
    }
}

/// A time that was measured: to two or three figures.
pub(crate) fn measured(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds >= 10.0 => format!("{seconds:.0} s"),
        _ if seconds >= 1.0 => format!("{seconds:.1} s"),
        _ if seconds >= 0.1 => format!("{seconds:.2} s"),
        _ => format!("{:.1} ms", seconds * 1000.0),
    }
}

/// A rate that was measured: what is next to nothing reads as nothing, so that a queue at rest
/// does not change its equation for minutes.
pub(crate) fn per_second(rate: f64) -> String {
    if rate >= 100.0 {
        format!("{rate:.0}/s")
    } else if rate >= 1.0 {
        format!("{rate:.1}/s")
    } else {
        format!("{rate:.2}/s")
    }
}
