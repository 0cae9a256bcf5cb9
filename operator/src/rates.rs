//! Tasks per second and mean run time, from a queue's counters over time. Pure.

use std::{collections::VecDeque, time::Duration};

use taskqueue_queue::Counters;

/// The time that a rate looks back.
const WINDOW: Duration = Duration::from_secs(10);

/// What rates are told of. The other counters of a queue would only take room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Tasks enqueued.
    pub enqueued: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Time that completed attempts ran, together.
    pub run: Duration,
}

impl From<Counters> for Totals {
    fn from(counters: Counters) -> Self {
        Self {
            enqueued: counters.enqueued,
            completed: counters.completed,
            failed: counters.failed,
            run: counters.run,
        }
    }
}

/// A queue's counters over the last seconds.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    samples: VecDeque<(Duration, Totals)>,
    mean_run: Option<Duration>,
}

impl Rates {
    /// Takes note of the counters at `now`, a time since any fixed origin.
    pub fn record(&mut self, now: Duration, counters: Counters) {
        let counters = Totals::from(counters);
        // Counters that fall were lost with their Redis: what was before says nothing any more.
        if self.samples.back().is_some_and(|(_, last)| {
            last.enqueued > counters.enqueued || last.completed > counters.completed
        }) {
            self.samples.clear();
        }
        self.push(now, counters);
        while self.samples.len() > 2
            && self
                .samples
                .get(1)
                .is_some_and(|(at, _)| *at + WINDOW <= now)
        {
            self.samples.pop_front();
        }
        // Of a stretch without change only the ends are kept, and the first may be long ago.
        let same = self.samples.get(1).map(|(_, second)| *second);
        if let Some((at, first)) = self.samples.front_mut()
            && Some(*first) == same
        {
            *at = (*at).max(now.saturating_sub(WINDOW));
        }
        if let Some(mean) = self.mean_within_window() {
            self.mean_run = Some(mean);
        }
    }

    /// Takes a sample in. In a quiet queue, of which there may be thousands, it takes the place of
    /// the last one.
    fn push(&mut self, now: Duration, counters: Totals) {
        let places = self.samples.len();
        if places >= 2
            && self
                .samples
                .range(places - 2..)
                .all(|(_, before)| *before == counters)
        {
            self.samples.pop_back();
        }
        self.samples.push_back((now, counters));
    }

    /// Whether both say the same.
    pub fn tell_as(&self, other: &Self) -> bool {
        let still = |rates: &Self| {
            let first = rates.samples.front().map(|(_, counters)| *counters);
            rates
                .samples
                .iter()
                .all(|(_, counters)| Some(*counters) == first)
        };
        let rates_same = (still(self) && still(other)) || self.samples == other.samples;
        rates_same && self.mean_run == other.mean_run
    }

    /// Growth per second of one counter.
    pub fn per_second(&self, counter: impl Fn(&Totals) -> u64) -> f64 {
        let (Some((first, _)), Some((last, _))) = (self.samples.front(), self.samples.back())
        else {
            return 0.0;
        };
        let seconds = last.saturating_sub(*first).as_secs_f64();
        if seconds <= 0.0 {
            return 0.0;
        }
        // A count of a few seconds is far from the 2^52 where an f64 gets coarse.
        #[allow(clippy::cast_precision_loss)]
        let gained = self.gained(counter) as f64;
        gained / seconds
    }

    /// Mean run time of the tasks that completed last; `None` before the first did.
    pub fn mean_run(&self) -> Option<Duration> {
        self.mean_run
    }

    fn mean_within_window(&self) -> Option<Duration> {
        let ((_, first), (_, last)) = (self.samples.front()?, self.samples.back()?);
        let completed = last.completed.checked_sub(first.completed)?;
        let run = last.run.checked_sub(first.run)?;
        run.checked_div(u32::try_from(completed).unwrap_or(u32::MAX))
    }

    fn gained(&self, counter: impl Fn(&Totals) -> u64) -> u64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((_, first)), Some((_, last))) => counter(last).saturating_sub(counter(first)),
            _ => 0,
        }
    }
}
