//! Random sequences of all operations by several workers, with crashes between any two calls, on a
//! real server and on a plain model in memory. After each operation both must hold the same: each
//! task in exactly one state, the same order in each list, counters equal to contents, nothing
//! lost.

mod compare;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use redis::aio::MultiplexedConnection;

use self::memory::Memory;
use crate::lease::{Ack, End, Exchange, Leased, Settlement};
use crate::record::{Done, Ending, Record};
use crate::testing::RedisServer;
use crate::{Cause, NewTask, Payload, Policy, Queue, QueueName, Selection, TaskId, WorkerId};

/// Sequences tried; `MODEL_CASES` in the environment says otherwise.
const CASES: u32 = 48;
const STEPS: usize = 100;
const WORKERS: usize = 3;
const MOST_LOSSES: u32 = 1;
const LEASE: Duration = Duration::from_hours(1);
/// Long enough not to pass by itself, and too short for a span of time.
const SOON: Duration = Duration::from_secs(100);
const LEVELS: [&[&str]; 3] = [
    &["high", "normal", "low"],
    &["normal", "low"],
    &["urgent", "normal"],
];

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        count: usize,
        level: usize,
        delayed: bool,
    },
    /// The answer may be lost: then the worker asks what it holds.
    Fetch {
        worker: usize,
        slots: usize,
        lost: bool,
    },
    /// Of what the worker believes to hold, and of what another one holds.
    Ack {
        worker: usize,
        count: usize,
        foreign: bool,
        twice: bool,
    },
    Retry {
        worker: usize,
    },
    Bury {
        worker: usize,
    },
    Release {
        worker: usize,
        count: usize,
    },
    Crash {
        worker: usize,
    },
    /// It is late with its heartbeat, and does not know.
    Stall {
        worker: usize,
    },
    Reclaim,
    PassTime,
    Promote,
    Redrive,
    Purge,
    Configure {
        levels: usize,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let worker = 0..WORKERS;
    prop_oneof![
        4 => (1..6_usize, 0..2_usize, any::<bool>()).prop_map(|(count, level, delayed)| Step::Enqueue { count, level, delayed }),
        6 => (worker.clone(), 0..5_usize, prop::bool::weighted(0.2)).prop_map(|(worker, slots, lost)| Step::Fetch { worker, slots, lost }),
        4 => (worker.clone(), 1..5_usize, prop::bool::weighted(0.3), prop::bool::weighted(0.3))
            .prop_map(|(worker, count, foreign, twice)| Step::Ack { worker, count, foreign, twice }),
        2 => worker.clone().prop_map(|worker| Step::Retry { worker }),
        1 => worker.clone().prop_map(|worker| Step::Bury { worker }),
        1 => (worker.clone(), 1..4_usize).prop_map(|(worker, count)| Step::Release { worker, count }),
        1 => worker.clone().prop_map(|worker| Step::Crash { worker }),
        1 => worker.prop_map(|worker| Step::Stall { worker }),
        2 => Just(Step::Reclaim),
        2 => Just(Step::PassTime),
        1 => Just(Step::Promote),
        1 => Just(Step::Redrive),
        1 => Just(Step::Purge),
        1 => (0..LEVELS.len()).prop_map(|levels| Step::Configure { levels }),
    ]
}

/// A worker as it sees itself.
struct Hand {
    id: WorkerId,
    held: BTreeMap<TaskId, Leased>,
}

/// The server and the model, side by side.
struct Pair {
    queue: Queue,
    raw: MultiplexedConnection,
    memory: Memory,
    hands: Vec<Hand>,
    levels: &'static [&'static str],
    /// Every done record that was sent, to send it again.
    sent: BTreeMap<TaskId, Vec<u8>>,
    failures: u64,
}

#[test]
fn a_queue_in_redis_behaves_as_one_in_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = runtime.block_on(RedisServer::start());
    let client = runtime.block_on(redis.client());
    let cases = std::sync::atomic::AtomicU32::new(0);
    let asked = std::env::var("MODEL_CASES")
        .ok()
        .map(|n| n.parse().unwrap());
    let config = ProptestConfig {
        cases: asked.unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(any_step(), STEPS))| {
        let case = cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let queue = client.queue(QueueName::new("model", &format!("case-{case}")).unwrap());
        runtime.block_on(async {
            let mut pair = Pair::new(queue, redis.connection().await).await;
            for (place, step) in steps.iter().enumerate() {
                pair.take(step).await;
                pair.compare(&format!("after step {place}, {step:?}")).await;
            }
        });
    });
}

impl Pair {
    async fn new(queue: Queue, raw: MultiplexedConnection) -> Self {
        let mut pair = Self {
            memory: Memory::new(LEVELS[0]),
            hands: Vec::new(),
            levels: LEVELS[0],
            sent: BTreeMap::new(),
            failures: 0,
            queue,
            raw,
        };
        pair.configure(0).await;
        for _ in 0..WORKERS {
            let hand = pair.hire().await;
            pair.hands.push(hand);
        }
        pair
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Enqueue {
                count,
                level,
                delayed,
            } => self.enqueue(count, self.levels[level], delayed).await,
            Step::Fetch {
                worker,
                slots,
                lost,
            } => self.fetch(worker, slots, lost).await,
            Step::Ack {
                worker,
                count,
                foreign,
                twice,
            } => self.ack(worker, count, foreign, twice).await,
            Step::Retry { worker } => self.settle_one(worker, true).await,
            Step::Bury { worker } => self.settle_one(worker, false).await,
            Step::Release { worker, count } => self.release(worker, count).await,
            Step::Crash { worker } => {
                self.lapse(worker).await;
                self.hands[worker] = self.hire().await;
            }
            Step::Stall { worker } => self.lapse(worker).await,
            Step::Reclaim => {
                self.queue.reclaim().await.unwrap();
                self.memory.reclaim(MOST_LOSSES);
            }
            Step::PassTime => self.pass_time().await,
            Step::Promote => {
                let promoted = self.queue.promote().await.unwrap();
                assert_eq!(promoted, self.memory.promote());
            }
            Step::Redrive => {
                let order = self.ids("ZRANGE", "dead", &["0", "-1"]).await;
                assert_eq!(
                    self.queue.redrive(Selection::All).await.unwrap(),
                    order.len() as u64
                );
                self.memory.redrive(&order);
            }
            Step::Purge => {
                assert_eq!(
                    self.queue.purge(Selection::All).await.unwrap(),
                    self.memory.dead.len() as u64
                );
                self.memory.purge();
            }
            Step::Configure { levels } => self.configure(levels).await,
        }
    }

    async fn hire(&mut self) -> Hand {
        let id = self.queue.client().next_worker_id();
        self.queue.register(id, LEASE, "{}").await.unwrap();
        self.memory.workers.insert(id, false);
        Hand {
            id,
            held: BTreeMap::new(),
        }
    }

    async fn enqueue(&mut self, count: usize, level: &str, delayed: bool) {
        let delay = if delayed { SOON } else { Duration::ZERO };
        let task = NewTask::new("t", Payload::of(&1).unwrap())
            .priority(level)
            .delay(delay);
        for new in self.queue.enqueue_many(vec![task; count]).await.unwrap() {
            self.memory.enqueue(new.id(), level, delayed);
        }
    }

    async fn exchange(
        &self,
        worker: WorkerId,
        slots: usize,
        acks: &[Ack],
    ) -> crate::lease::Exchanged {
        let exchange = Exchange {
            worker,
            lease: LEASE,
            slots,
            listen: slots > 0,
            listed: true,
            token: None,
            acks,
        };
        self.queue.exchange(&exchange).await.unwrap()
    }

    async fn fetch(&mut self, worker: usize, slots: usize, lost: bool) {
        let id = self.hands[worker].id;
        let mut answer = self.exchange(id, slots, &[]).await;
        let expected = self.memory.fetch(id, slots);
        assert_eq!(answer.lapsed, expected.is_none());
        let Some(mut expected) = expected else {
            self.hands[worker] = self.hire().await;
            return;
        };
        if lost {
            let held: Vec<_> = self.hands[worker].held.keys().copied().collect();
            answer.leased = self.queue.held_unknown(id, held).await.unwrap().unwrap();
            // What it lost to others, and got back since, it did not know either.
            expected.sort();
        }
        let got: Vec<_> = answer.leased.iter().map(|leased| leased.id).collect();
        assert_eq!(got, expected);
        self.hands[worker]
            .held
            .extend(answer.leased.into_iter().map(|leased| (leased.id, leased)));
    }

    async fn ack(&mut self, worker: usize, count: usize, foreign: bool, twice: bool) {
        let id = self.hands[worker].id;
        let mut acks: Vec<Ack> = Vec::new();
        for hand in [worker]
            .into_iter()
            .chain(foreign.then_some((worker + 1) % WORKERS))
        {
            let held = self.hands[hand].held.values().take(count);
            acks.extend(held.map(|leased| ack(id, leased)));
        }
        acks.sort_by_key(|ack| ack.id);
        acks.dedup_by_key(|ack| ack.id);
        let ids: Vec<_> = acks.iter().map(|ack| ack.id).collect();
        for round in 0..=usize::from(twice) {
            let answer = self.exchange(id, 0, &acks).await;
            // Whether it is registered or not, the fence is each task's own.
            let mut expected = self.memory.ack(id, &ids);
            if round > 0 {
                expected.retain(|id| {
                    self.sent.get(id) != acks.iter().find(|ack| ack.id == *id).map(|ack| &ack.done)
                });
            }
            assert_eq!(answer.refused, expected);
            if answer.lapsed {
                assert!(!self.memory.workers.contains_key(&id));
            } else {
                self.memory.fetch(id, 0);
            }
            for ack in &acks {
                if !expected.contains(&ack.id) {
                    self.sent.insert(ack.id, ack.done.clone());
                }
            }
        }
        self.hands[worker]
            .held
            .retain(|held, _| !ids.contains(held));
    }

    async fn settle_one(&mut self, worker: usize, retry: bool) {
        let Some((id, leased)) = self.hands[worker].held.pop_first() else {
            return;
        };
        let mut record = Record::unpack(&leased.record).unwrap();
        // Two failures are never the same: in life their times differ.
        self.failures += 1;
        let message = self.failures.to_string();
        record.fail(jiff::Timestamp::UNIX_EPOCH, Cause::Error, &message, true);
        let record = record.pack();
        let end = if retry {
            End::Retry {
                record,
                after: LEASE,
            }
        } else {
            End::Dead { record }
        };
        let me = self.hands[worker].id;
        let refused = self
            .queue
            .settle(me, &[Settlement { id, end }])
            .await
            .unwrap();
        assert_eq!(refused.is_empty(), self.memory.holds(me, id));
        match (refused.is_empty(), retry) {
            (true, true) => self.memory.retry(id),
            (true, false) => self.memory.bury(id),
            (false, _) => {}
        }
    }

    async fn release(&mut self, worker: usize, count: usize) {
        let me = self.hands[worker].id;
        let ids: Vec<_> = self.hands[worker]
            .held
            .keys()
            .copied()
            .take(count)
            .collect();
        let settlements: Vec<_> = ids
            .iter()
            .map(|&id| Settlement {
                id,
                end: End::Release,
            })
            .collect();
        let refused: BTreeSet<_> = self
            .queue
            .settle(me, &settlements)
            .await
            .unwrap()
            .into_iter()
            .collect();
        for id in &ids {
            self.hands[worker].held.remove(id);
            assert_eq!(refused.contains(id), !self.memory.holds(me, *id));
        }
        self.memory
            .release(ids.into_iter().filter(|id| !refused.contains(id)).collect());
    }

    async fn lapse(&mut self, worker: usize) {
        let id = self.hands[worker].id;
        if self.queue.beat(id, Duration::ZERO).await.unwrap().is_some() {
            self.memory.workers.insert(id, true);
        }
    }

    /// Makes everything that is scheduled due, in the order of the ids.
    async fn pass_time(&mut self) {
        for id in self.ids("ZRANGE", "due", &["0", "-1"]).await {
            let mut command = redis::cmd("ZADD");
            command.arg(self.key("due")).arg(1).arg(id.as_str());
            command.exec_async(&mut self.raw).await.unwrap();
        }
        self.memory.pass_time();
    }

    async fn configure(&mut self, levels: usize) {
        self.levels = LEVELS[levels];
        let policy = Policy {
            levels: self.levels.iter().map(ToString::to_string).collect(),
            max_losses: MOST_LOSSES,
            ..Policy::default()
        };
        // By another one, so that this one's knowledge is out of date.
        let admin = self.queue.client().queue(self.queue.name().clone());
        admin.configure(&policy).await.unwrap();
        self.memory.configure(self.levels);
    }
}

fn ack(worker: WorkerId, leased: &Leased) -> Ack {
    let record = Record::unpack(&leased.record).unwrap();
    let done = Done {
        ending: Ending::Completed,
        record: &record,
        losses: leased.losses,
        started_ms: record.created_ms,
        run_ms: 1,
        worker: Some(worker),
        result: None,
    };
    Ack {
        id: leased.id,
        done: done.pack(),
        run_ms: 1,
    }
}
