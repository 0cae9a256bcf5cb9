//! The table of a run, and its verdict.

use std::{fmt::Write as _, time::Duration};

use crate::{
    bounds::{Bound, judge, longest, rank},
    cage::LIMIT,
    phase::Row,
};

/// What a run showed.
pub(crate) struct Run {
    queues: usize,
    rows: Vec<Row>,
}

impl Run {
    pub(crate) fn new(queues: usize) -> Self {
        Self {
            queues,
            rows: Vec::new(),
        }
    }

    /// Takes the row of a phase in.
    pub(crate) fn take(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Whether all bounds hold.
    pub(crate) fn holds(&self) -> bool {
        judge(&self.rows)
            .iter()
            .all(|bound| bound.broken.is_empty())
    }

    /// The document.
    pub(crate) fn document(&self) -> String {
        let mut text = String::from(
            "# Does a hostile tenant harm anybody?\n\nWritten by `make bench-siege`; do not edit.\n\n",
        );
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (limit, names) = self.rows.first().map_or((false, false), |row| row.cage);
        let limit = if limit {
            format!("ran in a control group with a limit of {} MiB", LIMIT >> 20)
        } else {
            "had no memory limit, since no control group could be made".to_owned()
        };
        let names = if names {
            "They ask a name server of the measurement, which leaves some names without an answer."
        } else {
            "No private resolv.conf could be mounted, so slow names are names that do not resolve."
        };
        let _ = writeln!(
            text,
            "{} honest TaskQueues in one namespace, on a machine of {cores} cores that the API server, etcd, Redis, the operator, \
             the measurement and, at the lowest priority, the attackers share. Whenever an honest queue has come to zero replicas, 1 to 20 tasks of 5 to \
             200 ms enter it; workers come and go as the Deployments say. A wake is the time from before the call that enqueues them \
             to when a watch shows replicas. Beside it the measurement itself writes the replicas of a Deployment five times a second, and waits until \
             the same watch shows them: what this plain write takes, no operator can do without. The operator {limit}; its most resident memory is the kernel's own mark (VmHWM), read every 100 ms. {names}\n",
            self.queues
        );
        text.push_str(
            "| attacker | s | wakes | p50 | p99 | longest | p99 and longest of plain writes | resident, peak | CPU, of a core | started again | probes failed | Lease given up | tasks | lost |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.line());
        }
        text.push_str("\n## Bounds\n\n");
        for Bound { rule, broken } in judge(&self.rows) {
            let verdict = if broken.is_empty() {
                "holds"
            } else {
                "**broken**"
            };
            let _ = writeln!(text, "- {rule}: {verdict}");
            for who in broken {
                let _ = writeln!(text, "  - {who}");
            }
        }
        self.notes(&mut text);
        text
    }

    fn notes(&self, text: &mut String) {
        text.push_str("\n## Beside it\n\n");
        for row in &self.rows {
            if !row.across.is_empty() {
                let _ = writeln!(
                    text,
                    "- In the middle of {} the operator was told to end while another one stood by. {} wakes fell into that, from SIGTERM to 5 s after the next one had \
                     the Lease; they are not in the table. The longest took {}.",
                    row.title,
                    row.across.len(),
                    time(longest(&row.across))
                );
            }
            for (at, took, write) in &row.late {
                let _ = writeln!(
                    text,
                    "- {}, after {} s: a wake took {}, a plain write meanwhile up to {}",
                    row.title.split(':').next().unwrap_or_default(),
                    at.as_secs(),
                    time(*took),
                    time(*write)
                );
            }
            for note in &row.told {
                let _ = writeln!(
                    text,
                    "- {} — {note}",
                    row.title.split(':').next().unwrap_or_default()
                );
            }
        }
    }
}

impl Row {
    /// The row of the table.
    pub(crate) fn line(&self) -> String {
        let operator = &self.operator;
        let at = |percent| rank(&self.wakes, percent).map_or("–".to_owned(), time);
        let gave_up = operator
            .gave_up
            .iter()
            .map(|took| took.map_or("never".to_owned(), time));
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let peak = operator.peak as f64 / f64::from(1 << 20);
        format!(
            "| {} | {} | {} | {} | {} | {} | {}, {} | {peak:.0} MiB | {:.0} % | {} | {} | {} | {} | {} |",
            self.title,
            self.took.as_secs(),
            self.wakes.len(),
            at(50),
            at(99),
            time(longest(&self.wakes)),
            rank(&self.writes, 99).map_or("–".to_owned(), time),
            time(longest(&self.writes)),
            operator.busy.as_secs_f64() / self.took.as_secs_f64() * 100.0,
            operator.restarts.len(),
            operator.probes_failed,
            gave_up.collect::<Vec<_>>().join(", "),
            self.enqueued,
            self.lost,
        )
    }
}

fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.0} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
