//! A policy, a fleet and a look for the tests.

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_scaling::{Decision, Demand, Fleet, History, Mode, Pace, Policy, Target, decide};

/// Five tasks a replica, from zero to ten of them, with no tolerance and no steps.
pub(crate) fn policy() -> Policy {
    Policy {
        mode: Mode::Auto,
        min: 0,
        max: 10,
        spare: 0,
        target: Target::Backlog { per_replica: 5 },
        concurrency: 2,
        activation: 1,
        tolerance_permille: 0,
        up: Pace::default(),
        down: Pace {
            stabilization: secs(60),
            step: None,
        },
        wait_for_idle: true,
        idle: secs(30),
        windows: Vec::new(),
        hold_up: false,
        hold_down: false,
    }
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn tasks(waiting: u64, active: u64) -> Demand {
    Demand {
        waiting,
        active,
        ..Demand::default()
    }
}

/// A fleet that does what it is told, whose workers cannot be drained.
pub(crate) fn fleet(replicas: u32) -> Fleet {
    Fleet {
        replicas,
        ready: replicas,
        start_time: secs(2),
        ..Fleet::default()
    }
}

/// The decision at so many seconds.
pub(crate) fn look(
    policy: &Policy,
    demand: Demand,
    fleet: &Fleet,
    history: &mut History,
    seconds: u64,
) -> Decision {
    let at = Timestamp::UNIX_EPOCH + secs(seconds);
    decide(policy, Some(&demand), fleet, history, secs(seconds), at)
}
