//! The one table, as Markdown, which is also what is printed. Pure.

use std::fmt::Write;

use super::figures::{Figures, Measure, Mode, Unit};
use super::peer::Peer;
use super::targets::{self, Verdict};

/// The table of these columns.
pub(crate) fn table(figures: &Figures, peers: &[Peer]) -> String {
    let mut head = vec![String::new()];
    head.extend(peers.iter().map(|peer| peer.name().to_owned()));
    head.extend(["floor".to_owned(), "aim".to_owned()]);
    let rows = Measure::ALL
        .into_iter()
        .map(|measure| row(figures, peers, measure));
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    lines(&rows)
}

fn row(figures: &Figures, peers: &[Peer], measure: Measure) -> Vec<String> {
    let mut cells = vec![title(measure)];
    cells.extend(peers.iter().map(|peer| cell(figures, measure, *peer)));
    let target = targets::target(measure);
    for bounds in [target.floor, target.aim] {
        let verdict = targets::judge(figures, measure, bounds);
        cells.push(told(&verdict, measure.unit()));
    }
    cells
}

/// The figure, and how many times better ours is.
fn cell(figures: &Figures, measure: Measure, peer: Peer) -> String {
    if !measure.applies(peer) {
        return "–".to_owned();
    }
    let Some(figure) = figures.of(measure, peer) else {
        return "not measured".to_owned();
    };
    let text = number(figure, measure.unit());
    if peer == Peer::Before {
        return match figures.paired(measure, peer) {
            Some(it) => format!(
                "{text} ({:.2}: {:.2} to {:.2})",
                it.median, it.least, it.most
            ),
            None => text,
        };
    }
    match figures.of(measure, Peer::Ours) {
        Some(ours) if peer != Peer::Ours => {
            format!("{text} ({})", times(ratio(ours, figure, measure.unit())))
        }
        _ => text,
    }
}

/// How many times better ours is than theirs.
fn ratio(ours: f64, theirs: f64, unit: Unit) -> f64 {
    match unit {
        Unit::Rate => ours / theirs,
        _ => theirs / ours,
    }
}

fn times(ratio: f64) -> String {
    if ratio < 9.95 {
        format!("{ratio:.2}x")
    } else {
        format!("{ratio:.0}x")
    }
}

fn told(verdict: &Verdict, unit: Unit) -> String {
    let sign = if unit == Unit::Rate { '≥' } else { '≤' };
    let bound = |value: &f64, words: &str| {
        let value = number(*value, unit);
        if words.is_empty() {
            format!("{sign} {value}")
        } else {
            format!("{sign} {value}: {words}")
        }
    };
    match verdict {
        Verdict::None => String::new(),
        Verdict::Reached(value, words) => format!("reached ({})", bound(value, words)),
        Verdict::Missed(value, words) => format!("**missed** ({})", bound(value, words)),
        Verdict::Unknown(words) => format!("unknown ({words})"),
    }
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Rate | Unit::Bytes => grouped(value),
        Unit::Milliseconds => format!("{value:.2}"),
        Unit::Microseconds | Unit::Megabytes => format!("{value:.1}"),
    }
}

/// With commas between the thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn title(measure: Measure) -> String {
    let log = |mode: Mode| match mode {
        Mode::Plain => "",
        Mode::Log => ", append-only file",
    };
    match measure {
        Measure::Drain(mode) => format!("drain, tasks/s{}", log(mode)),
        Measure::DrainProgram => "drain by the worker program, tasks/s".to_owned(),
        Measure::DrainAndLog => "drain with a log of ends, tasks/s".to_owned(),
        Measure::DrainOneSlot(mode) => format!("drain with 1 slot, tasks/s{}", log(mode)),
        Measure::EnqueueOne(mode) => format!("enqueue one by one, tasks/s{}", log(mode)),
        Measure::EnqueueConcurrent(mode) => {
            format!("enqueue by 16 callers, tasks/s{}", log(mode))
        }
        Measure::EnqueueBulk(mode) => format!("enqueue in bulk, tasks/s{}", log(mode)),
        Measure::LatencyIdleHalf => "enqueue to start, idle, p50, ms".to_owned(),
        Measure::LatencyIdleMost => "enqueue to start, idle, p99, ms".to_owned(),
        Measure::LatencyRateHalf => "enqueue to start, 1,000 tasks/s, p50, ms".to_owned(),
        Measure::LatencyRateMost => "enqueue to start, 1,000 tasks/s, p99, ms".to_owned(),
        Measure::Cpu => "Redis CPU of fetch and ack, µs a task".to_owned(),
        Measure::BytesWaiting => "Redis bytes a waiting task".to_owned(),
        Measure::BytesScheduled => "Redis bytes a scheduled task".to_owned(),
        Measure::BytesCompleted => "Redis bytes a completed task".to_owned(),
        Measure::IdleWorker => "memory of an idle worker, MB".to_owned(),
        Measure::IdleProgram => "memory of the idle worker program, MB".to_owned(),
    }
}

/// Markdown whose columns also line up as text.
fn lines(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (position, row) in rows.iter().enumerate() {
        text.push('|');
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, " {cell:width$} |");
        }
        text.push('\n');
        if position == 0 {
            text.push('|');
            for width in &widths {
                let _ = write!(text, "{}|", "-".repeat(width + 2));
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::default();
        figures.add(Measure::Drain(Mode::Plain), Peer::Ours, 150_000.0);
        figures.add(Measure::Drain(Mode::Plain), Peer::Bullmq, 15_000.0);
        figures.add(Measure::Cpu, Peer::Ours, 4.0);
        figures.add(Measure::Cpu, Peer::Bullmq, 34.0);
        figures
    }

    #[test]
    fn a_ratio_tells_how_many_times_better_ours_is() {
        let figures = figures();
        assert_eq!(
            cell(&figures, Measure::Drain(Mode::Plain), Peer::Bullmq),
            "15,000 (10x)"
        );
        assert_eq!(cell(&figures, Measure::Cpu, Peer::Bullmq), "34.0 (8.50x)");
        assert_eq!(cell(&figures, Measure::Cpu, Peer::Ours), "4.0");
    }

    #[test]
    fn what_is_missing_says_so() {
        let figures = figures();
        assert_eq!(
            cell(&figures, Measure::BytesWaiting, Peer::Ours),
            "not measured"
        );
        assert_eq!(cell(&figures, Measure::Cpu, Peer::Bare), "–");
    }

    #[test]
    fn a_verdict_names_its_bound() {
        let words = "6x BullMQ".to_owned();
        assert_eq!(
            told(&Verdict::Missed(1_234_567.0, words), Unit::Rate),
            "**missed** (≥ 1,234,567: 6x BullMQ)"
        );
        assert_eq!(
            told(&Verdict::Reached(0.7, String::new()), Unit::Milliseconds),
            "reached (≤ 0.70)"
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        for (value, text) in [(7.0, "7"), (999.6, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn every_row_has_every_column() {
        let text = table(&figures(), &[Peer::Ours, Peer::Bullmq]);
        let bars: Vec<usize> = text.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(bars, vec![6; Measure::ALL.len() + 2]);
    }
}
