//! How tasks come and how long they run, from a queue's counters over time.

use std::time::Duration;

use crate::{Flow, Instant};

/// After this time a sample counts half.
const HALF_LIFE: Duration = Duration::from_secs(30);

/// So many samples are needed before they tell anything.
const FLOOR: u64 = 20;

/// The arrival rate and the mean run time of one queue, newer samples weighing more.
///
/// The run time never rests on fewer than the last 20 or so tasks, however long ago they ran. The
/// arrival rate starts as that of a queue at rest, so that the first tasks after a restart do not
/// pass for a flood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimator {
    last: Option<Totals>,
    arrivals: u64,
    completions: u64,
    fresh: u64,
    /// Tasks per second.
    rate: f64,
    /// Seconds that the weighed tasks ran, and how many these are.
    run: f64,
    runs: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Totals {
    at: Instant,
    enqueued: u64,
    completed: u64,
    run: Duration,
}

impl Estimator {
    /// Takes in the queue's totals since it was made: tasks enqueued, tasks completed, and the
    /// time that these ran together.
    pub fn record(&mut self, now: Instant, enqueued: u64, completed: u64, run: Duration) {
        let totals = Totals {
            at: now,
            enqueued,
            completed,
            run,
        };
        let Some(last) = self.last.replace(totals) else {
            return;
        };
        // Totals that fall were lost with their Redis: the step says nothing.
        let (Some(arrived), Some(ended), Some(ran)) = (
            enqueued.checked_sub(last.enqueued),
            completed.checked_sub(last.completed),
            run.checked_sub(last.run),
        ) else {
            self.fresh = 0;
            return;
        };
        self.fresh = arrived.saturating_add(ended);
        let keeps = keeps(now.saturating_sub(last.at));
        self.arrived(arrived, now.saturating_sub(last.at), keeps);
        self.ran(ended, ran, keeps);
    }

    /// What is known of the flow.
    pub fn flow(&self) -> Flow {
        let run = (self.completions >= FLOOR && self.runs > 0.0)
            .then(|| Duration::try_from_secs_f64(self.run / self.runs).ok())
            .flatten();
        Flow {
            arrival: (self.arrivals >= FLOOR).then_some(self.rate),
            run,
            fresh: self.fresh,
        }
    }

    fn arrived(&mut self, tasks: u64, span: Duration, keeps: f64) {
        let seconds = span.as_secs_f64();
        self.arrivals = self.arrivals.saturating_add(tasks);
        if seconds > 0.0 {
            self.rate = self.rate * keeps + count(tasks) / seconds * (1.0 - keeps);
        }
    }

    fn ran(&mut self, tasks: u64, time: Duration, keeps: f64) {
        if tasks == 0 {
            return;
        }
        self.completions = self.completions.saturating_add(tasks);
        let floor = (count(FLOOR) / self.runs).min(1.0);
        let keeps = keeps.max(floor);
        self.run = self.run * keeps + time.as_secs_f64();
        self.runs = self.runs * keeps + count(tasks);
    }
}

/// The part of its weight that a sample keeps over this time.
fn keeps(span: Duration) -> f64 {
    0.5_f64.powf(span.as_secs_f64() / HALF_LIFE.as_secs_f64())
}

/// A count as a number that can be weighed.
#[allow(
    clippy::cast_precision_loss,
    reason = "tasks within seconds stay far below the 2^52 where an f64 gets coarse"
)]
fn count(tasks: u64) -> f64 {
    tasks as f64
}
