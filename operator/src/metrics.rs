//! Prometheus metrics of the operator.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry, Unit},
};

use taskqueue_queue::server::{Safety, Setting};

use crate::{index::Sight, key::Key};

/// All metrics.
pub struct Metrics {
    registry: Registry,
    process: Registry,
    reconciles: Family<Outcome, Counter>,
    reconcile_seconds: Histogram,
    api_requests: Family<Request, Counter>,
    desired: Family<Resource, Gauge>,
    demand: Family<Resource, Gauge>,
    ready: Family<Resource, Gauge>,
    waiting: Family<Resource, Gauge>,
    active: Family<Resource, Gauge>,
    reachable: Family<Resource, Gauge>,
    missing: Family<Resource, Counter>,
    redis_unsafe: Family<RedisSetting, Gauge>,
    decision_seconds: Histogram,
    wake_seconds: Histogram,
    held: Family<Held, Counter>,
    overwritten: Family<Resource, Counter>,
    leader: Gauge,
    resident: Gauge,
    /// When a loop of the autoscaler last turned, in seconds since the start; for liveness.
    looked_at: AtomicU64,
    started: std::time::Instant,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    method: String,
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Held {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Resource {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RedisSetting {
    redis: String,
    setting: &'static str,
}

/// A metric that begins empty, under that name.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("taskqueue");
        let reconciles: Family<Outcome, Counter> = register(
            &mut registry,
            "operator_reconciles",
            "Reconciles by outcome",
        );
        let reconcile_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        registry.register_with_unit(
            "operator_reconcile_duration",
            "Time that a reconcile took",
            Unit::Seconds,
            reconcile_seconds.clone(),
        );
        let api_requests: Family<Request, Counter> = register(
            &mut registry,
            "operator_api_requests",
            "Requests to the API server by HTTP method and resource",
        );
        let mut gauge =
            |name, help| -> Family<Resource, Gauge> { register(&mut registry, name, help) };
        let demand = gauge(
            "scaling_demand",
            "Replicas that the tasks need, before bounds in time",
        );
        let desired = gauge("scaling_desired", "Replicas aimed at");
        let ready = gauge("scaling_ready", "Worker pods that are ready");
        let waiting = gauge("scaling_waiting_tasks", "Tasks that could run and wait");
        let active = gauge("scaling_active_tasks", "Tasks that a worker runs");
        let reachable = gauge("redis_reachable", "1 when the queue's Redis answers");
        let missing: Family<Resource, Counter> = register(
            &mut registry,
            "queue_missing_tasks",
            "Tasks that Redis lost, counted as their ids are met without them",
        );
        let redis_unsafe: Family<RedisSetting, Gauge> = register(
            &mut registry,
            "redis_unsafe",
            "1 when a setting of a Redis puts tasks at risk, 0 when it was seen and does not",
        );
        let wake_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        registry.register_with_unit(
            "scaling_wake",
            "Time from the announcement of a task at zero replicas to the write of the replicas",
            Unit::Seconds,
            wake_seconds.clone(),
        );
        let decision_seconds = Histogram::new(exponential_buckets(0.0005, 2.0, 14));
        registry.register_with_unit(
            "scaling_decision",
            "Time from the beginning of a look at queues to the decisions on it",
            Unit::Seconds,
            decision_seconds.clone(),
        );
        let held: Family<Held, Counter> = register(
            &mut registry,
            "scaling_held",
            "Times that the replicas began to be held at another number than wanted, by reason",
        );
        let overwritten: Family<Resource, Counter> = register(
            &mut registry,
            "scaling_overwritten",
            "Times that somebody else has set another number of replicas than the operator had",
        );
        let leader: Gauge = register(
            &mut registry,
            "operator_leader",
            "1 when this operator leads",
        );
        let resident = Gauge::default();
        // Under the name that every Prometheus client uses for it, so without our prefix.
        let mut root = Registry::default();
        root.register(
            "process_resident_memory_bytes",
            "Resident memory of the process",
            resident.clone(),
        );
        Self {
            registry,
            process: root,
            reconciles,
            reconcile_seconds,
            api_requests,
            demand,
            desired,
            ready,
            waiting,
            active,
            reachable,
            missing,
            redis_unsafe,
            decision_seconds,
            wake_seconds,
            held,
            overwritten,
            leader,
            resident,
            looked_at: AtomicU64::new(0),
            started: std::time::Instant::now(),
        }
    }
}

impl Metrics {
    /// A reconcile ended; `failure` is its reason.
    pub fn reconciled(&self, failure: Option<&'static str>, took: Duration) {
        let outcome = failure.unwrap_or("Ok");
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// A request to the API server is sent.
    pub fn requested(&self, method: &http::Method, path: &str) {
        let request = Request {
            method: method.to_string(),
            resource: resource(path),
        };
        self.api_requests.get_or_create(&request).inc();
    }

    /// A queue was looked at that has so many pods ready.
    pub fn looked(&self, key: &Key, sight: &Sight, ready: u32) {
        let labels = Resource {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.desired
            .get_or_create(&labels)
            .set(i64::from(sight.decision.replicas));
        self.ready.get_or_create(&labels).set(i64::from(ready));
        self.reachable
            .get_or_create(&labels)
            .set(i64::from(sight.queue.is_ok()));
        if let Ok(reading) = &sight.queue {
            let snapshot = &reading.snapshot;
            self.demand
                .get_or_create(&labels)
                .set(i64::from(sight.decision.wanted));
            self.waiting
                .get_or_create(&labels)
                .set(gauge(snapshot.backlog()));
            self.active
                .get_or_create(&labels)
                .set(gauge(snapshot.active));
            // Redis has the total, whichever operator reads it.
            self.missing
                .get_or_create(&labels)
                .inner()
                .store(snapshot.counters.missing, Ordering::Relaxed);
        }
        self.looked_at
            .store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// A TaskQueue is gone, and its series with it.
    pub fn forget(&self, key: &Key) {
        let labels = Resource {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let families = [
            &self.demand,
            &self.desired,
            &self.ready,
            &self.waiting,
            &self.active,
            &self.reachable,
        ];
        for family in families {
            family.remove(&labels);
        }
        self.missing.remove(&labels);
        self.overwritten.remove(&labels);
    }

    /// The settings of a Redis were looked at; nothing of it, when it is served no more. What could not
    /// be seen has no series.
    pub fn redis_is(&self, redis: &str, safety: Option<&Safety>) {
        for setting in Setting::ALL {
            let labels = RedisSetting {
                redis: redis.to_owned(),
                setting: setting.name(),
            };
            match safety.and_then(|safety| safety.is_unsafe(setting)) {
                Some(is_unsafe) => {
                    let gauge = self.redis_unsafe.get_or_create(&labels);
                    gauge.set(is_unsafe.into());
                }
                None => {
                    self.redis_unsafe.remove(&labels);
                }
            }
        }
    }

    /// A look led to its decisions.
    pub fn decided(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }

    /// The replicas of a queue are held back.
    pub fn held(&self, reason: taskqueue_scaling::Reason) {
        let reason = reason.to_string();
        self.held.get_or_create(&Held { reason }).inc();
    }

    /// Somebody else has written over the replicas that we wrote.
    pub fn overwritten(&self, key: &Key) {
        let labels = Resource {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        self.overwritten.get_or_create(&labels).inc();
    }

    /// Workers were woken from zero.
    pub fn woke(&self, took: Duration) {
        self.wake_seconds.observe(took.as_secs_f64());
    }

    /// This operator leads, or not.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Time since the autoscaler last looked at any queue.
    pub fn since_last_look(&self) -> Duration {
        let looked_at = Duration::from_secs(self.looked_at.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(looked_at)
    }

    /// Everything in the text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        let mut buffer = String::new();
        text::encode_registry(&mut buffer, &self.process)?;
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
    }
}

/// Resident memory of this process, from `VmRSS` in proc(5); `None` where there is no proc.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The resource in an API path, subresource included: `deployments/scale`. Names of objects and
/// namespaces are left out, so that the number of series is bounded.
fn resource(path: &str) -> String {
    let mut segments = path.trim_matches('/').split('/');
    // /api/v1/… or /apis/GROUP/VERSION/…
    match segments.next() {
        Some("api") => drop(segments.next()),
        Some("apis") => drop((segments.next(), segments.next())),
        _ => return "other".to_owned(),
    }
    let mut rest: Vec<_> = segments.collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    match rest.as_slice() {
        [] => "other".to_owned(),
        [kind] | [kind, _] => (*kind).to_owned(),
        [kind, _, subresource, ..] => format!("{kind}/{subresource}"),
    }
}

#[cfg(test)]
mod tests {
    use super::resource;

    #[test]
    fn paths_are_counted_by_resource_and_subresource() {
        for (path, expected) in [
            ("/apis/taskqueue.dev/v1alpha1/taskqueues", "taskqueues"),
            (
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "deployments/scale",
            ),
            ("/apis/apps/v1/namespaces/a/deployments/b", "deployments"),
            ("/api/v1/namespaces/a/secrets/b", "secrets"),
            ("/api/v1/namespaces/a", "namespaces"),
            ("/version", "other"),
        ] {
            assert_eq!(resource(path), expected, "{path}");
        }
    }
}
