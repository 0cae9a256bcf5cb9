//! The manifests that the stories apply.

use std::fmt::Write;

/// A TaskQueue of the worker's demo handlers.
#[derive(Clone)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) redis: Option<String>,
    pub(crate) spec: &'static str,
    /// More of `spec.worker`, a line.
    pub(crate) worker: &'static str,
    /// More of the container of a shell, each a line.
    pub(crate) container: &'static [&'static str],
    pub(crate) concurrency: u32,
    pub(crate) backlog_per_replica: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) idle: &'static str,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            name: "work",
            redis: None,
            spec: "",
            worker: "",
            container: &[],
            concurrency: 4,
            backlog_per_replica: 5,
            min: 0,
            max: 3,
            idle: "2s",
        }
    }
}

impl Workload {
    /// The handlers that come with the worker.
    pub(crate) fn native(&self) -> String {
        self.with_worker("    handler: {native: {}}\n    drainTimeout: 20s\n")
    }

    /// A shell command in the busybox image.
    pub(crate) fn shell(&self, script: &str) -> String {
        let command = serde_json::json!(["sh", "-c", script]);
        self.with_worker(&format!(
            "    drainTimeout: 20s
    handler: {{exec: {{command: {command}}}}}
    template:
      spec:
        # So that the worker is not process 1, which nothing inside the pod can kill.
        shareProcessNamespace: true
        containers:
          - name: shell
            image: localhost/taskqueue/busybox:dev
            imagePullPolicy: IfNotPresent
            {}
",
            self.container.join("\n            ")
        ))
    }

    /// With these lines of `spec.worker`.
    pub(crate) fn with_worker(&self, worker: &str) -> String {
        let mut manifest = format!(
            "apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {{name: {}}}
spec:
",
            self.name
        );
        if let Some(url) = &self.redis {
            let _ = writeln!(manifest, "  redis: {{url: \"{url}\"}}");
        }
        for line in self.spec.lines() {
            let _ = writeln!(manifest, "  {line}");
        }
        let _ = write!(
            manifest,
            "  worker:
    concurrency: {}
    {}
{worker}  scaling:
    minReplicas: {}
    maxReplicas: {}
    target: {{backlogPerReplica: {}}}
    idle: {}
    scaleDown: {{stabilization: 5s}}
",
            self.concurrency, self.worker, self.min, self.max, self.backlog_per_replica, self.idle
        );
        manifest
    }
}
