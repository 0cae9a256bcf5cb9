//! The end: everything enqueued is done, and what it cost.

use std::{fmt, sync::atomic::Ordering, time::Duration};

use taskqueue_e2e::{Patience, Story};

use super::{load::Tally, watch::Scaled};

/// What a run showed.
pub(crate) struct Run {
    seconds: u64,
    queues: usize,
    tasks: u64,
    raised: u64,
    /// Scale-in events.
    pub(crate) lowered: u64,
    to_zero: u64,
    taken: u64,
    pods_deleted: u64,
    interrupted: u64,
    again: u64,
    dropped: u64,
    /// Leases lost, tasks handed back and attempts failed, by the queues' own counters.
    lost: u64,
    released: u64,
    failed: u64,
}

/// Waits until everything is done and draws the balance.
pub(crate) async fn settle(
    story: &Story,
    enqueued: &[(String, u64)],
    scaled: &Scaled,
    tally: &Tally,
    took: Duration,
) -> Run {
    let mut run = Run {
        seconds: took.as_secs(),
        queues: enqueued.len(),
        tasks: 0,
        raised: scaled.raised(),
        lowered: scaled.lowered(),
        to_zero: scaled.to_zero(),
        taken: scaled.taken(),
        pods_deleted: 0,
        interrupted: 0,
        again: 0,
        dropped: 0,
        lost: 0,
        released: 0,
        failed: 0,
    };
    for (queue, count) in enqueued {
        let counters = story.drained(queue, *count, Patience::LONG).await.counters;
        run.tasks += count;
        run.lost += counters.lost;
        run.released += counters.released;
        run.failed += counters.failed;
    }
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    run.pods_deleted = of(&tally.pods_deleted);
    run.interrupted = of(&tally.interrupted);
    run.again = of(&tally.again);
    run.dropped = of(&tally.dropped);
    run
}

impl Run {
    /// Whether no task was interrupted, by any count.
    pub(crate) fn is_clean(&self) -> bool {
        let counts = [
            self.interrupted,
            self.again,
            self.dropped,
            self.lost,
            self.released,
            self.failed,
        ];
        counts.iter().all(|count| *count == 0)
    }

    /// The document.
    pub(crate) fn document(&self) -> String {
        format!(
            "# Scaling in under load\n\nWritten by `make bench-scale-in`; do not edit.\n\n{self}\n\
             Real API server, controllers and scheduler; the pods are on a simulated node and run real workers, each with two \
             slots. Tasks come in bursts of 1 to 24 every 0.2 to 3 seconds and run for 20 ms to 4 s, so that replicas fall while \
             tasks run. *Interrupted* is counted where it would happen: the tasks that a pod's worker runs at the moment the \
             pod is deleted. The rows below it are the same from the tasks' own attempts and losses and from the queues' counters.\n"
        )
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("seconds", self.seconds),
            ("TaskQueues under load", self.queues as u64),
            ("tasks, all completed", self.tasks),
            ("replicas raised, times", self.raised),
            ("replicas lowered, times", self.lowered),
            ("of those to zero", self.to_zero),
            ("replicas taken away", self.taken),
            ("pods deleted", self.pods_deleted),
            ("**tasks interrupted**", self.interrupted),
            ("tasks that ran again", self.again),
            ("attempts dropped by a worker", self.dropped),
            ("leases lost", self.lost),
            ("tasks handed back", self.released),
            ("attempts failed", self.failed),
        ];
        writeln!(formatter, "| | |\n|---|---|")?;
        for (what, count) in rows {
            writeln!(formatter, "| {what} | {count} |")?;
        }
        Ok(())
    }
}
