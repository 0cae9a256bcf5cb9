//! What the worker counts, and its `OpenMetrics` text. Fed by the queue's [`Observer`] callbacks, read by `/metrics`.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use taskqueue_queue::server::{Safety, Setting};
use taskqueue_queue::worker::{Ended, Finished, Observer};

use crate::config::Concurrency;

/// How many task types get a label of their own. Types come with the tasks, so producers could otherwise make the
/// series of a worker grow without end.
const TYPE_LIMIT: usize = 100;

/// The label of all types after those.
const OTHER_TYPES: &str = "other";

/// Upper bounds in seconds, from a millisecond to an hour.
const BUCKETS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 900.0, 3600.0,
];

/// The worker's counters, gauges and histograms. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    types: Arc<Mutex<HashSet<String>>>,
    tasks: Family<TaskLabels, Counter>,
    wait: Family<TypeLabel, Histogram>,
    run: Family<TypeLabel, Histogram>,
    running: Gauge,
    lease_losses: Counter,
    results_dropped: Counter,
    reconnects: Counter,
    handler_failures: Counter,
    redis_unsafe: Family<SettingLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    r#type: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SettingLabel {
    setting: &'static str,
}

impl Metrics {
    /// All at zero.
    pub fn new(slots: Concurrency) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut metrics = Self {
            registry: Arc::default(),
            types: Arc::default(),
            tasks: Family::default(),
            wait: Family::new_with_constructor(histogram),
            run: Family::new_with_constructor(histogram),
            running: Gauge::default(),
            lease_losses: Counter::default(),
            results_dropped: Counter::default(),
            reconnects: Counter::default(),
            handler_failures: Counter::default(),
            redis_unsafe: Family::default(),
        };
        metrics.registry = Arc::new(metrics.registry(slots));
        metrics
    }

    fn registry(&self, slots: Concurrency) -> Registry {
        let capacity = Gauge::<i64>::default();
        capacity.set(slots.get().into());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let mut registry = Registry::with_prefix("taskqueue_worker");
        registry.register("build", "The version of the worker", build);
        registry.register(
            "tasks",
            "Attempts that ended, by task type and outcome",
            self.tasks.clone(),
        );
        registry.register_with_unit(
            "wait",
            "Time from when a task could run until an attempt began",
            Unit::Seconds,
            self.wait.clone(),
        );
        registry.register_with_unit(
            "run",
            "Time that an attempt ran",
            Unit::Seconds,
            self.run.clone(),
        );
        registry.register("in_flight", "Attempts that run now", self.running.clone());
        registry.register("slots", "Attempts that can run at once", capacity);
        registry.register(
            "lease_losses",
            "How often the lease lapsed",
            self.lease_losses.clone(),
        );
        registry.register(
            "dropped_results",
            "Attempts whose results were dropped because the lease had lapsed",
            self.results_dropped.clone(),
        );
        registry.register(
            "reconnects",
            "How often Redis answered again after it did not",
            self.reconnects.clone(),
        );
        registry.register(
            "handler_failures",
            "How often the handler broke down, or could not take tasks",
            self.handler_failures.clone(),
        );
        registry.register(
            "redis_unsafe",
            "1 when a setting of Redis puts tasks at risk, 0 when it was seen and does not",
            self.redis_unsafe.clone(),
        );
        registry.register(
            "lost_log_lines",
            "Lines of the log that could not be written, or not as fast as they came",
            crate::logs::lost(),
        );
        registry
    }

    /// The counter of the handler's failures.
    pub fn handler_failures(&self) -> Counter {
        self.handler_failures.clone()
    }

    /// Redis' settings were looked at. What could not be seen has no series.
    pub fn redis_is(&self, safety: &Safety) {
        for setting in Setting::ALL {
            let label = SettingLabel {
                setting: setting.name(),
            };
            match safety.is_unsafe(setting) {
                Some(is_unsafe) => {
                    let gauge = self.redis_unsafe.get_or_create(&label);
                    gauge.set(is_unsafe.into());
                }
                None => {
                    self.redis_unsafe.remove(&label);
                }
            }
        }
    }

    /// The `OpenMetrics` text, with `running` attempts in flight.
    pub fn encode(&self, running: usize) -> Result<String, fmt::Error> {
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn label(&self, kind: &str) -> String {
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        if types.contains(kind) {
            return kind.to_owned();
        }
        if types.len() >= TYPE_LIMIT {
            return OTHER_TYPES.to_owned();
        }
        types.insert(kind.to_owned());
        kind.to_owned()
    }

    fn count(&self, kind: &str, ended: Ended, wait: Duration, run: Duration) {
        let label = TypeLabel {
            r#type: self.label(kind),
        };
        self.wait.get_or_create(&label).observe(wait.as_secs_f64());
        self.run.get_or_create(&label).observe(run.as_secs_f64());
        self.tasks
            .get_or_create(&TaskLabels {
                r#type: label.r#type,
                outcome: outcome(ended),
            })
            .inc();
    }
}

impl Observer for Metrics {
    fn finished(&self, finished: &Finished<'_>) {
        self.count(finished.kind, finished.ended, finished.wait, finished.run);
    }

    fn lease_lost(&self, tasks: usize) {
        self.lease_losses.inc();
        self.results_dropped.inc_by(tasks as u64);
    }

    fn reconnected(&self) {
        self.reconnects.inc();
    }
}

fn outcome(ended: Ended) -> &'static str {
    match ended {
        Ended::Completed => "completed",
        Ended::Retried => "retried",
        Ended::Dead => "dead",
        Ended::TimedOut => "timed_out",
        Ended::Snoozed => "snoozed",
        Ended::Released => "released",
        Ended::Lost => "lost",
        Ended::Cancelled => "cancelled",
        Ended::Expired => "expired",
        Ended::Dropped => "dropped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(Concurrency::new(4).expect("4 is in range"))
    }

    fn text(metrics: &Metrics) -> String {
        metrics.encode(3).expect("it encodes")
    }

    #[test]
    fn tasks_are_counted_by_type_and_outcome() {
        let metrics = metrics();
        let second = Duration::from_secs(1);
        metrics.count("resize", Ended::Completed, second, second);
        metrics.count("resize", Ended::Completed, second, second * 7200);
        metrics.count("resize", Ended::TimedOut, second, second);
        let text = text(&metrics);
        for line in [
            r#"taskqueue_worker_tasks_total{type="resize",outcome="completed"} 2"#,
            r#"taskqueue_worker_tasks_total{type="resize",outcome="timed_out"} 1"#,
            r#"taskqueue_worker_run_seconds_bucket{le="3600.0",type="resize"} 2"#,
            r#"taskqueue_worker_run_seconds_count{type="resize"} 3"#,
            "taskqueue_worker_in_flight 3",
            "taskqueue_worker_slots 4",
            "taskqueue_worker_lease_losses_total 0",
            "taskqueue_worker_reconnects_total 0",
            "taskqueue_worker_lost_log_lines_total 0",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(
            text.contains("taskqueue_worker_build_info{version="),
            "{text}"
        );
    }

    #[test]
    fn the_number_of_type_labels_is_bounded() {
        let metrics = metrics();
        for number in 0..10 * TYPE_LIMIT {
            metrics.count(
                &format!("type-{number}"),
                Ended::Completed,
                Duration::ZERO,
                Duration::ZERO,
            );
        }
        let text = text(&metrics);
        let series = text
            .lines()
            .filter(|line| line.starts_with("taskqueue_worker_tasks_total"))
            .count();
        assert_eq!(series, TYPE_LIMIT + 1);
        let other = format!(r#"{{type="other",outcome="completed"}} {}"#, 9 * TYPE_LIMIT);
        assert!(text.contains(&other), "{text}");
    }

    #[test]
    fn what_cannot_be_seen_of_redis_has_no_series() {
        use taskqueue_queue::server::ServerReport;

        let metrics = metrics();
        let evicting = ServerReport {
            eviction_policy: Some("volatile-lru".to_owned()),
            max_memory: Some(0),
            ..ServerReport::new("redis:6379")
        };
        metrics.redis_is(&Safety::of(&[evicting]));
        let seen = text(&metrics);
        assert!(
            seen.contains(r#"taskqueue_worker_redis_unsafe{setting="maxmemory-policy"} 1"#),
            "{seen}"
        );
        assert!(
            seen.contains(r#"taskqueue_worker_redis_unsafe{setting="maxmemory"} 0"#),
            "{seen}"
        );
        assert!(!seen.contains(r#"setting="appendonly""#), "{seen}");
        metrics.redis_is(&Safety::of(&[]));
        assert!(!text(&metrics).contains("redis_unsafe{"));
    }
}
