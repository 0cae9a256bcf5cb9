//! Listings while tasks come, run, end and move: what stays in its state is listed once, and nothing that has left it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, ids, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cursor, Filter, Listed, Queue, Selection, Stage, TaskId};

use crate::testbed::{
    Running, brisk, large_tasks, number, per_key, queue, snapshot, task, tasks, until,
};

const TASKS: u32 = 20_000;

/// The tasks of which an attempt has begun.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<BTreeSet<TaskId>>>);

impl Begun {
    fn add(&self, id: TaskId) {
        self.0.lock().unwrap().insert(id);
    }

    fn so_far(&self) -> BTreeSet<TaskId> {
        self.0.lock().unwrap().clone()
    }
}

/// Completes what it is given after a while, slowly enough to be listed meanwhile.
fn drain(queue: &Queue, begun: &Begun) -> Running {
    let begun = begun.clone();
    let handler = move |task: LeasedTask| {
        begun.add(task.id);
        async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Outcome::Completed(None)
        }
    };
    Running::start(Worker::new(queue.clone(), handler).concurrency(20))
}

/// All pages; none tells what had left its state before the page was asked for.
async fn all_pages(queue: &Queue, filter: &Filter, limit: u32, begun: &Begun) -> Vec<Listed> {
    let (mut all, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let left = begun.so_far();
        let page = queue.list(filter, cursor.as_ref(), limit).await.unwrap();
        for listed in &page.tasks {
            let waits = !matches!(listed.stage, Stage::Active | Stage::Completed);
            let has_left = waits && left.contains(&listed.task.id);
            assert!(!has_left, "{} had left {:?}", listed.task.id, listed.stage);
        }
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        all.extend(page.tasks);
        if cursor.is_none() {
            return all;
        }
    }
}

/// How often each is listed in a stage.
fn counts(all: &[Listed], stage: Stage) -> BTreeMap<TaskId, usize> {
    let mut counts = BTreeMap::new();
    for listed in all.iter().filter(|listed| listed.stage == stage) {
        *counts.entry(listed.task.id).or_default() += 1;
    }
    counts
}

/// These are all listed once, and no other twice.
fn is_exact(counts: &BTreeMap<TaskId, usize>, stay: &BTreeSet<TaskId>) {
    let twice = counts.iter().find(|(_, count)| **count > 1);
    assert_eq!(twice, None);
    let missed = stay.iter().find(|id| !counts.contains_key(*id));
    assert_eq!(missed, None, "of {}", stay.len());
}

#[tokio::test]
async fn what_stays_is_listed_once_and_what_has_left_is_not_while_workers_drain() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let begun = Begun::default();
    let mut all = BTreeSet::new();
    for (part, level) in (0..4_u32).zip(["high", "normal", "normal", "low"]) {
        let numbers = TASKS / 4 * part..TASKS / 4 * (part + 1);
        // Half of them on shelves.
        let batch = if part.is_multiple_of(2) {
            tasks(numbers)
        } else {
            large_tasks(numbers)
        };
        let batch = batch.into_iter().map(|task| task.priority(level));
        let enqueued = queue.enqueue_many(batch.collect()).await.unwrap();
        all.extend(ids(&enqueued));
    }
    let far = tasks(0..500)
        .into_iter()
        .map(|task| task.delay(Duration::from_hours(1)));
    queue.enqueue_many(far.collect()).await.unwrap();
    let worker = drain(&queue, &begun);
    until(&client, &queue, "some are done", |s| {
        s.counters.completed > 500
    })
    .await;
    let everything = Filter::of(Stage::NOT_ENDED.into_iter().chain(Stage::ENDED));
    let mut overlaps = 0;
    for limit in [97, 500, 1_000] {
        let ended: BTreeSet<TaskId> = {
            let done = listed(&queue, &[Stage::Completed], 1_000).await;
            done.iter().map(|task| task.id).collect()
        };
        let found = all_pages(&queue, &everything, limit, &begun).await;
        // What a worker has taken by now runs, or its handler has begun with it.
        let runs = listed(&queue, &[Stage::Active], 1_000).await;
        let mut has_begun = begun.so_far();
        has_begun.extend(runs.iter().map(|task| task.id));
        let stays = all.difference(&has_begun).copied().collect();
        is_exact(&counts(&found, Stage::Waiting), &stays);
        is_exact(&counts(&found, Stage::Completed), &ended);
        assert_eq!(counts(&found, Stage::Scheduled).len(), 500);
        let active = counts(&found, Stage::Active);
        is_exact(&active, &BTreeSet::new());
        // None is active that was known to have ended.
        assert_eq!(active.keys().find(|id| ended.contains(*id)), None);
        overlaps += usize::from(!stays.is_empty() && has_begun.len() > ended.len() + 100);
    }
    assert!(overlaps > 0, "it was drained before it was listed");
    worker.stop().await;
    let left = snapshot(&queue, &client).await;
    let found = all_pages(&queue, &everything, 1_000, &begun).await;
    assert_eq!(
        found.len() as u64,
        left.backlog() + 500 + left.counters.completed
    );
}

/// Pages of a listing of what waits, with something done before each but the first.
async fn waiting_with(
    queue: &Queue,
    limit: u32,
    mut meanwhile: impl AsyncFnMut(usize),
) -> Vec<TaskId> {
    let filter = Filter::of([Stage::Waiting]);
    let (mut ids, mut cursor, mut pages) = (Vec::new(), None::<Cursor>, 0);
    loop {
        let page = queue.list(&filter, cursor.as_ref(), limit).await.unwrap();
        ids.extend(page.tasks.iter().map(|listed| listed.task.id));
        cursor = page.next;
        if cursor.is_none() {
            return ids;
        }
        meanwhile(pages).await;
        pages += 1;
        assert!(pages < 1_000, "it comes to an end");
    }
}

/// Those of `ids` are among `found`, each once.
fn each_once(ids: &[TaskId], found: &[TaskId]) {
    for id in ids {
        let count = found.iter().filter(|other| *other == id).count();
        assert_eq!(count, 1, "{id}");
    }
}

#[tokio::test]
async fn tasks_that_come_are_cancelled_and_handed_back_move_no_other() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&brisk()).await.unwrap();
    let enqueued = queue.enqueue_many(tasks(0..1_000)).await.unwrap();
    let ids = ids(&enqueued);
    // The first ones are taken and handed back, again and again, each time at another place than before.
    let found = waiting_with(&queue, 50, async |page| {
        if page >= 15 {
            return;
        }
        queue.enqueue_many(tasks(0..20)).await.unwrap();
        queue.cancel(&ids[60 * page + 1]).await.unwrap();
        let back = |_: LeasedTask| async { Outcome::Released };
        let worker = Running::start(Worker::new(queue.clone(), back).concurrency(10));
        let client = redis.client().await;
        let released = snapshot(&queue, &client).await.counters.released;
        until(&client, &queue, "some come back", |s| {
            s.counters.released > released
        })
        .await;
        worker.stop().await;
    })
    .await;
    let cancelled: Vec<TaskId> = (0..15).map(|page| ids[60 * page + 1]).collect();
    let stay: Vec<TaskId> = ids[200..]
        .iter()
        .filter(|id| !cancelled.contains(id))
        .copied()
        .collect();
    each_once(&stay, &found);
}

#[tokio::test]
async fn what_was_listed_last_may_go_come_back_and_come_again_at_the_end() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut raw = redis.connection().await;
    let list = "tq:{test/jobs}:wait:normal";
    let enqueued = queue.enqueue_many(tasks(0..200)).await.unwrap();
    let ids = ids(&enqueued);
    let mut run = async |words: &str| {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(list);
        words.for_each(|word| {
            command.arg(word);
        });
        command.exec_async(&mut raw).await.unwrap();
    };
    let found = waiting_with(&queue, 20, async |page| match page {
        // All that was listed is taken, and the last of it comes back to the head.
        0 => {
            run("LPOP 20").await;
            run(&format!("LPUSH {}", ids[19])).await;
        }
        // The last one listed is taken, with some before it, and comes again at the end: it was retried.
        1 => {
            run("LPOP 21").await;
            run(&format!("RPUSH {}", ids[39])).await;
        }
        // It is moved to another level, and some behind it, and some before it.
        2 => {
            for n in [59, 62, 63, 58] {
                run(&format!("LREM 1 {}", ids[n])).await;
            }
        }
        // Some behind it, but not itself.
        3 => {
            for n in [85, 90] {
                run(&format!("LREM 1 {}", ids[n])).await;
            }
        }
        // The last one of all, which was at the end.
        4 => run(&format!("LREM 1 {}", ids[39])).await,
        5 => run(&format!("LREM 1 {}", ids[199])).await,
        _ => {}
    })
    .await;
    let moved = [39, 58, 59, 62, 63, 85, 90, 199];
    let stay = (20..200).filter(|n| !moved.contains(n)).map(|n| ids[n]);
    each_once(&stay.collect::<Vec<_>>(), &found);
    let different: BTreeSet<&TaskId> = found.iter().collect();
    assert_eq!(different.len(), found.len(), "none twice");
}

#[tokio::test]
async fn letters_that_are_redriven_purged_and_die_anew_hide_no_other() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&brisk()).await.unwrap();
    let bury = async |count: u64| {
        let die = |task: LeasedTask| async move {
            let error = format!("no {}", number(&task));
            Outcome::Dead { error }
        };
        let worker = Running::start(Worker::new(queue.clone(), die).concurrency(50));
        until(&client, &queue, "dead", |s| s.dead == count).await;
        worker.stop().await;
    };
    let enqueued = queue.enqueue_many(tasks(0..300)).await.unwrap();
    let ids = ids(&enqueued);
    bury(300).await;
    let filter = Filter::of([Stage::Dead]);
    let (mut found, mut cursor) = (Vec::new(), None::<Cursor>);
    for page in 0.. {
        let next = queue.list(&filter, cursor.as_ref(), 20).await.unwrap();
        found.extend(next.tasks.iter().map(|listed| listed.task.id));
        cursor = next.next;
        if cursor.is_none() {
            break;
        }
        match page {
            0 => {
                // The last one listed, and one that is not listed yet.
                let purged = [*found.last().unwrap(), ids[0]];
                assert_eq!(queue.purge(Selection::Ids(purged.into())).await.unwrap(), 2);
            }
            1 => {
                let again = [*found.last().unwrap(), ids[1]];
                let again = queue.redrive(Selection::Ids(again.into())).await.unwrap();
                assert_eq!(again.moved, 2);
                bury(298).await;
            }
            2 => {
                queue.enqueue(task(7)).await.unwrap();
                bury(299).await;
            }
            _ => {}
        }
    }
    each_once(&ids[2..], &found);
}
