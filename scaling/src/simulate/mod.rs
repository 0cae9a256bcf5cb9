//! A recorded demand played through a decider, with a model of the pods.
//!
//! The model is small and fixed: pods take a time to start, run so many tasks at once in the order
//! in which these came, and finish what they run before they go. No chance is in it, so that one
//! trace always gives the same figures; a trace may well hold noise.

mod follower;
mod pods;

pub use follower::Follower;

use std::{collections::VecDeque, time::Duration};

use self::pods::Pods;
use crate::Instant;

/// The steps in which time passes; tasks begin and end at any instant between.
pub const TICK: Duration = Duration::from_millis(100);

/// How long tasks may take to finish after the end of the trace.
const AFTERMATH: Duration = Duration::from_hours(6);

/// What a queue is given from one instant of a trace to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// From when on.
    pub at: Instant,
    /// Tasks per second, evenly spread.
    pub arrivals: f64,
    /// How long each of them runs.
    pub run: Duration,
}

/// What workers are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// Tasks that one pod runs at once.
    pub concurrency: u32,
    /// How long a pod takes to start.
    pub start: Duration,
    /// Tasks at once that what they all call serves at full speed. With more, each takes longer in
    /// proportion.
    pub downstream: Option<u32>,
    /// Busy pods are drained before the number is lowered, and can be called back meanwhile.
    /// Otherwise it is lowered at once, and they finish their tasks on the way out.
    pub handshake: bool,
}

/// What a decider is shown at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The instant.
    pub now: Instant,
    /// Tasks that wait.
    pub waiting: u64,
    /// Tasks that run.
    pub active: u64,
    /// Tasks enqueued so far.
    pub enqueued: u64,
    /// Tasks completed so far.
    pub completed: u64,
    /// How long these ran together.
    pub run: Duration,
    /// Replicas that were asked for last.
    pub replicas: u32,
    /// Pods that are ready.
    pub ready: u32,
}

/// What became of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// What there was at each second.
    pub points: Vec<Seen>,
    /// It all in a few figures.
    pub summary: Summary,
}

/// A trace in a few figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Tasks that ran.
    pub tasks: u64,
    /// How long half of the tasks waited at most.
    pub waiting_p50: Duration,
    /// How long 95 of 100 tasks waited at most.
    pub waiting_p95: Duration,
    /// The time that all pods were there together, from their start to their end: what is paid.
    pub pod_seconds: f64,
    /// How often the replicas were changed.
    pub changes: u32,
    /// Most replicas there ever were.
    pub most: u32,
}

/// Plays a trace. The decider is asked at every [`TICK`] and returns the replicas to aim at; it
/// keeps its own pace by returning the replicas there are. The last entry of the trace ends it;
/// what has not run by then runs still.
pub fn simulate(trace: &[Load], world: &World, mut decide: impl FnMut(&Seen) -> u32) -> Played {
    let mut queue = Queue::default();
    let mut pods = Pods::new(*world);
    let mut points = Vec::new();
    let end = trace.last().map_or(Duration::ZERO, |load| load.at);
    let mut now = trace.first().map_or(Duration::ZERO, |load| load.at);
    let mut loads = trace.iter().peekable();
    let mut load = None;
    while now < end || (pods.active() + queue.len() > 0 && now < end + AFTERMATH) {
        while loads.peek().is_some_and(|next| next.at <= now) {
            load = loads.next();
        }
        let seen = Seen {
            now,
            waiting: queue.len(),
            enqueued: queue.enqueued,
            ..pods.seen()
        };
        if now.subsec_nanos() == 0 {
            points.push(seen);
        }
        pods.aim(now, decide(&seen));
        let next = now + TICK;
        if let Some(load) = load
            && now < end
        {
            queue.arrive(now, load);
        }
        pods.work(&mut queue, next);
        now = next;
    }
    let summary = pods.summary(now, &mut queue.waits);
    Played { points, summary }
}

/// Tasks in the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    /// When each came, and how long it runs.
    tasks: VecDeque<(Instant, Duration)>,
    enqueued: u64,
    /// The part of a task that has arrived.
    part: f64,
    /// How long those waited that have begun.
    waits: Vec<Duration>,
}

impl Queue {
    fn len(&self) -> u64 {
        self.tasks.len() as u64
    }

    fn arrive(&mut self, now: Instant, load: &Load) {
        let before = self.part;
        let gained = load.arrivals.max(0.0) * TICK.as_secs_f64();
        self.part += gained;
        let mut whole = 1.0;
        // The parts of a task need not add up to one to the last bit.
        while whole <= self.part + 1e-9 {
            let along = TICK.mul_f64(((whole - before) / gained).clamp(0.0, 1.0));
            self.tasks.push_back((now + along, load.run));
            self.enqueued += 1;
            whole += 1.0;
        }
        self.part -= whole - 1.0;
    }
}
