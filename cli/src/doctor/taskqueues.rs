//! What the TaskQueues of a cluster say of themselves. Pure.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use taskqueue_api::{TaskQueue, TaskQueueStatus, status::condition};

use super::report::Finding;
use crate::table;

/// What these findings are about.
pub(super) const CHECK: &str = "taskqueues";
/// How many of them are told one by one.
const TOLD: usize = 20;
/// How long an operator may take for the first status, and tasks may wait for a first worker.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// Conditions that say something is wrong, with the status that says so.
const CONDITIONS: [(&str, &str); 6] = [
    (condition::READY, "False"),
    (condition::QUEUE_NAME_CONFLICT, "True"),
    (condition::REDIS_REACHABLE, "False"),
    (condition::ABLE_TO_SCALE, "False"),
    (condition::SOURCE_KEY_MISSING, "True"),
    // Its queue works, and may lose tasks.
    (condition::REDIS_UNSAFE, "True"),
];

/// How they are. `now` is by the clock of the API server.
pub(super) fn judge(queues: &[TaskQueue], now: Timestamp) -> Vec<Finding> {
    if queues.is_empty() {
        let text = "there are none: kubectl apply -f examples/hello.yaml makes one";
        return vec![Finding::ok(CHECK, text)];
    }
    let mut told: Vec<_> = queues
        .iter()
        .filter_map(|queue| trouble(queue, now))
        .collect();
    told.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let ill = told.len();
    if ill > TOLD {
        told.truncate(TOLD);
        told.push(Finding::warning(
            CHECK,
            format!("{} more are not well", ill - TOLD),
        ));
    }
    let well = queues.len() - ill;
    let (count, all) = (queues.len(), if ill == 0 { "all" } else { "of them" });
    told.push(match ill {
        0 => Finding::ok(CHECK, format!("{count}, {all} ready")),
        _ => Finding::ok(CHECK, format!("{count}, {well} {all} ready")),
    });
    told
}

/// What is wrong with one, if anything is.
fn trouble(queue: &TaskQueue, now: Timestamp) -> Option<Finding> {
    let (namespace, name) = (queue.namespace().unwrap_or_default(), queue.name_any());
    let title = format!("{namespace}/{name}");
    let Some(status) = &queue.status else {
        let made = queue.metadata.creation_timestamp.as_ref()?;
        let text = format!(
            "{title} was made {} ago and no operator has looked at it: does one run, and does it serve this namespace \
             (watch.namespace of the chart)?",
            table::age(made.0, now)
        );
        return (now.duration_since(made.0) > GRACE).then(|| Finding::problem(CHECK, text));
    };
    let wrong: Vec<_> = CONDITIONS
        .iter()
        .filter_map(|it| told(status, it))
        .collect();
    if !wrong.is_empty() {
        let text = format!("{title}: {}", wrong.join("; "));
        let works = wrong
            .iter()
            .all(|it| it.starts_with(condition::REDIS_UNSAFE));
        return Some(if works {
            Finding::warning(CHECK, text)
        } else {
            Finding::problem(CHECK, text)
        });
    }
    let waits = waits_for_workers(queue, status)?;
    let text = format!("{title}: {waits}: kubectl tq explain {name} -n {namespace} tells why");
    Some(Finding::warning(CHECK, text))
}

/// A condition that is as it should not be.
fn told(status: &TaskQueueStatus, (kind, bad): &(&str, &str)) -> Option<String> {
    let condition = status.conditions.iter().find(|it| it.type_ == *kind)?;
    let (reason, message) = (&condition.reason, &condition.message);
    let colon = if message.is_empty() { "" } else { ": " };
    (condition.status == *bad).then(|| format!("{kind}={bad} ({reason}){colon}{message}"))
}

/// Tasks that wait where no worker is ready, although the queue is not paused.
fn waits_for_workers(queue: &TaskQueue, status: &TaskQueueStatus) -> Option<String> {
    let waiting = status.depth.as_ref()?.waiting;
    let oldest = SignedDuration::from_secs(status.oldest_waiting_seconds?);
    let idle = status.ready_replicas.unwrap_or(0) == 0 && !queue.spec.paused;
    (waiting > 0 && idle && oldest > GRACE).then(|| {
        let oldest = table::span(oldest);
        format!("{waiting} tasks wait, the oldest for {oldest}, and no worker pod is ready")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::super::report::Level;
    use super::*;

    fn queue(name: &str, status: &Value) -> TaskQueue {
        let queue = json!({
            "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": {
                "name": name, "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:00Z"
            },
            "spec": { "worker": { "handler": { "native": {} } } },
            "status": status
        });
        serde_json::from_value(queue).unwrap()
    }

    fn ready() -> Value {
        json!([{ "type": "Ready", "status": "True", "reason": "InPlace", "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z" }])
    }

    fn not(kind: &str, status: &str) -> Value {
        json!([{ "type": kind, "status": status, "reason": "Some", "message": "because of this",
            "lastTransitionTime": "2026-01-02T03:04:05Z" }])
    }

    fn lines(queues: &[TaskQueue], now: &str) -> Vec<(Level, String)> {
        let found = judge(queues, now.parse().unwrap());
        found.into_iter().map(|it| (it.level, it.text)).collect()
    }

    const SOON: &str = "2026-01-02T03:04:20Z";
    const LATER: &str = "2026-01-02T03:09:00Z";

    #[test]
    fn all_ready_is_one_line() {
        let queues = [
            queue("a", &json!({"conditions": ready()})),
            queue("b", &json!({})),
        ];
        assert_eq!(
            lines(&queues, LATER),
            [(Level::Ok, "2, all ready".to_owned())]
        );
        assert_eq!(lines(&[], LATER)[0].0, Level::Ok);
    }

    #[test]
    fn a_condition_that_is_not_as_it_should_be_is_told_with_its_reason() {
        for (kind, status, level) in [
            ("Ready", "False", Level::Problem),
            ("RedisReachable", "False", Level::Problem),
            ("AbleToScale", "False", Level::Problem),
            ("QueueNameConflict", "True", Level::Problem),
            ("SourceKeyMissing", "True", Level::Problem),
            ("RedisUnsafe", "True", Level::Warning),
        ] {
            let queues = [queue("a", &json!({"conditions": not(kind, status)}))];
            let text = format!("shop/a: {kind}={status} (Some): because of this");
            let found = lines(&queues, LATER);
            assert_eq!(found[0], (level, text));
            assert_eq!(found[1], (Level::Ok, "1, 0 of them ready".to_owned()));
        }
        let queues = [queue("a", &json!({"conditions": not("Ready", "Unknown")}))];
        assert_eq!(lines(&queues, LATER).len(), 1);
    }

    #[test]
    fn one_that_no_operator_looked_at_is_told_after_a_while() {
        let queues = [queue("a", &Value::Null)];
        assert_eq!(lines(&queues, SOON).len(), 1);
        let found = &lines(&queues, LATER)[0];
        assert_eq!(found.0, Level::Problem);
        assert!(
            found
                .1
                .starts_with("shop/a was made 5m ago and no operator"),
            "{found:?}"
        );
    }

    #[test]
    fn tasks_that_wait_where_no_worker_is_are_told() {
        let status = |waiting: i64, oldest: i64, ready: i32| {
            json!({"conditions": self::ready(), "depth": {"waiting": waiting}, "oldestWaitingSeconds": oldest,
                "readyReplicas": ready})
        };
        let found = lines(&[queue("a", &status(12, 300, 0))], LATER);
        assert_eq!(found[0].0, Level::Warning);
        assert_eq!(
            found[0].1,
            "shop/a: 12 tasks wait, the oldest for 5m, and no worker pod is ready: kubectl tq explain a -n shop tells why"
        );
        for fine in [status(0, 0, 0), status(12, 300, 1), status(12, 5, 0)] {
            assert_eq!(lines(&[queue("a", &fine)], LATER).len(), 1, "{fine}");
        }
        let mut paused = queue("a", &status(12, 300, 0));
        paused.spec.paused = true;
        assert_eq!(lines(&[paused], LATER).len(), 1);
    }

    #[test]
    fn of_many_the_worst_are_told() {
        let mut queues: Vec<_> = (0..30)
            .map(|it| {
                queue(
                    &format!("unsafe-{it}"),
                    &json!({"conditions": not("RedisUnsafe", "True")}),
                )
            })
            .collect();
        queues.push(queue(
            "broken",
            &json!({"conditions": not("Ready", "False")}),
        ));
        let found = lines(&queues, LATER);
        assert_eq!(found.len(), TOLD + 2);
        assert!(found[0].1.starts_with("shop/broken"), "{found:?}");
        assert_eq!(found[TOLD].1, "11 more are not well");
    }
}
