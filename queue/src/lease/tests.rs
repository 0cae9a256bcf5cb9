//! The worker's calls one by one, with the faults between them that no well-behaved worker makes.

use super::*;
use crate::record::{Done, Ending, Record};
use crate::testing::{RedisServer, ids as ids_of};
use crate::{Client, NewTask, Payload, Policy, QueueName, State};

const LEASE: Duration = Duration::from_mins(1);

async fn queue(redis: &RedisServer) -> (Client, Queue) {
    let client = redis.client().await;
    let queue = client.queue(QueueName::new("test", "jobs").unwrap());
    (client, queue)
}

async fn worker(queue: &Queue) -> WorkerId {
    let worker = queue.client().next_worker_id();
    queue.register(worker, LEASE, "{}").await.unwrap();
    worker
}

async fn enqueue(queue: &Queue, count: u32) -> Vec<TaskId> {
    let tasks = (0..count)
        .map(|n| NewTask::new("t", Payload::of(&n).unwrap()))
        .collect();
    ids_of(&queue.enqueue_many(tasks).await.unwrap())
}

async fn exchange(queue: &Queue, worker: WorkerId, slots: usize, acks: &[Ack]) -> Exchanged {
    let exchange = Exchange {
        worker,
        lease: LEASE,
        slots,
        listen: false,
        listed: false,
        token: None,
        acks,
    };
    queue.exchange(&exchange).await.unwrap()
}

/// Asks for one task, to block if there is none.
async fn listen(queue: &Queue, worker: WorkerId, token: Option<WorkerId>) -> Exchanged {
    let exchange = Exchange {
        worker,
        lease: LEASE,
        slots: 1,
        listen: true,
        listed: true,
        token: token.map(|token| token.to_string()),
        acks: &[],
    };
    queue.exchange(&exchange).await.unwrap()
}

fn ack(worker: WorkerId, leased: &Leased) -> Ack {
    let record = Record::unpack(&leased.record).unwrap();
    let done = Done {
        what: Ending::Completed.into(),
        record: &record,
        losses: leased.losses,
        started_ms: record.created_ms + 5,
        run_ms: 7,
        worker: Some(worker),
        result: None,
        logged: false,
        site: None,
    };
    Ack {
        id: leased.id,
        done: done.pack(),
        run_ms: 7,
    }
}

fn settlement(id: TaskId, end: End) -> Settlement {
    let ran = Ran::default();
    let failure = None;
    Settlement {
        id,
        end,
        ran,
        failure,
    }
}

async fn completed(client: &Client, queue: &Queue) -> (u64, u64) {
    let snapshot = client
        .snapshot(std::slice::from_ref(queue))
        .await
        .remove(0)
        .unwrap();
    (snapshot.counters.completed, snapshot.active)
}

#[tokio::test]
async fn one_stale_ack_is_refused_and_the_rest_of_its_batch_is_not() {
    let redis = RedisServer::start().await;
    let (client, queue) = queue(&redis).await;
    let (mine, other) = (worker(&queue).await, worker(&queue).await);
    enqueue(&queue, 6).await;
    let held = exchange(&queue, mine, 5, &[]).await.leased;
    let foreign = exchange(&queue, other, 1, &[]).await.leased;
    let mut acks: Vec<Ack> = held
        .iter()
        .chain(&foreign)
        .map(|leased| ack(mine, leased))
        .collect();
    acks.sort_by_key(|ack| ack.id);
    let answer = exchange(&queue, mine, 0, &acks).await;
    assert_eq!(answer.refused, [foreign[0].id]);
    assert_eq!(completed(&client, &queue).await, (5, 1));
    assert_eq!(
        queue.get(&foreign[0].id).await.unwrap().unwrap().state,
        State::Active
    );
}

#[tokio::test]
async fn the_leases_tell_which_worker_holds_which_task() {
    let redis = RedisServer::start().await;
    let (_, queue) = queue(&redis).await;
    assert_eq!(queue.leases().await.unwrap(), []);
    let (one, other) = (worker(&queue).await, worker(&queue).await);
    let ids = enqueue(&queue, 4).await;
    let held = exchange(&queue, one, 2, &[]).await.leased;
    exchange(&queue, other, 1, &[]).await;
    let mut leases = queue.leases().await.unwrap();
    leases.sort();
    assert_eq!(leases, [(ids[0], one), (ids[1], one), (ids[2], other)]);
    exchange(&queue, one, 0, &[ack(one, &held[0])]).await;
    assert_eq!(queue.leases().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_batch_over_several_done_buckets_is_acked_whole_and_again_without_effect() {
    let redis = RedisServer::start().await;
    let (client, queue) = queue(&redis).await;
    let me = worker(&queue).await;
    // More than two buckets of 1024 ids.
    let ids = enqueue(&queue, 2_500).await;
    let mut leased = Vec::new();
    while leased.len() < ids.len() {
        leased.extend(exchange(&queue, me, 1_000, &[]).await.leased);
    }
    // Every fifth, so that one call touches all buckets.
    let acks: Vec<Ack> = leased
        .iter()
        .step_by(5)
        .map(|leased| ack(me, leased))
        .collect();
    let buckets: std::collections::BTreeSet<_> = acks.iter().map(|ack| ack.id.bucket()).collect();
    assert!(buckets.len() >= 3, "{buckets:?}");
    for _ in 0..2 {
        assert_eq!(exchange(&queue, me, 0, &acks).await.refused, []);
        assert_eq!(completed(&client, &queue).await, (500, 2_000));
    }
    for id in ids.iter().step_by(5) {
        assert_eq!(
            queue.get(id).await.unwrap().unwrap().state,
            State::Completed
        );
    }
}

#[tokio::test]
async fn a_late_ack_is_refused_even_when_someone_else_has_completed_the_task() {
    let redis = RedisServer::start().await;
    let (client, queue) = queue(&redis).await;
    let (late, other) = (worker(&queue).await, worker(&queue).await);
    enqueue(&queue, 1).await;
    let held = exchange(&queue, late, 1, &[]).await.leased;
    queue.beat(late, Duration::ZERO, None).await.unwrap();
    assert_eq!(
        queue
            .reclaim_beside(Duration::from_hours(1))
            .await
            .unwrap()
            .released,
        1
    );
    let again = exchange(&queue, other, 1, &[]).await.leased;
    assert_eq!(again[0].losses, 1);
    assert_eq!(
        exchange(&queue, other, 0, &[ack(other, &again[0])])
            .await
            .refused,
        []
    );
    let answer = exchange(&queue, late, 1, &[ack(late, &held[0])]).await;
    assert!(answer.lapsed);
    assert_eq!(answer.refused, [held[0].id]);
    assert_eq!(completed(&client, &queue).await, (1, 0));
    assert!(
        queue.beat(late, LEASE, None).await.unwrap().is_none(),
        "a lapsed id is spent"
    );
}

#[tokio::test]
async fn a_worker_that_is_late_but_was_not_reclaimed_keeps_its_lease() {
    let redis = RedisServer::start().await;
    let (_, queue) = queue(&redis).await;
    let me = worker(&queue).await;
    enqueue(&queue, 1).await;
    let held = exchange(&queue, me, 1, &[]).await.leased;
    queue.beat(me, Duration::ZERO, None).await.unwrap();
    let answer = exchange(&queue, me, 0, &[]).await;
    assert!(!answer.lapsed);
    assert_eq!(queue.reclaim().await.unwrap().workers, 0);
    assert_eq!(
        exchange(&queue, me, 0, &[ack(me, &held[0])]).await.refused,
        []
    );
}

#[tokio::test]
async fn a_settlement_that_is_sent_twice_counts_once() {
    let redis = RedisServer::start().await;
    let (client, queue) = queue(&redis).await;
    let me = worker(&queue).await;
    enqueue(&queue, 3).await;
    let held = exchange(&queue, me, 3, &[]).await.leased;
    let record = |place: usize| {
        let mut record = Record::unpack(&held[place].record).unwrap();
        record.fail(jiff::Timestamp::UNIX_EPOCH, crate::Cause::Error, "no", true);
        record.pack()
    };
    let ends = [
        End::Retry {
            record: record(0),
            after: LEASE,
        },
        End::Dead { record: record(1) },
        End::Release,
    ];
    let settlements: Vec<_> = held
        .iter()
        .zip(ends)
        .map(|(leased, end)| settlement(leased.id, end))
        .collect();
    assert_eq!(queue.settle(me, &settlements).await.unwrap(), []);
    // A hand-back leaves no mark of its own; that the task is no longer held is all that can be
    // said.
    assert_eq!(queue.settle(me, &settlements).await.unwrap(), [held[2].id]);
    let figures = client
        .snapshot(std::slice::from_ref(&queue))
        .await
        .remove(0)
        .unwrap();
    assert_eq!(
        (
            figures.scheduled,
            figures.dead,
            figures.backlog(),
            figures.active
        ),
        (1, 1, 1, 0)
    );
    let counters = figures.counters;
    assert_eq!(
        (
            counters.failed,
            counters.retried,
            counters.dead,
            counters.released
        ),
        (2, 1, 1, 1)
    );
}

#[tokio::test]
async fn resume_finds_what_a_lost_answer_leased_and_leaving_waits_for_it() {
    let redis = RedisServer::start().await;
    let (_, queue) = queue(&redis).await;
    let (me, other) = (worker(&queue).await, worker(&queue).await);
    let ids = enqueue(&queue, 5).await;
    exchange(&queue, other, 1, &[]).await;
    exchange(&queue, me, 4, &[]).await;
    let found = queue.held_unknown(me, [ids[2]]).await.unwrap().unwrap();
    assert_eq!(
        found.iter().map(|leased| leased.id).collect::<Vec<_>>(),
        [ids[1], ids[3], ids[4]]
    );
    assert!(!queue.leave(me).await.unwrap());
    let release = |id| settlement(id, End::Release);
    let settlements: Vec<_> = ids[1..].iter().copied().map(release).collect();
    queue.settle(me, &settlements).await.unwrap();
    assert!(queue.leave(me).await.unwrap());
    assert!(queue.held_unknown(me, []).await.unwrap().is_none());
    // In their old order.
    let again: Vec<_> = exchange(&queue, other, 4, &[])
        .await
        .leased
        .iter()
        .map(|leased| leased.id)
        .collect();
    assert_eq!(again, ids[1..]);
}

#[tokio::test]
async fn acks_sent_under_an_old_policy_are_taken_once_and_the_fetch_follows_the_new_one() {
    let redis = RedisServer::start().await;
    let (client, queue) = queue(&redis).await;
    let me = worker(&queue).await;
    enqueue(&queue, 3).await;
    let held = exchange(&queue, me, 1, &[]).await.leased;
    let admin = redis.client().await.queue(queue.name().clone());
    let policy = Policy {
        levels: vec!["only".into()],
        ..Policy::default()
    };
    admin.configure(&policy).await.unwrap();
    let answer = exchange(&queue, me, 5, &[ack(me, &held[0])]).await;
    assert_eq!((answer.refused.len(), answer.leased.len()), (0, 2));
    assert_eq!(completed(&client, &queue).await, (1, 2));
}

#[tokio::test]
async fn a_worker_that_drains_gets_nothing_its_acks_are_taken_and_its_token_goes_on() {
    let redis = RedisServer::start().await;
    let (client, queue) = queue(&redis).await;
    let (drains, sleeps) = (worker(&queue).await, worker(&queue).await);
    let idle = async || -> Vec<String> { redis.command("SMEMBERS tq:{test/jobs}:idle").await };
    let tokens = async || -> Vec<String> { redis.command("LRANGE tq:{test/jobs}:wake 0 -1").await };
    enqueue(&queue, 1).await;
    let held = exchange(&queue, drains, 1, &[]).await.leased;
    assert_eq!(listen(&queue, drains, None).await.leased.len(), 0);
    assert_eq!(listen(&queue, sleeps, None).await.leased.len(), 0);
    assert_eq!(queue.drain(&[drains], LEASE).await.unwrap(), [(drains, 1)]);
    assert_eq!(idle().await, [sleeps.to_string()]);

    // The token of the one that sleeps comes to the one that drains, which blocks still.
    enqueue(&queue, 1).await;
    let token: String = redis.command("LPOP tq:{test/jobs}:wake").await;
    assert_eq!(token, sleeps.to_string());
    let answer = listen(&queue, drains, Some(sleeps)).await;
    assert!(answer.draining && answer.leased.is_empty());
    assert_eq!((idle().await, tokens().await), (vec![], vec![token]));

    // Its own token, taken before it was marked, puts it back among the idle only when it is not
    // marked any more.
    let answer = listen(&queue, sleeps, Some(drains)).await;
    assert_eq!(answer.leased.len(), 1);
    assert!(!answer.draining && idle().await.is_empty());
    let acked = exchange(&queue, drains, 1, &[ack(drains, &held[0])]).await;
    assert!(acked.refused.is_empty() && acked.draining);
    assert_eq!(completed(&client, &queue).await, (1, 1));
    queue.undrain(&[drains]).await.unwrap();
    enqueue(&queue, 1).await;
    assert_eq!(exchange(&queue, drains, 1, &[]).await.leased.len(), 1);
}
