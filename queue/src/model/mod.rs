//! Random sequences of all operations by several workers, with crashes between any two calls, on a
//! real server and on a plain model in memory. After each operation both must hold the same: each
//! task in exactly one state, the same order in each list, places, keys and counters equal to
//! contents, nothing lost.
//!
//! `step` says what may happen, `memory` what should come of it, `tasks`, `admin` and `hands` do it to the
//! server, `compare` holds both against each other.

mod admin;
mod compare;
mod hands;
mod memory;
mod step;
mod tasks;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use redis::aio::MultiplexedConnection;

use self::hands::Hand;
use self::memory::{Incoming, Memory};
use self::step::{Edit, Step, WORKERS, any_step};
use crate::testing::RedisServer;
use crate::{NewTask, Queue, QueueName, TaskId, WorkerId};

/// Sequences tried; `MODEL_CASES` in the environment says otherwise.
const CASES: u32 = 20;
const STEPS: usize = 100;

/// The server and the model, side by side.
struct Pair {
    queue: Queue,
    raw: MultiplexedConnection,
    memory: Memory,
    hands: Vec<Hand>,
    levels: &'static [&'static str],
    /// Every id there ever was.
    ids: Vec<TaskId>,
    /// The last batch, for as long as it can be told whether it was taken.
    batch: Vec<((TaskId, NewTask), Incoming)>,
    failures: u64,
    began_ms: u64,
    /// Who held what after the step before.
    held: BTreeMap<TaskId, WorkerId>,
}

#[test]
fn a_queue_in_redis_behaves_as_one_in_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = runtime.block_on(RedisServer::start());
    let client = runtime.block_on(redis.client());
    let raw = runtime.block_on(redis.connection());
    let cases = std::sync::atomic::AtomicU32::new(0);
    let asked = std::env::var("MODEL_CASES")
        .ok()
        .map(|n| n.parse().unwrap());
    let config = ProptestConfig {
        cases: asked.unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(any_step(), 1..STEPS))| {
        let case = cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let queue = client.queue(QueueName::new("model", &format!("case-{case}")).unwrap());
        runtime.block_on(async {
            let mut pair = Pair::new(queue, raw.clone()).await;
            for (place, step) in steps.iter().enumerate() {
                pair.take(step).await;
                pair.compare(&format!("after step {place}, {step:?}")).await;
            }
            redis::cmd("FLUSHALL").exec_async(&mut pair.raw).await.unwrap();
        });
    });
}

impl Pair {
    async fn new(queue: Queue, raw: MultiplexedConnection) -> Self {
        let mut pair = Self {
            memory: Memory::default(),
            hands: Vec::new(),
            levels: &[],
            ids: Vec::new(),
            batch: Vec::new(),
            failures: 0,
            held: BTreeMap::new(),
            began_ms: queue.link().clock().now_ms(),
            queue,
            raw,
        };
        pair.configure(&Edit::first()).await;
        for _ in 0..WORKERS {
            let hand = pair.hire().await;
            pair.hands.push(hand);
        }
        pair
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Enqueue { tasks, apart, lost } => self.enqueue(tasks, *apart, *lost).await,
            Step::Repeat { apart } => self.put(*apart, true).await,
            Step::Fetch {
                worker,
                slots,
                lost,
            } => self.fetch(*worker, *slots, *lost).await,
            Step::Ack {
                worker,
                count,
                foreign,
                twice,
            } => self.ack(*worker, *count, *foreign, *twice).await,
            Step::Settle {
                worker,
                ends,
                twice,
            } => self.settle(*worker, ends, *twice).await,
            Step::Beat { worker, obey } => self.beat(*worker, *obey).await,
            Step::Note { worker } => self.note(*worker).await,
            Step::Crash { worker } => {
                self.lapse(*worker).await;
                self.hands[*worker] = self.hire().await;
            }
            Step::Stall { worker } => self.lapse(*worker).await,
            Step::Reclaim => {
                // However long this has taken: for whom nobody looked in that long would be given time.
                let looked = self.queue.reclaim_beside(Duration::from_hours(1));
                looked.await.unwrap();
                self.memory.reclaim();
            }
            Step::Release { worker, cause } => {
                let id = self.hands[*worker].id;
                self.queue.release(&[id], *cause, "").await.unwrap();
                self.memory.take_back(&[id].into(), *cause);
            }
            Step::Drain { most } => self.drain(*most).await,
            Step::Undrain { worker } => {
                let id = self.hands[*worker].id;
                self.queue.undrain(&[id]).await.unwrap();
                self.memory.draining.remove(&id);
            }
            Step::PassMarks => {
                self.set_scores("draining", 1).await;
                self.memory.draining.clear();
            }
            Step::PassTime => self.pass_time().await,
            Step::Age { level } => self.age(*level).await,
            Step::PassExpiry => {
                self.set_scores("expiry", 1).await;
                self.memory
                    .expiry
                    .values_mut()
                    .for_each(|late| *late = true);
            }
            Step::PassTtl => {
                self.set_scores("uniques", 1).await;
                let unique = self.memory.unique.values_mut();
                unique.for_each(|(_, lapsed)| *lapsed = true);
            }
            Step::PassKeep => {
                self.set_scores("lapses", 1).await;
                let keys = self.memory.idempotency.values_mut();
                keys.for_each(|standing| standing.due = true);
            }
            Step::PassRate => {
                self.delete("rate").await;
                self.memory.rate_used = 0;
            }
            Step::PassRetention { all } => {
                let score = if *all { 1 } else { self.began_ms - 20_000 };
                self.set_scores("kept", score).await;
                let buckets = self.memory.kept().into_keys();
                self.memory.aged = buckets.map(|bucket| (bucket, *all)).collect();
            }
            Step::Promote => {
                let promoted = self.queue.promote().await.unwrap();
                assert_eq!(promoted, self.memory.promote(usize::MAX));
            }
            Step::Tidy => self.tidy().await,
            Step::Cancel { pick } => self.cancel(*pick).await,
            Step::Redrive => self.redrive().await,
            Step::Purge => self.purge().await,
            Step::PromoteNow { pick } => self.promote_now(*pick).await,
            Step::Prioritize { pick, level } => self.prioritize(*pick, *level).await,
            Step::Amend { pick, retry } => self.amend(*pick, *retry).await,
            Step::Clear(pending) => self.clear(*pending).await,
            Step::Configure(edit) => self.configure(edit).await,
        }
    }

    pub(super) fn key(&self, part: &str) -> String {
        format!("tq:{{{}}}:{part}", self.queue.name())
    }

    pub(super) async fn delete(&mut self, part: &str) {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(part));
        command.exec_async(&mut self.raw).await.unwrap();
    }

    /// Buckets that no step has aged are as if they had been filled just now, however long the case takes.
    pub(super) async fn freshen_buckets(&mut self) {
        let now = self.queue.link().clock().now_ms();
        for bucket in self.members("ZRANGE", "kept", &["0", "-1"]).await {
            if !self.memory.aged.contains_key(&bucket) {
                let mut command = redis::cmd("ZADD");
                command.arg(self.key("kept")).arg(now).arg(bucket);
                command.exec_async(&mut self.raw).await.unwrap();
            }
        }
    }

    /// Gives all members of a sorted set the same score.
    pub(super) async fn set_scores(&mut self, part: &str, score: u64) {
        for member in self.members("ZRANGE", part, &["0", "-1"]).await {
            let mut command = redis::cmd("ZADD");
            command.arg(self.key(part)).arg(score).arg(member);
            command.exec_async(&mut self.raw).await.unwrap();
        }
    }

    pub(super) async fn members(
        &mut self,
        command: &str,
        part: &str,
        arguments: &[&str],
    ) -> Vec<String> {
        let mut command = redis::cmd(command);
        command.arg(self.key(part)).arg(arguments);
        command.query_async(&mut self.raw).await.unwrap()
    }

    pub(super) async fn ids(
        &mut self,
        command: &str,
        part: &str,
        arguments: &[&str],
    ) -> Vec<TaskId> {
        let ids = self.members(command, part, arguments).await;
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    /// All fields of a hash.
    pub(super) async fn hash<T>(&mut self, part: &str) -> BTreeMap<String, T>
    where
        T: redis::FromRedisValue,
    {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.key(part));
        command.query_async(&mut self.raw).await.unwrap()
    }
}
