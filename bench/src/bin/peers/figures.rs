//! What was measured, and its medians. Pure.

use std::collections::BTreeMap;

use super::peer::Peer;

/// Whether Redis keeps a log of what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// Nothing on disk.
    Plain,
    /// `appendonly yes`, `appendfsync everysec`.
    Log,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Drain(Mode),
    DrainOneSlot(Mode),
    EnqueueOne(Mode),
    EnqueueConcurrent(Mode),
    EnqueueBulk(Mode),
    LatencyIdleHalf,
    LatencyIdleMost,
    LatencyRateHalf,
    LatencyRateMost,
    Cpu,
    BytesWaiting,
    BytesScheduled,
    BytesCompleted,
    IdleWorker,
}

/// What the figures of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Tasks a second; more is better. The others: less is better.
    Rate,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Bytes.
    Bytes,
    /// Megabytes.
    Megabytes,
}

impl Measure {
    /// Every row, in the table's order.
    pub(crate) const ALL: [Self; 19] = [
        Self::Drain(Mode::Plain),
        Self::DrainOneSlot(Mode::Plain),
        Self::EnqueueOne(Mode::Plain),
        Self::EnqueueConcurrent(Mode::Plain),
        Self::EnqueueBulk(Mode::Plain),
        Self::LatencyIdleHalf,
        Self::LatencyIdleMost,
        Self::LatencyRateHalf,
        Self::LatencyRateMost,
        Self::Cpu,
        Self::BytesWaiting,
        Self::BytesScheduled,
        Self::BytesCompleted,
        Self::IdleWorker,
        Self::Drain(Mode::Log),
        Self::DrainOneSlot(Mode::Log),
        Self::EnqueueOne(Mode::Log),
        Self::EnqueueConcurrent(Mode::Log),
        Self::EnqueueBulk(Mode::Log),
    ];

    /// What its figures are.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Drain(_)
            | Self::DrainOneSlot(_)
            | Self::EnqueueOne(_)
            | Self::EnqueueConcurrent(_)
            | Self::EnqueueBulk(_) => Unit::Rate,
            Self::LatencyIdleHalf
            | Self::LatencyIdleMost
            | Self::LatencyRateHalf
            | Self::LatencyRateMost => Unit::Milliseconds,
            Self::Cpu => Unit::Microseconds,
            Self::BytesWaiting | Self::BytesScheduled | Self::BytesCompleted => Unit::Bytes,
            Self::IdleWorker => Unit::Megabytes,
        }
    }

    /// Whether there is such a figure of this peer.
    pub(crate) fn applies(self, peer: Peer) -> bool {
        match self {
            Self::DrainOneSlot(_) => matches!(peer, Peer::Ours | Peer::Bare),
            Self::EnqueueOne(_)
            | Self::EnqueueConcurrent(_)
            | Self::EnqueueBulk(_)
            | Self::LatencyIdleHalf
            | Self::LatencyIdleMost
            | Self::LatencyRateHalf
            | Self::LatencyRateMost => true,
            _ => peer != Peer::Bare,
        }
    }
}

/// Every sample that was taken.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    samples: BTreeMap<(Measure, Peer), Vec<f64>>,
}

impl Figures {
    /// Adds one.
    pub(crate) fn add(&mut self, measure: Measure, peer: Peer, value: f64) {
        self.samples.entry((measure, peer)).or_default().push(value);
    }

    /// The median of the rounds, if there were any.
    pub(crate) fn of(&self, measure: Measure, peer: Peer) -> Option<f64> {
        median(self.samples.get(&(measure, peer))?)
    }

    /// The best of those by others, where more is better; nothing unless all of them were measured.
    pub(crate) fn best_rival(&self, measure: Measure) -> Option<f64> {
        let rivals = Peer::ALL.into_iter().filter(|peer| peer.is_rival());
        let figures: Option<Vec<f64>> = rivals.map(|peer| self.of(measure, peer)).collect();
        figures?.into_iter().reduce(f64::max)
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[half]),
        _ => Some(f64::midpoint(sorted[half - 1], sorted[half])),
    }
}

/// The smallest value that at least this many of a hundred do not exceed.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_count_is_the_middle_value() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn nothing_has_no_median_and_no_percentile() {
        assert_eq!(median(&[]), None);
        assert_eq!(percentile(&[], 99), None);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=300).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(150.0));
        assert_eq!(percentile(&values, 99), Some(297.0));
        assert_eq!(percentile(&[7.0], 99), Some(7.0));
    }

    #[test]
    fn the_best_rival_is_neither_ours_nor_bare_redis() {
        let measure = Measure::EnqueueBulk(Mode::Plain);
        let mut figures = Figures::default();
        for (peer, value) in [
            (Peer::Ours, 900.0),
            (Peer::Bare, 800.0),
            (Peer::Asynq, 20.0),
            (Peer::Bullmq, 10.0),
            (Peer::Celery, 1.0),
        ] {
            figures.add(measure, peer, value);
        }
        assert_eq!(figures.best_rival(measure), None, "one is missing");
        figures.add(measure, Peer::Apalis, 15.0);
        assert_eq!(figures.best_rival(measure), Some(20.0));
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds() {
        let mut figures = Figures::default();
        for value in [3.0, 1.0, 2.0] {
            figures.add(Measure::Cpu, Peer::Ours, value);
        }
        assert_eq!(figures.of(Measure::Cpu, Peer::Ours), Some(2.0));
        assert_eq!(figures.of(Measure::Cpu, Peer::Bullmq), None);
    }
}
