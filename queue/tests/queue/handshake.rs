//! The handshake by which workers are taken out of work one by one: marked as draining, idle, gone
//! or back at work.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker, WorkerInfo};
use taskqueue_queue::{Queue, WorkerId, WorkerState};
use tokio::sync::Semaphore;

use crate::testbed::pulse::Pulse;
use crate::testbed::{self, Running, SOON, next, queue, recording, snapshot, task, tasks, until};

const LONG: Duration = Duration::from_mins(5);

/// How many tasks each worker has begun.
type Begun = Arc<Mutex<HashMap<WorkerId, u64>>>;

/// A worker in a pod of this name that counts what it begins, and takes its time with nothing.
fn counting(queue: &Queue, pod: &str, slots: usize, begun: &Begun) -> Running {
    let begun = Arc::clone(begun);
    let handler = move |task: LeasedTask| {
        *begun.lock().unwrap().entry(task.worker).or_default() += 1;
        async {
            tokio::task::yield_now().await;
            Outcome::Completed(None)
        }
    };
    let info = WorkerInfo {
        pod: pod.to_owned(),
        ..WorkerInfo::default()
    };
    let worker = Worker::new(queue.clone(), handler).concurrency(slots);
    Running::start(worker.info(info))
}

async fn registered(queue: &Queue, count: usize) -> Vec<WorkerState> {
    eventually(SOON, "all registered", async || {
        let workers = queue.workers().await.unwrap();
        (workers.len() == count).then_some(workers)
    })
    .await
}

async fn in_pod(queue: &Queue, pod: &str) -> WorkerState {
    let workers = queue.workers().await.unwrap();
    workers.into_iter().find(|state| state.pod == pod).unwrap()
}

/// Drains a worker until it holds nothing; how often it had to be asked.
async fn drained(queue: &Queue, worker: WorkerId) -> u32 {
    let asked = AtomicU32::new(0);
    eventually(SOON, "it holds nothing", async || {
        asked.fetch_add(1, Ordering::Relaxed);
        let marked = queue.drain(&[worker], LONG).await.unwrap();
        let [(id, held)] = marked[..] else {
            panic!("{marked:?}");
        };
        assert_eq!(id, worker);
        (held == 0).then_some(())
    })
    .await;
    asked.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_drains_and_holds_nothing_runs_nothing_until_it_is_undrained() {
    const ROUNDS: u64 = 200;
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let begun = Begun::default();
    let mut crew = Vec::new();
    for pod in ["a", "b", "c"] {
        // A connection of its own for each, so that their calls cross.
        let own = testbed::queue(&redis).await;
        crew.push(counting(&own, pod, 4, &begun));
    }
    let states = registered(&queue, 3).await;
    let of = |worker: WorkerId| begun.lock().unwrap().get(&worker).copied().unwrap_or(0);
    let all = || begun.lock().unwrap().values().sum::<u64>();

    let (stop, producing) = (Arc::new(Semaphore::new(0)), testbed::queue(&redis).await);
    let producer = tokio::spawn({
        let (stop, begun) = (Arc::clone(&stop), Arc::clone(&begun));
        async move {
            let mut made = 0_u32;
            while stop.available_permits() == 0 {
                let waits = u64::from(made) > begun.lock().unwrap().values().sum::<u64>() + 4;
                if waits {
                    tokio::task::yield_now().await;
                    continue;
                }
                producing.enqueue_many(tasks(made..made + 2)).await.unwrap();
                made += 2;
            }
            u64::from(made)
        }
    });

    let (mut at_once, mut asked) = (0_u64, 0_u64);
    for round in 0..ROUNDS {
        let victim = states[usize::try_from(round % 3).unwrap()].id;
        // In the middle of its work.
        let before = of(victim);
        eventually(SOON, "it works", async || {
            (of(victim) > before).then_some(())
        })
        .await;
        let times = drained(&queue, victim).await;
        at_once += u64::from(times == 1);
        asked += u64::from(times);
        let (mine, everyones) = (of(victim), all());
        eventually(SOON, "the others go on", async || {
            (all() > everyones + 40).then_some(())
        })
        .await;
        assert_eq!(of(victim), mine, "round {round}");
        queue.undrain(&[victim]).await.unwrap();
    }
    println!("{ROUNDS} rounds, {asked} calls; in {at_once} the worker held nothing at the first");
    assert!(
        at_once < ROUNDS,
        "some of them were busy, and that is the point"
    );
    stop.add_permits(1);
    let made = producer.await.unwrap();
    let client = redis.client().await;
    let figures = until(&client, &queue, "all done", |s| {
        s.counters.completed == made && s.active == 0
    })
    .await;
    assert_eq!((figures.counters.lost, figures.backlog()), (0, 0));
    assert_eq!(all(), made, "each task ran once");
    for worker in crew {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_worker_that_drains_finishes_what_it_holds_and_says_so() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let gate = Arc::new(Semaphore::new(0));
    queue.enqueue_many(tasks(0..6)).await.unwrap();
    let handler = {
        let gate = Arc::clone(&gate);
        move |_: LeasedTask| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Outcome::Completed(None)
            }
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(3));
    until(&client, &queue, "three held", |s| s.active == 3).await;
    let id = queue.workers().await.unwrap()[0].id;
    assert_eq!(queue.drain(&[id], LONG).await.unwrap(), [(id, 3)]);
    gate.add_permits(2);
    until(&client, &queue, "two acked", |s| {
        s.counters.completed == 2 && s.active == 1
    })
    .await;
    assert_eq!(queue.drain(&[id], LONG).await.unwrap(), [(id, 1)]);
    let states = queue.workers().await.unwrap();
    assert!(states[0].draining, "{states:?}");
    gate.add_permits(1);
    let figures = until(&client, &queue, "all acked", |s| s.active == 0).await;
    assert_eq!((figures.counters.completed, figures.backlog()), (3, 3));
    assert_eq!(queue.drain(&[id], LONG).await.unwrap(), [(id, 0)]);

    // It goes as it would without the mark, and the mark goes with it.
    let report = worker.stop().await;
    assert_eq!((report.completed, report.released, report.lost), (3, 0, 0));
    let marks: u64 = redis.command("EXISTS tq:{test/jobs}:draining").await;
    assert_eq!(marks, 0);
    assert_eq!(queue.drain(&[id], LONG).await.unwrap(), []);
}

#[tokio::test]
async fn a_mark_lapses_by_itself_and_leaves_nothing_behind() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let id = registered(&queue, 1).await[0].id;
    let span = Duration::from_millis(600);
    let marked = Instant::now();
    assert_eq!(queue.drain(&[id], span).await.unwrap(), [(id, 0)]);
    queue.enqueue(task(1)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);
    assert!(marked.elapsed() >= span, "after {:?}", marked.elapsed());
    assert!(!queue.workers().await.unwrap()[0].draining);
    eventually(SOON, "no mark", async || {
        let marks: u64 = redis.command("EXISTS tq:{test/jobs}:draining").await;
        (marks == 0).then_some(())
    })
    .await;

    // To mark it again puts the new time in place of the old one, be it a shorter one.
    queue.drain(&[id], LONG).await.unwrap();
    queue.drain(&[id], Duration::ZERO).await.unwrap();
    queue.enqueue(task(2)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [2]);
    worker.stop().await;
}

#[tokio::test]
async fn an_undrained_worker_is_back_at_work_within_half_a_second() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let id = registered(&queue, 1).await[0].id;
    let pulse = Pulse::beside(&redis).await;
    let mut quick = 0;
    for number in 0.. {
        queue.drain(&[id], LONG).await.unwrap();
        queue.enqueue(task(number)).await.unwrap();
        // It knows.
        eventually(SOON, "it blocks no more", async || {
            (!blocks(&redis).await).then_some(())
        })
        .await;
        let undrained = pulse.watch();
        queue.undrain(&[id]).await.unwrap();
        assert_eq!(next(&mut seen, 1).await, [number]);
        quick += usize::from(undrained.quick(HALF_A_SECOND));
        if quick == 4 {
            break;
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_never_learnt_of_its_mark_is_woken_all_the_same() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let id = registered(&queue, 1).await[0].id;
    let pulse = Pulse::beside(&redis).await;
    let mut quick = 0;
    for number in 0.. {
        eventually(SOON, "it blocks", async || {
            blocks(&redis).await.then_some(())
        })
        .await;
        queue.drain(&[id], LONG).await.unwrap();
        queue.undrain(&[id]).await.unwrap();
        let enqueued = pulse.watch();
        queue.enqueue(task(number)).await.unwrap();
        assert_eq!(next(&mut seen, 1).await, [number]);
        // It would block for two seconds.
        quick += usize::from(enqueued.quick(HALF_A_SECOND));
        if quick == 4 {
            break;
        }
    }
    worker.stop().await;
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// Whether a worker blocks for work.
async fn blocks(redis: &RedisServer) -> bool {
    let clients: String = redis.command("CLIENT LIST").await;
    clients
        .lines()
        .any(|line| line.contains("cmd=blpop") && line.contains("flags=b"))
}

#[tokio::test]
async fn a_worker_that_drains_neither_blocks_nor_counts_as_idle() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let id = registered(&queue, 1).await[0].id;
    eventually(SOON, "it blocks", async || {
        blocks(&redis).await.then_some(())
    })
    .await;
    queue.drain(&[id], LONG).await.unwrap();
    let idle = async || -> u64 { redis.command("SCARD tq:{test/jobs}:idle").await };
    assert_eq!(idle().await, 0);
    eventually(SOON, "it blocks no more", async || {
        (!blocks(&redis).await).then_some(())
    })
    .await;
    assert_eq!(idle().await, 0);
    queue.undrain(&[id]).await.unwrap();
    eventually(SOON, "it blocks again", async || {
        (blocks(&redis).await && idle().await == 1).then_some(())
    })
    .await;
    queue.enqueue(task(1)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);
    worker.stop().await;
}

#[tokio::test]
async fn no_task_waits_because_the_worker_that_was_woken_for_it_drains() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let begun = Begun::default();
    let one = counting(&testbed::queue(&redis).await, "one", 1, &begun);
    let two = counting(&testbed::queue(&redis).await, "two", 1, &begun);
    registered(&queue, 2).await;
    let (first, second) = (
        in_pod(&queue, "one").await.id,
        in_pod(&queue, "two").await.id,
    );
    let all = || begun.lock().unwrap().values().sum::<u64>();
    let pulse = Pulse::beside(&redis).await;
    for round in 0..10 {
        let (drains, works) = if round % 2 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        eventually(SOON, "both sleep", async || {
            let idle: u64 = redis.command("SCARD tq:{test/jobs}:idle").await;
            let tokens: u64 = redis.command("LLEN tq:{test/jobs}:wake").await;
            (idle == 2 && tokens == 0).then_some(())
        })
        .await;
        queue.drain(&[drains], LONG).await.unwrap();
        // It may block still, and get the token.
        for _ in 0..3 {
            let (before, enqueued) = (all(), pulse.watch());
            queue.enqueue(task(round)).await.unwrap();
            eventually(SOON, "the other one runs it", async || {
                (all() > before).then_some(())
            })
            .await;
            // A token that is lost costs up to two seconds.
            enqueued.quick(Duration::from_millis(700));
        }
        assert!(begun.lock().unwrap().contains_key(&works));
        queue.undrain(&[drains]).await.unwrap();
    }

    // With both of them draining it waits, and runs as soon as one of them is back.
    queue.drain(&[first, second], LONG).await.unwrap();
    let before = all();
    queue.enqueue_many(tasks(0..5)).await.unwrap();
    let states = queue.workers().await.unwrap();
    assert!(states.iter().all(|state| state.draining), "{states:?}");
    queue.undrain(&[second]).await.unwrap();
    eventually(SOON, "all five ran", async || {
        (all() == before + 5).then_some(())
    })
    .await;
    queue.undrain(&[first]).await.unwrap();
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn the_mark_of_a_worker_that_was_lost_goes_with_it() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let hang = |_: LeasedTask| std::future::pending::<Outcome>();
    let lease = Duration::from_millis(600);
    let doomed = Running::start(Worker::new(queue.clone(), hang).lease(lease));
    let id = registered(&queue, 1).await[0].id;
    let client = redis.client().await;
    queue.enqueue(task(1)).await.unwrap();
    until(&client, &queue, "taken", |s| s.active == 1).await;
    queue.drain(&[id], LONG).await.unwrap();
    doomed.crash().await;
    until(&client, &queue, "lapsed", |s| s.expired_workers == 1).await;
    // Who asks still hears of what is to be taken back.
    assert_eq!(queue.drain(&[id], LONG).await.unwrap(), [(id, 1)]);
    queue.reclaim().await.unwrap();
    assert_eq!(queue.drain(&[id], LONG).await.unwrap(), []);
    assert_eq!(snapshot(&queue, &client).await.backlog(), 1);
    let marks: u64 = redis.command("EXISTS tq:{test/jobs}:draining").await;
    assert_eq!(marks, 0);
}
