//! What a run has to keep to. Pure.

use std::time::Duration;

use crate::phase::{Kind, Row};

/// Most resident memory of the operator, in bytes.
pub(crate) const RESIDENT: u64 = 200 * 1024 * 1024;
/// Longest honest wake.
pub(crate) const WAKE: Duration = Duration::from_secs(1);
/// Longest time from SIGTERM until the Lease is given up.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(2);
/// Longest honest wake while one operator hands over to the next.
pub(crate) const ACROSS: Duration = Duration::from_secs(15);
/// How much longer the 99th of a hundred wakes may take beside a hostile namespace than alone.
pub(crate) const FAIR: f64 = 1.5;

/// A bound, and who broke it.
pub(crate) struct Bound {
    pub(crate) rule: String,
    pub(crate) broken: Vec<String>,
}

/// All bounds.
pub(crate) fn judge(rows: &[Row]) -> Vec<Bound> {
    let of = |rule: String, broken: &dyn Fn(&Row) -> Option<String>| Bound {
        rule,
        broken: rows
            .iter()
            .filter_map(|row| Some(format!("{}: {}", name(row), broken(row)?)))
            .collect(),
    };
    vec![
        of(
            "the operator is never killed and never ends by itself".to_owned(),
            &|row| {
                let causes = &row.operator.restarts;
                (!causes.is_empty())
                    .then(|| format!("{} times, first: {}", causes.len(), causes[0]))
            },
        ),
        of(
            format!("it never has more than {} MiB resident", RESIDENT >> 20),
            &|row| {
                let peak = row.operator.peak;
                (peak > RESIDENT).then(|| format!("{} MiB", peak >> 20))
            },
        ),
        of(
            format!("no honest wake takes longer than {} s", WAKE.as_secs()),
            &|row| {
                let late = row.wakes.iter().filter(|took| **took > WAKE).count();
                (late > 0).then(|| {
                    format!(
                        "{late} of {}, up to {:.1?}",
                        row.wakes.len(),
                        longest(&row.wakes)
                    )
                })
            },
        ),
        of(
            format!(
                "across the hand-over none longer than {} s",
                ACROSS.as_secs()
            ),
            &|row| {
                let longest = longest(&row.across);
                (longest > ACROSS).then(|| format!("{longest:.1?}"))
            },
        ),
        of("no honest task is lost".to_owned(), &|row| {
            (row.lost > 0).then(|| format!("{} of {}", row.lost, row.enqueued))
        }),
        of(
            format!(
                "the Lease is given up within {} s of SIGTERM",
                GIVE_UP.as_secs()
            ),
            &|row| {
                let late = row
                    .operator
                    .gave_up
                    .iter()
                    .find(|it| it.is_none_or(|took| took > GIVE_UP))?;
                Some(late.map_or("not at all".to_owned(), |took| format!("{took:.1?}")))
            },
        ),
        fair(rows),
    ]
}

fn fair(rows: &[Row]) -> Bound {
    let p99 = |kind| {
        let row = rows.iter().find(|row| row.kind == kind);
        row.and_then(|row| rank(&row.wakes, 99))
    };
    let rule =
        format!("beside a hostile namespace the p99 of wakes is within {FAIR} times of alone");
    let broken = match (p99(Kind::Alone), p99(Kind::Namespace)) {
        (Some(alone), Some(beside)) if beside.as_secs_f64() > alone.as_secs_f64() * FAIR => {
            let times = beside.as_secs_f64() / alone.as_secs_f64();
            vec![format!(
                "{beside:.1?} instead of {alone:.1?}, {times:.1} times"
            )]
        }
        (Some(_), Some(_)) => Vec::new(),
        _ => vec!["it was not measured".to_owned()],
    };
    Bound { rule, broken }
}

/// The nearest rank of ascending times.
pub(crate) fn rank(times: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (percent * times.len()).div_ceil(100);
    times.get(rank.max(1) - 1).copied()
}

/// The longest of ascending times.
pub(crate) fn longest(times: &[Duration]) -> Duration {
    times.last().copied().unwrap_or_default()
}

/// A row's name without what its attacker does.
fn name(row: &Row) -> &str {
    let name = row.title.split(':').next().unwrap_or_default();
    name.trim_matches('*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Figures;

    /// A phase that keeps to all bounds.
    fn kept(kind: Kind, wake: u64) -> Row {
        Row {
            kind,
            title: "someone: does something".to_owned(),
            took: Duration::from_mins(1),
            wakes: vec![Duration::from_millis(wake); 100],
            late: Vec::new(),
            writes: Vec::new(),
            across: vec![Duration::from_secs(3)],
            enqueued: 1_000,
            lost: 0,
            operator: Figures {
                peak: RESIDENT,
                gave_up: vec![Some(GIVE_UP)],
                ..Figures::default()
            },
            cage: (true, true),
            told: Vec::new(),
        }
    }

    fn broken(rows: &[Row]) -> Vec<String> {
        let bounds = judge(rows).into_iter();
        bounds.flat_map(|bound| bound.broken).collect()
    }

    #[test]
    fn what_is_just_within_its_bound_breaks_none() {
        let rows = [
            kept(Kind::Alone, 20),
            kept(Kind::Namespace, 30),
            kept(Kind::All, 1_000),
        ];
        assert_eq!(broken(&rows), [""; 0]);
    }

    #[test]
    fn each_bound_is_broken_by_its_own_figure() {
        let break_with = |spoil: &dyn Fn(&mut Row)| {
            let mut row = kept(Kind::All, 20);
            spoil(&mut row);
            broken(&[row, kept(Kind::Alone, 20), kept(Kind::Namespace, 20)])
        };
        let cause = "signal 9".to_owned();
        assert_eq!(
            break_with(&|row| row.operator.restarts.push(cause.clone())),
            ["someone: 1 times, first: signal 9"]
        );
        assert_eq!(
            break_with(&|row| row.operator.peak += 1 << 20),
            ["someone: 201 MiB"]
        );
        assert_eq!(
            break_with(&|row| row.wakes[99] = Duration::from_millis(1_200)),
            ["someone: 1 of 100, up to 1.2s"]
        );
        assert_eq!(
            break_with(&|row| row.across[0] = Duration::from_secs(16)),
            ["someone: 16.0s"]
        );
        assert_eq!(break_with(&|row| row.lost = 2), ["someone: 2 of 1000"]);
        assert_eq!(
            break_with(&|row| row.operator.gave_up.push(None)),
            ["someone: not at all"]
        );
    }

    #[test]
    fn a_hostile_namespace_that_slows_the_slowest_wakes_is_unfair() {
        let rows = [kept(Kind::Alone, 20), kept(Kind::Namespace, 31)];
        assert_eq!(broken(&rows), ["31.0ms instead of 20.0ms, 1.6 times"]);
        assert_eq!(broken(&rows[..1]), ["it was not measured"]);
    }
}
