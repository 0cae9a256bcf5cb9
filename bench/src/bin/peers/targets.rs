//! What Taskqueue is to reach in each row, and whether it does. Pure: no verdict is written by hand.

use super::figures::{Figures, Measure, Mode, Unit};
use super::peer::Peer;

/// A value to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// So many times the figure of a peer, in the same row.
    Times(f64, Peer),
    /// So many times the best figure by others, in the same row.
    TimesBest(f64),
    /// Not more than this.
    AtMost(f64),
}

/// What must be reached, and what would be better still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) floor: &'static [Bound],
    pub(crate) aim: &'static [Bound],
}

/// Whether the bounds are kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// There is no bound.
    None,
    /// All are; this is the hardest of them, and all in words.
    Reached(f64, String),
    /// One is not; likewise.
    Missed(f64, String),
    /// A figure is missing.
    Unknown(String),
}

/// The targets of a row.
pub(crate) fn target(measure: Measure) -> Target {
    use Bound::{AtMost, Times, TimesBest};
    use Peer::{Apalis, Asynq, Bare, Bullmq};
    let (floor, aim): (&[Bound], &[Bound]) = match measure {
        Measure::Drain(Mode::Plain) => (
            &[Times(6.0, Bullmq), Times(10.0, Asynq), Times(2.0, Apalis)],
            &[Times(10.0, Bullmq), Times(20.0, Asynq), Times(4.0, Apalis)],
        ),
        Measure::DrainOneSlot(Mode::Plain) => (&[Times(0.8, Bare)], &[Times(0.9, Bare)]),
        Measure::EnqueueOne(Mode::Plain) => (&[Times(0.9, Asynq)], &[Times(1.0, Asynq)]),
        Measure::EnqueueConcurrent(Mode::Plain) => (&[TimesBest(1.2)], &[Times(1.0, Bare)]),
        Measure::EnqueueBulk(Mode::Plain) => (
            &[TimesBest(3.0), Times(10.0, Bullmq)],
            &[TimesBest(5.0), Times(19.0, Bullmq)],
        ),
        Measure::LatencyIdleHalf => (&[AtMost(0.7)], &[Times(1.25, Bare)]),
        Measure::LatencyIdleMost => (&[AtMost(1.2)], &[Times(1.25, Bare)]),
        Measure::LatencyRateHalf => (&[AtMost(0.3)], &[AtMost(0.2)]),
        Measure::LatencyRateMost => (&[AtMost(0.7)], &[AtMost(0.5)]),
        Measure::Cpu => (&[AtMost(5.0)], &[AtMost(3.0)]),
        Measure::BytesWaiting => (&[AtMost(300.0)], &[AtMost(260.0)]),
        Measure::BytesScheduled => (&[AtMost(300.0)], &[AtMost(300.0)]),
        Measure::BytesCompleted => (&[AtMost(300.0)], &[AtMost(240.0)]),
        Measure::IdleWorker => (&[AtMost(10.0)], &[AtMost(5.0)]),
        Measure::DrainProgram
        | Measure::DrainAndLog
        | Measure::IdleProgram
        | Measure::Drain(Mode::Log)
        | Measure::DrainOneSlot(Mode::Log)
        | Measure::EnqueueOne(Mode::Log)
        | Measure::EnqueueConcurrent(Mode::Log)
        | Measure::EnqueueBulk(Mode::Log) => (&[], &[]),
    };
    Target { floor, aim }
}

/// Whether ours keeps these bounds.
pub(crate) fn judge(figures: &Figures, measure: Measure, bounds: &[Bound]) -> Verdict {
    if bounds.is_empty() {
        return Verdict::None;
    }
    let words: Vec<String> = bounds.iter().map(|bound| words(*bound)).collect();
    let words = words.join(", ");
    let Some(ours) = figures.of(measure, Peer::Ours) else {
        return Verdict::Unknown(words);
    };
    let more_is_better = measure.unit() == Unit::Rate;
    let mut hardest: Option<f64> = None;
    for bound in bounds {
        let value = match *bound {
            Bound::Times(factor, peer) => figures.of(measure, peer).map(|figure| factor * figure),
            Bound::TimesBest(factor) => figures.best_rival(measure).map(|best| factor * best),
            Bound::AtMost(value) => Some(value),
        };
        let Some(value) = value else {
            return Verdict::Unknown(words);
        };
        hardest = Some(match hardest {
            Some(other) if more_is_better => value.max(other),
            Some(other) => value.min(other),
            None => value,
        });
    }
    match hardest {
        Some(value) if more_is_better && ours >= value => Verdict::Reached(value, words),
        Some(value) if !more_is_better && ours <= value => Verdict::Reached(value, words),
        Some(value) => Verdict::Missed(value, words),
        None => Verdict::None,
    }
}

fn words(bound: Bound) -> String {
    match bound {
        Bound::Times(factor, peer) => format!("{factor}x {}", peer.name()),
        Bound::TimesBest(factor) => format!("{factor}x the best peer"),
        Bound::AtMost(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Measure = Measure::Drain(Mode::Plain);

    fn figures(values: &[(Peer, f64)], measure: Measure) -> Figures {
        let mut figures = Figures::default();
        for (peer, value) in values {
            figures.add(measure, *peer, *value);
        }
        figures
    }

    #[test]
    fn the_hardest_of_several_bounds_decides() {
        let bounds = [Bound::Times(6.0, Peer::Bullmq), Bound::TimesBest(2.0)];
        let measured = [
            (Peer::Bullmq, 10.0),
            (Peer::Asynq, 9.0),
            (Peer::Celery, 1.0),
            (Peer::Apalis, 40.0),
        ];
        for (ours, reached) in [(80.0, true), (79.0, false)] {
            let figures = figures(&[&measured[..], &[(Peer::Ours, ours)]].concat(), DRAIN);
            let words = "6x BullMQ, 2x the best peer".to_owned();
            let expected = if reached {
                Verdict::Reached(80.0, words)
            } else {
                Verdict::Missed(80.0, words)
            };
            assert_eq!(judge(&figures, DRAIN, &bounds), expected);
        }
    }

    #[test]
    fn where_less_is_better_the_bound_is_a_ceiling() {
        let bounds = [Bound::AtMost(5.0)];
        let within = figures(&[(Peer::Ours, 5.0)], Measure::Cpu);
        assert!(matches!(
            judge(&within, Measure::Cpu, &bounds),
            Verdict::Reached(..)
        ));
        let above = figures(&[(Peer::Ours, 5.1)], Measure::Cpu);
        assert!(matches!(
            judge(&above, Measure::Cpu, &bounds),
            Verdict::Missed(..)
        ));
    }

    #[test]
    fn a_missing_figure_is_neither_reached_nor_missed() {
        let figures = figures(&[(Peer::Ours, 1e9), (Peer::Bullmq, 1.0)], DRAIN);
        let verdict = judge(&figures, DRAIN, target(DRAIN).floor);
        assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
    }
}
