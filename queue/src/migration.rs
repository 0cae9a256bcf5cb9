//! What earlier versions keep apart: brought in whole, whatever the first call is that meets it, and while
//! they go on writing it.

use std::time::Duration;

use crate::record::Record;
use crate::testing::{RedisServer, eventually, listed};
use crate::worker::{LeasedTask, Outcome, Worker};
use crate::{
    Cancelled, Enqueued, NewTask, Payload, Queue, QueueName, Snapshot, Stage, State, TaskId,
};
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_hours(1);

struct Scene {
    redis: RedisServer,
    raw: MultiplexedConnection,
    queue: Queue,
}

impl Scene {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let queue = redis
            .client()
            .await
            .queue(QueueName::new("test", "old").unwrap());
        let raw = redis.connection().await;
        Self { redis, raw, queue }
    }

    /// Moves a scheduled task into the list of its span.
    async fn put_into_span(&mut self, id: &TaskId) {
        let mut command = redis::cmd("HGET");
        command.arg("tq:{test/old}:tasks").arg(id.as_str());
        let record: Vec<u8> = command.query_async(&mut self.raw).await.unwrap();
        let span = (Record::unpack(&record).unwrap().due_ms / 65_536).to_string();
        let move_it = "redis.call('ZREM', KEYS[1], ARGV[1])
            redis.call('RPUSH', KEYS[2], ARGV[1])
            redis.call('ZADD', KEYS[3], ARGV[2], ARGV[2])
            redis.call('HSET', KEYS[4], ARGV[2], '0')
            redis.call('HINCRBY', KEYS[5], 'later', '1')";
        let list = format!("later:{span}");
        let keys = ["due", &list, "later", "laterghosts", "stats"];
        self.eval(move_it, &keys, &[id.as_str(), &span]).await;
    }

    async fn eval(&mut self, script: &str, keys: &[&str], arguments: &[&str]) {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len());
        for key in keys {
            command.arg(format!("tq:{{test/old}}:{key}"));
        }
        command.arg(arguments);
        command.exec_async(&mut self.raw).await.unwrap();
    }

    /// Tasks as an earlier version leaves them: many that wait, some that are due far ahead.
    async fn old(&mut self) -> (Vec<TaskId>, Vec<TaskId>) {
        let task = |n: u32| NewTask::new("t", Payload::of(&n).unwrap());
        let ids = |new: Vec<Enqueued>| new.iter().map(Enqueued::id).collect::<Vec<_>>();
        let waiting = ids(self
            .queue
            .enqueue_many((0..100).map(task).collect())
            .await
            .unwrap());
        let far = (0..20).map(|n| task(n).delay(HOUR * (n + 1)));
        let far = ids(self.queue.enqueue_many(far.collect()).await.unwrap());
        for id in &far {
            self.put_into_span(id).await;
        }
        // What is no name of ours is there as well.
        let junk = "redis.call('ZADD', KEYS[1], '1', 'no span')";
        self.eval(junk, &["later"], &[]).await;
        (waiting, far)
    }

    /// Nothing is apart any more.
    async fn is_new(&mut self) {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("tq:{test/old}:*")
            .query_async(&mut self.raw)
            .await
            .unwrap();
        let apart = keys.iter().filter(|key| key.contains("}:later"));
        assert_eq!(apart.count(), 0, "{keys:?}");
    }
}

async fn figures(queue: &Queue) -> Snapshot {
    let queues = std::slice::from_ref(queue);
    queue.client().snapshot(queues).await.remove(0).unwrap()
}

#[tokio::test]
async fn whatever_is_called_first_finds_every_task() {
    for first in 0..5 {
        let mut scene = Scene::new().await;
        let (waiting, far) = scene.old().await;
        let queue = scene.queue.clone();
        match first {
            0 => {
                let seen = queue.get(&waiting[50]).await.unwrap().unwrap();
                assert_eq!(seen.state, State::Waiting);
            }
            1 => {
                let cancelled = queue.cancel(&far[3]).await.unwrap();
                assert_eq!(cancelled, Cancelled::Removed);
            }
            2 => {
                let figures = figures(&queue).await;
                assert_eq!((figures.backlog(), figures.scheduled), (100, 20));
                let due = queue.get(&far[0]).await.unwrap().unwrap().due;
                assert_eq!(figures.next_due, due);
            }
            3 => {
                let listed = listed(&queue, &[Stage::Scheduled], 7).await;
                let listed: Vec<TaskId> = listed.iter().map(|task| task.id).collect();
                assert_eq!(listed, far);
            }
            _ => drop(queue.tidy().await.unwrap()),
        }
        scene.is_new().await;
        let handler = |_: LeasedTask| async { Outcome::Completed(None) };
        let stop = CancellationToken::new();
        let worker =
            Worker::new(queue.clone(), handler).run(stop.clone(), CancellationToken::new());
        let worker = tokio::spawn(worker);
        eventually(Duration::from_mins(1), "what waited is done", async || {
            let figures = figures(&queue).await;
            (figures.counters.completed == 100 && figures.counters.missing == 0).then_some(())
        })
        .await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        drop(scene.redis);
    }
}

#[tokio::test]
async fn a_worker_takes_what_an_earlier_version_goes_on_to_write() {
    let mut scene = Scene::new().await;
    let queue = scene.queue.clone();
    let handler = |_: LeasedTask| async { Outcome::Completed(None) };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), handler).run(stop.clone(), CancellationToken::new());
    let worker = tokio::spawn(worker);
    for round in 1..=10_u64 {
        // While nobody fetches; then all at once.
        queue.pause().await.unwrap();
        scene.old().await;
        queue.resume().await.unwrap();
        eventually(Duration::from_mins(1), "all are done", async || {
            let figures = figures(&queue).await;
            (figures.counters.completed == 100 * round).then_some(())
        })
        .await;
    }
    stop.cancel();
    worker.await.unwrap().unwrap();
    let figures = figures(&queue).await;
    assert_eq!((figures.scheduled, figures.counters.missing), (200, 0));
}
