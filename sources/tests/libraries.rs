//! What is read beside what the real libraries say of their own queues, at every stage of a task.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_queue::{
    Client,
    testing::{RedisServer, eventually},
};
use taskqueue_sources::{
    Asked, Asynq, BullMq, Celery, Depth, Rq, Source, SourceError, look,
    testing::{Counts, Peer},
};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);
/// When a task is due that shall not be while its test runs.
const LATER: &str = "600000";

fn bullmq() -> Source {
    Source::BullMq(BullMq {
        queue: "jobs".to_owned(),
        prefix: "bull".to_owned(),
        limiter_max: None,
    })
}

fn celery() -> Source {
    Source::Celery(Celery {
        queue: "jobs".to_owned(),
        exchange: "jobs".to_owned(),
        key_prefix: String::new(),
        priority_steps: Celery::PRIORITY_STEPS.to_vec(),
        separator: Celery::SEPARATOR.to_owned(),
        acks_late: true,
    })
}

fn rq() -> Source {
    Source::Rq(Rq {
        queue: "jobs".to_owned(),
        key_prefix: "rq".to_owned(),
        scheduler: true,
    })
}

fn asynq() -> Source {
    Source::Asynq(Asynq {
        queue: "jobs".to_owned(),
        aggregates: true,
    })
}

/// A real library and the Redis that it uses.
struct World {
    peer: Peer,
    redis: RedisServer,
    client: Client,
    source: Source,
}

impl World {
    async fn new(name: &str, source: Source) -> Self {
        let redis = RedisServer::start().await;
        Self {
            client: redis.client().await,
            peer: Peer::start(name, &redis.url(), redis.directory()).await,
            redis,
            source,
        }
    }

    async fn depth(&self) -> Result<Depth, SourceError> {
        let asked = Asked {
            source: &self.source,
            seen: false,
        };
        let mut depths = look(&self.client, &[asked], Timestamp::now()).await;
        depths.pop().unwrap()
    }

    /// Waits until the library itself says that so many tasks run.
    async fn runs(&mut self, active: u64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.peer.counts().await.active != active {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{active} do not run"
            );
        }
    }

    /// Waits until we and the library itself both see these numbers, and returns what we see.
    async fn sees(&mut self, what: &str, waiting: u64, delayed: u64, active: u64) -> Depth {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let depth = self.depth().await;
            let Counts {
                waiting: their_waiting,
                delayed: their_delayed,
                active: their_active,
                paused,
            } = self.peer.counts().await;
            if let Ok(depth) = &depth
                && (depth.runnable, depth.deferred, depth.in_flight) == (waiting, delayed, active)
                && (their_waiting, their_active) == (waiting, active)
                && their_delayed.unwrap_or(delayed) == delayed
            {
                assert_eq!(depth.paused, paused, "{what}");
                return depth.clone();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: we see {depth:?}, they say {their_waiting} waiting, {their_delayed:?} delayed, {their_active} active"
            );
        }
    }

    async fn open_the_gate(&self) {
        self.redis.command::<()>("SET gate open").await;
    }

    async fn done(&self, count: u64) {
        eventually(PATIENCE, "all tasks done, none twice or lost", async || {
            let done: u64 = self.redis.command("SCARD done").await;
            (done == count).then_some(())
        })
        .await;
    }
}

async fn missing(name: &str, source: Source, key: &str) -> World {
    let world = World::new(name, source).await;
    match world.depth().await {
        Err(SourceError::KeyMissing { key: missing, .. }) => assert_eq!(missing, key),
        other => panic!("{other:?}"),
    }
    world
}

/// From no trace of the queue to all of its tasks done, with a pause in between where the system
/// knows one.
async fn life(mut world: World, pauses: bool, delays: bool) -> World {
    world.peer.tell("add 5 0").await;
    let waiting = world.sees("waiting", 5, 0, 0).await;
    assert_eq!((waiting.next_due, waiting.cap), (None, None));

    let mut delayed = 0;
    if delays {
        world.peer.tell(&format!("later 2 {LATER}")).await;
        delayed = 2;
        let depth = world.sees("delayed", 5, 2, 0).await;
        assert_eq!(depth.deferred_due, 0);
        let next = depth.next_due.unwrap().as_secs();
        assert!((500..=600).contains(&next), "{next}");
    }
    if pauses {
        world.peer.tell("pause").await;
        assert!(world.sees("paused", 5, delayed, 0).await.paused);
        world.peer.tell("resume").await;
        assert!(!world.sees("resumed", 5, delayed, 0).await.paused);
    }
    world.peer.tell("work 2").await;
    world.sees("in flight", 3, delayed, 2).await;
    world.open_the_gate().await;
    world.done(5).await;
    world.sees("done", 0, delayed, 0).await;
    world.peer.tell("end").await;
    world.sees("without a worker", 0, delayed, 0).await;
    world
}

/// What comes due while no worker runs counts as due, and a worker then runs it.
async fn comes_due(mut world: World, done: u64) {
    world.peer.tell("later 3 300").await;
    eventually(PATIENCE, "three are due", async || {
        let depth = world.depth().await.unwrap();
        (depth.deferred_due == 3).then_some(())
    })
    .await;
    world.peer.tell("work 1").await;
    world.done(done + 3).await;
    world.peer.tell("end").await;
}

async fn bullmq_of(version: &str) {
    let world = missing(version, bullmq(), "bull:jobs:meta").await;
    let mut world = life(world, true, true).await;
    world.peer.tell("prioritized 4 0").await;
    let prioritized = world.sees("prioritized", 4, 2, 0).await;
    assert_eq!(prioritized.oldest, None, "they are not in the list");
    world.peer.tell("add 1 0").await;
    assert!(world.sees("both", 5, 2, 0).await.oldest.unwrap() < PATIENCE);
    world.peer.tell("limit 3").await;
    assert_eq!(world.depth().await.unwrap().cap, Some(3));
    world.peer.tell("work 5").await;
    world.done(10).await;
    world.peer.tell("end").await;
    comes_due(world, 10).await;
}

#[tokio::test]
async fn bullmq_6_is_read_as_it_reads_itself() {
    bullmq_of("bullmq").await;
}

#[tokio::test]
async fn bullmq_5_is_read_as_it_reads_itself() {
    bullmq_of("bullmq5").await;
}

/// What is limited waits, and is told to be for so long.
async fn bullmq_limited(version: &str) {
    let mut world = World::new(version, bullmq()).await;
    world.open_the_gate().await;
    world.peer.tell("rate 2 600000").await;
    world.peer.tell("add 5 0").await;
    assert_eq!(world.depth().await.unwrap().limited, None);
    world.peer.tell("work 5").await;
    world.done(2).await;
    let limited = eventually(PATIENCE, "the limit is used up", async || {
        let depth = world.depth().await.unwrap();
        (depth.in_flight == 0).then_some(depth)
    })
    .await;
    assert_eq!(limited.runnable, 3);
    assert!(limited.limited.unwrap() > PATIENCE);
    world.peer.tell("end").await;
}

#[tokio::test]
async fn bullmq_6_tells_that_its_rate_limit_is_used_up() {
    bullmq_limited("bullmq").await;
}

#[tokio::test]
async fn bullmq_5_tells_that_its_rate_limit_is_used_up() {
    bullmq_limited("bullmq5").await;
}

/// Why `task_acks_late` has to be told: without it nothing in Redis says that a task runs.
#[tokio::test]
async fn celery_with_its_defaults_shows_no_task_that_runs() {
    let mut world = World::new("celery", celery()).await;
    world.peer.tell("acks_early").await;
    world.peer.tell("add 1 5000").await;
    world.peer.tell("work 1").await;
    world.runs(1).await;
    // It is taken and acknowledged before it begins, and runs until the gate opens.
    eventually(PATIENCE, "and is nowhere", async || {
        let depth = world.depth().await.unwrap();
        ((depth.runnable, depth.in_flight) == (0, 0)).then_some(())
    })
    .await;
    world.runs(1).await;
    world.open_the_gate().await;
    world.done(1).await;
    world.peer.tell("end").await;
}

#[tokio::test]
async fn celery_is_read_as_it_reads_itself() {
    let world = missing("celery", celery(), "_kombu.binding.jobs").await;
    let mut world = life(world, false, false).await;
    // Priorities have lists of their own, and a task with a time is with a worker until then.
    world.peer.tell("prioritized 4 0").await;
    world.sees("prioritized", 4, 0, 0).await;
    world.peer.tell("work 2").await;
    world.done(9).await;
    world.peer.tell(&format!("later 1 {LATER}")).await;
    world.sees("held until its time", 0, 0, 1).await;
    world.peer.tell("end").await;
    world.sees("handed back", 1, 0, 0).await;
}

#[tokio::test]
async fn rq_is_read_as_it_reads_itself() {
    let world = missing("rq", rq(), "rq:queues member rq:queue:jobs").await;
    let mut world = life(world, true, true).await;
    world.peer.tell("add 1 0").await;
    assert!(world.sees("one more", 1, 2, 0).await.oldest.unwrap() < PATIENCE);
    comes_due(world, 6).await;
}

#[tokio::test]
async fn asynq_is_read_as_it_reads_itself() {
    let world = missing("asynq", asynq(), "asynq:queues member jobs").await;
    let mut world = life(world, true, true).await;
    world.peer.tell("add 1 0").await;
    assert!(world.sees("one more", 1, 2, 0).await.oldest.unwrap() < PATIENCE);
    comes_due(world, 6).await;
}

/// A group that is gathered stays one until a live server makes a task of it.
#[tokio::test]
async fn a_group_of_asynq_is_due_until_a_server_makes_a_task_of_it() {
    let mut world = World::new("asynq", asynq()).await;
    world.open_the_gate().await;
    world.peer.tell("grouped 3 0").await;
    let gathered = world.depth().await.unwrap();
    assert_eq!((gathered.runnable, gathered.in_flight), (0, 0));
    assert_eq!((gathered.deferred, gathered.deferred_due), (1, 1));
    world.peer.tell("work 1").await;
    world.done(1).await;
    eventually(PATIENCE, "nothing is left", async || {
        (world.depth().await == Ok(Depth::default())).then_some(())
    })
    .await;
    world.peer.tell("end").await;
}
