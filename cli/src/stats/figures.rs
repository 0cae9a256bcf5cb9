//! What `tq stats` shows of a queue: made of a snapshot, as JSON and as a row of a table. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use taskqueue_queue::{Counters, QueueName, Snapshot};

use crate::table;

/// The figures of one queue. Field names are part of the output and stay.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    queue: QueueName,
    time: Timestamp,
    /// All that a free worker could take now.
    waiting: u64,
    by_priority: Vec<Level>,
    /// Kept from running by others with their concurrency key.
    blocked: u64,
    /// Delayed or to be retried, and not due yet.
    scheduled: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due: Option<Timestamp>,
    active: u64,
    dead: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_seconds: Option<f64>,
    workers: u64,
    /// Workers that were lost and whose tasks are not yet taken back.
    expired_workers: u64,
    /// Totals since the queue was made.
    totals: Totals,
}

#[derive(Debug, Serialize)]
struct Level {
    name: String,
    waiting: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    enqueued: u64,
    completed: u64,
    failed_attempts: u64,
    /// Those that run included; but for those of tasks that were cancelled while they ran.
    attempts_begun: u64,
    /// The part of the attempts that came to an end by themselves or lost their workers which completed their tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    success_share: Option<f64>,
    retried: u64,
    dead: u64,
    lost: u64,
    handed_back: u64,
    cancelled: u64,
    expired: u64,
    dropped: u64,
    /// Whose records Redis lost, as far as their ids were met.
    missing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_run_seconds: Option<f64>,
}

impl Figures {
    pub(super) fn new(queue: &QueueName, snapshot: &Snapshot) -> Self {
        let counters = snapshot.counters;
        // Means and ages are for people; they need no more digits than an f64 has.
        #[allow(clippy::cast_precision_loss)]
        let mean_run = (counters.completed > 0)
            .then(|| counters.run.as_secs_f64() / counters.completed as f64);
        Self {
            queue: queue.clone(),
            time: snapshot.now,
            waiting: snapshot.backlog(),
            by_priority: (snapshot.waiting.iter())
                .map(|(name, waiting)| Level {
                    name: name.clone(),
                    waiting: *waiting,
                })
                .collect(),
            blocked: snapshot.blocked,
            scheduled: snapshot.scheduled.saturating_sub(snapshot.due),
            next_due: snapshot.next_due,
            active: snapshot.active,
            dead: snapshot.dead,
            oldest_waiting_seconds: snapshot.oldest_waiting.map(|age| age.as_secs_f64()),
            workers: snapshot.workers,
            expired_workers: snapshot.expired_workers,
            totals: Totals {
                enqueued: counters.enqueued,
                completed: counters.completed,
                failed_attempts: counters.failed,
                attempts_begun: begun(&counters) + snapshot.active,
                success_share: success_share(&counters),
                retried: counters.retried,
                dead: counters.dead,
                lost: counters.lost,
                handed_back: counters.released,
                cancelled: counters.cancelled,
                expired: counters.expired,
                dropped: counters.dropped,
                missing: counters.missing,
                mean_run_seconds: mean_run,
            },
        }
    }

    fn row(&self) -> [String; 13] {
        let levels = self
            .by_priority
            .iter()
            .map(|level| format!("{}:{}", level.name, level.waiting));
        let oldest = self
            .oldest_waiting_seconds
            .map(|age| table::span(SignedDuration::from_secs_f64(age)));
        [
            self.queue.to_string(),
            self.waiting.to_string(),
            levels.collect::<Vec<_>>().join(" "),
            oldest.unwrap_or_else(|| "-".to_owned()),
            self.scheduled.to_string(),
            self.active.to_string(),
            self.workers.to_string(),
            self.dead.to_string(),
            self.totals.enqueued.to_string(),
            self.totals.completed.to_string(),
            self.totals.failed_attempts.to_string(),
            self.totals.missing.to_string(),
            self.totals
                .success_share
                .map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", 100.0 * share)),
        ]
    }
}

/// Attempts that are over, whatever came of them. Each is counted at its end, as it costs nothing there.
fn begun(counters: &Counters) -> u64 {
    counters.completed + counters.failed + counters.lost + counters.snoozed + counters.released
}

/// `None` before the first attempt has come to an end.
#[allow(
    clippy::cast_precision_loss,
    reason = "a share is for people, who need no more digits than an f64 has"
)]
fn success_share(counters: &Counters) -> Option<f64> {
    let judged = counters.completed + counters.failed + counters.lost;
    (judged > 0).then(|| counters.completed as f64 / judged as f64)
}

/// One row a queue, below headings.
pub(super) fn table(figures: &[Figures]) -> Vec<String> {
    let mut table = table::with_headings([
        "QUEUE",
        "WAITING",
        "BY PRIORITY",
        "OLDEST",
        "SCHEDULED",
        "ACTIVE",
        "WORKERS",
        "DEAD",
        "ENQUEUED",
        "COMPLETED",
        "FAILED",
        "MISSING",
        "SUCCESS",
    ]);
    for queue in figures {
        table.add_row(queue.row());
    }
    table::lines(&mut table)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn figures() -> Figures {
        let snapshot = Snapshot {
            now: Timestamp::UNIX_EPOCH,
            waiting: vec![("high".to_owned(), 2), ("low".to_owned(), 40)],
            scheduled: 5,
            due: 3,
            active: 8,
            lost: 0,
            dead: 1,
            blocked: 0,
            oldest_waiting: Some(Duration::from_secs(200)),
            next_due: None,
            workers: 2,
            expired_workers: 0,
            tidy_at: None,
            fault: None,
            counters: Counters {
                enqueued: 60,
                completed: 4,
                failed: 6,
                missing: 7,
                run: Duration::from_secs(2),
                ..Counters::default()
            },
            version: 1,
        };
        Figures::new(
            &QueueName::new("shop", "orders").expect("a good name"),
            &snapshot,
        )
    }

    #[test]
    fn a_row_tells_due_tasks_as_waiting() {
        assert_eq!(
            table(&[figures()])[1]
                .split_whitespace()
                .collect::<Vec<_>>(),
            [
                "shop/orders",
                "45",
                "high:2",
                "low:40",
                "3m",
                "2",
                "8",
                "2",
                "1",
                "60",
                "4",
                "6",
                "7",
                "40.0%"
            ]
        );
    }

    #[test]
    fn json_holds_every_figure() {
        let json = serde_json::to_value(figures()).expect("it serializes");
        assert_eq!(json["queue"], "shop/orders");
        assert_eq!(json["waiting"], 45);
        assert_eq!(json["byPriority"][1]["name"], "low");
        assert_eq!(json["scheduled"], 2);
        assert_eq!(json["oldestWaitingSeconds"], 200.0);
        assert_eq!(json["totals"]["meanRunSeconds"], 0.5);
        assert_eq!(json["totals"]["missing"], 7);
        assert_eq!(json["totals"]["attemptsBegun"], 18);
        assert_eq!(json["totals"]["successShare"], 0.4);
        assert_eq!(json.get("nextDue"), None);
    }
}
