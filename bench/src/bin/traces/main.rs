//! Traces of demand under our targets and under KEDA with the HPA: waiting time, pod-seconds and
//! changes of the replicas, as a table.
//!
//! All of it is played in a model (`taskqueue_scaling::simulate`): no cluster, and the same figures
//! on every machine.

mod demand;
mod hpa;

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_scaling::{
    Caps, Follower, Mode, Pace, Policy, Seen, Summary, Target, World, simulate,
};

use crate::{
    demand::{CONCURRENCY, START, Trace},
    hpa::Reference,
};

const MAX: u32 = 50;

fn ours(target: Target) -> Policy {
    let env = |n: &str, d: u64| {
        std::env::var(n)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(d)
    };
    Policy {
        mode: Mode::Auto,
        min: 0,
        max: MAX,
        spare: 0,
        target,
        concurrency: CONCURRENCY,
        activation: 1,
        tolerance_permille: env("TOL", 100) as u32,
        up: Pace {
            stabilization: Duration::from_secs(env("UP", 0)),
            step: None,
        },
        down: Pace {
            stabilization: Duration::from_secs(env("DOWN", 60)),
            step: None,
        },
        wait_for_idle: true,
        idle: Duration::from_secs(env("IDLE", 30)),
        windows: Vec::new(),
        hold_up: false,
        hold_down: false,
    }
}

fn main() {
    let env = |n: &str, d: u64| {
        std::env::var(n)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(d)
    };
    let per = env("PER", 20) as u32;
    for trace in demand::all() {
        println!("{}", trace.name);
        for (name, target) in [
            (
                "latency",
                Target::Latency {
                    within: Duration::from_secs(env("LAT", 10)),
                },
            ),
            ("backlog", Target::Backlog { per_replica: per }),
        ] {
            let mut follower =
                Follower::new(ours(target), Caps::default(), START, Timestamp::UNIX_EPOCH);
            let played = simulate(&trace.loads, &trace.world(true), |seen| follower.aim(seen));
            show(name, &played.summary);
        }
        let mut reference = Reference::new(per, MAX);
        let played = simulate(&trace.loads, &trace.world(false), |seen| {
            reference.aim(seen)
        });
        show("hpa", &played.summary);
    }
}

fn show(name: &str, s: &Summary) {
    println!(
        "  {name:8} tasks {:7} p50 {:8.2} p95 {:8.2} pods {:9.0} changes {:4} most {}",
        s.tasks,
        s.waiting_p50.as_secs_f64(),
        s.waiting_p95.as_secs_f64(),
        s.pod_seconds,
        s.changes,
        s.most
    );
}
