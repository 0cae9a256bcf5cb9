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
    /// By the worker program as it is shipped, where the others are their libraries.
    DrainProgram,
    /// While each end is logged.
    DrainAndLog,
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
    /// Of the worker program as it is shipped.
    IdleProgram,
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
    pub(crate) const ALL: [Self; 22] = [
        Self::Drain(Mode::Plain),
        Self::DrainProgram,
        Self::DrainAndLog,
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
        Self::IdleProgram,
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
            | Self::DrainProgram
            | Self::DrainAndLog
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
            Self::IdleWorker | Self::IdleProgram => Unit::Megabytes,
        }
    }

    /// Whether there is such a figure of this peer.
    pub(crate) fn applies(self, peer: Peer) -> bool {
        match self {
            Self::DrainProgram | Self::IdleProgram => peer.is_ours(),
            Self::DrainAndLog => peer == Peer::Ours,
            Self::DrainOneSlot(_) => peer.is_ours() || peer == Peer::Bare,
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

    /// How many times as much ours is as theirs, round by round: the median, and between which values the
    /// true median lies by the sign test, with at least 95 %. Nothing of fewer than six rounds, whose
    /// interval would have no end.
    pub(crate) fn paired(&self, measure: Measure, peer: Peer) -> Option<Paired> {
        let ours = self.samples.get(&(measure, Peer::Ours))?;
        let theirs = self.samples.get(&(measure, peer))?;
        let ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(one, other)| one / other)
            .collect();
        let sorted = sorted(&ratios);
        let (first, last) = interval(sorted.len())?;
        Some(Paired {
            median: median(&ratios)?,
            least: sorted[first],
            most: sorted[last],
        })
    }

    /// The best of those by others, where more is better; nothing unless all of them were measured.
    pub(crate) fn best_rival(&self, measure: Measure) -> Option<f64> {
        let rivals = Peer::ALL.into_iter().filter(|peer| peer.is_rival());
        let figures: Option<Vec<f64>> = rivals.map(|peer| self.of(measure, peer)).collect();
        figures?.into_iter().reduce(f64::max)
    }
}

/// A ratio of rounds in pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Paired {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// The places of the two values, of so many in order, between which the median of the population lies
/// with at least 95 %: below and above it each value falls with one half (sign test; Conover, Practical
/// Nonparametric Statistics, chapter 3).
fn interval(count: usize) -> Option<(usize, usize)> {
    let exponent = i32::try_from(count).ok()?;
    let (mut chance, mut below, mut place) = (0.5_f64.powi(exponent), 0.0, 0_u32);
    let mut first = None;
    // The chance that at most `place` values fall below.
    while below + chance <= 0.025 {
        below += chance;
        first = Some(usize::try_from(place).ok()?);
        chance *= f64::from(u32::try_from(count).ok()? - place) / f64::from(place + 1);
        place += 1;
    }
    first.map(|first| (first, count - 1 - first))
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
    fn the_interval_of_a_median_is_that_of_the_sign_test() {
        // Tables of the sign test: of 6 the outermost, of 15 the fourth from both ends, of 20 the sixth.
        let table = [
            (5, None),
            (6, Some((0, 5))),
            (15, Some((3, 11))),
            (20, Some((5, 14))),
        ];
        for (count, places) in table {
            assert_eq!(interval(count), places, "{count}");
        }
    }

    #[test]
    fn rounds_are_compared_in_pairs() {
        let mut figures = Figures::default();
        for round in 1..=15 {
            let slow = f64::from(round);
            figures.add(Measure::Cpu, Peer::Ours, 2.0 / slow);
            figures.add(Measure::Cpu, Peer::Before, 1.0 / slow);
        }
        let twice = Paired {
            median: 2.0,
            least: 2.0,
            most: 2.0,
        };
        assert_eq!(figures.paired(Measure::Cpu, Peer::Before), Some(twice));
        assert_eq!(figures.paired(Measure::Cpu, Peer::Bullmq), None);
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
