//! The traces. Each is made of a formula and of noise with a fixed seed, so that every run plays
//! the same tasks. They were fixed before anything was tuned, and are not to be tuned.

use std::{f64::consts::TAU, time::Duration};

use taskqueue_scaling::{Load, World};

/// Tasks that one pod runs at once, and the time that it takes to start: as measured in the
/// cluster of the tests.
pub(crate) const CONCURRENCY: u32 = 8;
pub(crate) const START: Duration = Duration::from_secs(2);

/// After the last task of a trace, time for the workers to go.
const TAIL: u64 = 600;

/// A demand and what it is played on.
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) loads: Vec<Load>,
    pub(crate) downstream: Option<u32>,
}

impl Trace {
    pub(crate) fn world(&self, handshake: bool) -> World {
        World {
            concurrency: CONCURRENCY,
            start: START,
            downstream: self.downstream,
            handshake,
        }
    }
}

pub(crate) fn all() -> Vec<Trace> {
    vec![
        Trace {
            name: "bursty",
            about: "2 tasks/s, and 2,000 more within 10 s every 5 minutes, each 1 s; 1 h",
            loads: noisy(3600, 1, |at| (if at % 300 < 10 { 202.0 } else { 2.0 }, 1.0)),
            downstream: None,
        },
        Trace {
            name: "diurnal",
            about: "a day in 4 hours: a sine between 2 and 100 tasks/s, each 1 s",
            loads: noisy(14_400, 2, |at| {
                (51.0 - 49.0 * (number(at) / 14_400.0 * TAU).cos(), 1.0)
            }),
            downstream: None,
        },
        Trace {
            name: "sparse",
            about: "a task every 5 minutes in the mean, each 10 s; 6 h",
            loads: noisy(21_600, 3, |_| (1.0 / 300.0, 10.0)),
            downstream: None,
        },
        Trace {
            name: "step",
            about: "10 tasks/s, 80 tasks/s for 30 minutes, 10 again, each 1 s; 90 min",
            loads: noisy(5400, 4, |at| {
                (
                    if (1800..3600).contains(&at) {
                        80.0
                    } else {
                        10.0
                    },
                    1.0,
                )
            }),
            downstream: None,
        },
        Trace {
            name: "ramp, slow downstream",
            about: "from 0 to 60 tasks/s in 30 minutes and back, each 1 s while at most 48 run, and longer in proportion with more; 1 h",
            loads: noisy(3600, 5, |at| {
                (60.0 - 60.0 * (number(at) / 1800.0 - 1.0).abs(), 1.0)
            }),
            downstream: Some(48),
        },
    ]
}

/// Tasks by the second: as many as chance gives at a rate, each of so many seconds.
fn noisy(seconds: u64, seed: u64, shape: impl Fn(u64) -> (f64, f64)) -> Vec<Load> {
    let mut chance = Chance(seed);
    let load = |at, arrivals, run| Load {
        at: Duration::from_secs(at),
        arrivals,
        run: Duration::from_secs_f64(run),
    };
    let mut loads: Vec<_> = (0..seconds)
        .map(|at| {
            let (rate, run) = shape(at);
            load(at, f64::from(chance.poisson(rate)), run)
        })
        .collect();
    loads.push(load(seconds, 0.0, 1.0));
    loads.push(load(seconds + TAIL, 0.0, 1.0));
    loads
}

/// SplitMix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    /// From 0 to 1, 1 excluded.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number((mixed ^ (mixed >> 31)) >> 11) / number(1 << 53)
    }

    /// How many come in a second at this rate: their gaps are drawn one by one.
    fn poisson(&mut self, rate: f64) -> u32 {
        let mut count = 0;
        let mut at = 0.0;
        loop {
            at -= (1.0 - self.next()).ln() / rate.max(1e-9);
            if at >= 1.0 {
                return count;
            }
            count += 1;
        }
    }
}

/// Seconds and 53 random bits fit an f64 exactly.
#[allow(clippy::cast_precision_loss)]
fn number(of: u64) -> f64 {
    of as f64
}
