//! Reading all that the server holds of a queue, and holding it against the model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Pair;
use super::memory::Counts;
use crate::record::{Record, unpack_logged};
use crate::{TaskId, WorkerId};

const ALL_LEVELS: [&str; 4] = ["high", "normal", "low", "urgent"];

impl Pair {
    /// Fails unless the server holds what the model holds, and each task once.
    pub(super) async fn compare(&mut self, when: &str) {
        let mut tasks: BTreeMap<String, Vec<u8>> = self.hash("tasks").await;
        let shelved = self.shelved(when).await;
        let apart = shelved.keys().all(|id| !tasks.contains_key(id));
        assert!(apart, "in two places {when}");
        tasks.extend(shelved);
        let records: BTreeMap<TaskId, Record> = tasks
            .iter()
            .map(|(id, record)| (id.parse().unwrap(), Record::unpack(record).unwrap()))
            .collect();
        let known: BTreeSet<_> = records.keys().copied().collect();
        let expected: BTreeSet<_> = self.memory.facts.keys().copied().collect();
        assert_eq!(known, expected, "unfinished {when}");

        let mut states = self.compare_lists(&records, when).await;
        let parked: BTreeSet<_> = self
            .members("ZRANGE", "parked", &["0", "-1"])
            .await
            .iter()
            .map(|member| member.rsplit_once('\0').unwrap())
            .map(|(key, id)| (key.to_owned(), id.parse().unwrap()))
            .collect();
        assert_eq!(parked, self.memory.parked, "parked {when}");
        states.extend(parked.iter().map(|(_, id)| *id));
        let due = self.ids("ZRANGE", "due", &["0", "-1"]).await;
        let scheduled: BTreeSet<_> = self.memory.scheduled.keys().copied().collect();
        assert_eq!(set(&due), scheduled, "scheduled {when}");
        states.extend(due);
        let dead = self.ids("ZRANGE", "dead", &["0", "-1"]).await;
        assert_eq!(set(&dead), self.memory.dead, "dead {when}");
        states.extend(dead);
        let active: BTreeMap<String, String> = self.hash("active").await;
        let expected = self.memory.active.iter();
        let expected = expected.map(|(id, worker)| (id.to_string(), worker.to_string()));
        assert_eq!(active, expected.collect(), "active {when}");
        states.extend(self.memory.active.keys());
        for (id, worker) in &self.memory.active {
            let new = self.held.get(id) != Some(worker);
            let marked = self.memory.draining.contains(worker);
            assert!(!(new && marked), "{worker} drains and got {id} {when}");
        }
        self.held.clone_from(&self.memory.active);
        let now = self.queue.link().clock().now_ms().to_string();
        let marked = self
            .members("ZRANGEBYSCORE", "draining", &[&now, "+inf"])
            .await;
        let marked = set(&marked);
        let expected = self.memory.draining.iter().map(ToString::to_string);
        assert_eq!(marked, expected.collect(), "draining {when}");
        let workers: BTreeSet<_> = set(&self.members("ZRANGE", "workers", &["0", "-1"]).await);
        let owned = active.values().all(|worker| workers.contains(worker));
        assert!(owned, "a lease without an owner {when}");

        assert_eq!(states.len(), known.len(), "a task in two states {when}");
        assert_eq!(set(&states), known, "a task in no state {when}");
        self.compare_keys(when).await;
        self.compare_done(when).await;
        self.compare_log(when).await;
        self.compare_groups(when).await;
        self.compare_counters(when).await;

        for (id, record) in records {
            let facts = self.memory.facts.get_mut(&id).unwrap();
            facts.since_ms = record.runnable_since_ms();
            assert_eq!(record.attempts, facts.attempts, "attempts {when}");
            assert_eq!(record.level, facts.level, "level {when}");
            let own = record.extras.unwrap_or_default().overrides;
            assert_eq!(own.max_attempts, facts.own_attempts, "overrides {when}");
        }
    }

    /// What lies on the shelves, each of which is listed.
    async fn shelved(&mut self, when: &str) -> BTreeMap<String, Vec<u8>> {
        let listed: BTreeMap<String, u64> = self.hash("shelves").await;
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(format!("tq:{{{}}}:shelf:*", self.queue.name()))
            .query_async(&mut self.raw)
            .await
            .unwrap();
        let there = keys.iter().map(|key| key[key.len() - 9..].to_owned());
        assert_eq!(
            there.collect::<BTreeSet<_>>(),
            set(&listed.keys().cloned().collect::<Vec<_>>()),
            "shelves {when}"
        );
        let mut shelved = BTreeMap::new();
        for name in listed.keys() {
            shelved.extend(self.hash::<Vec<u8>>(&format!("shelf:{name}")).await);
        }
        shelved
    }

    /// The lists, and how many ids in them are of tasks that are gone. Returns the others.
    async fn compare_lists(
        &mut self,
        records: &BTreeMap<TaskId, Record>,
        when: &str,
    ) -> Vec<TaskId> {
        let mut runnable = Vec::new();
        let mut ghosts = BTreeMap::new();
        for level in ALL_LEVELS {
            let part = format!("wait:{level}");
            let list = VecDeque::from(self.ids("LRANGE", &part, &["0", "-1"]).await);
            let live = |list: &VecDeque<TaskId>| -> Vec<TaskId> {
                let live = list.iter().filter(|id| records.contains_key(id));
                live.copied().collect()
            };
            let expected = self.memory.lists.entry(level.to_owned()).or_default();
            assert_eq!(live(&list), live(expected), "{level} {when}");
            runnable.extend(live(&list));
            let gone = (list.len() - live(&list).len()) as u64;
            if gone > 0 {
                ghosts.insert(level.to_owned(), gone);
            }
            let reachable = self.memory.levels.iter().any(|known| known == level);
            assert!(
                reachable || list.is_empty(),
                "{level} is out of reach {when}"
            );
            // Which ids of tasks that are gone are left is the server's own affair.
            self.memory.lists.insert(level.to_owned(), list);
        }
        let counted: BTreeMap<String, u64> = self.hash("ghosts").await;
        assert_eq!(counted, ghosts, "ghosts {when}");
        runnable
    }

    async fn compare_keys(&mut self, when: &str) {
        let held: BTreeMap<String, u32> = self.hash("held").await;
        let keys = self.memory.facts.values().map(|facts| facts.key.clone());
        let keys: BTreeSet<_> = keys.filter(|key| !key.is_empty()).collect();
        let expected = keys.into_iter().map(|key| {
            let held = self.memory.held(&key);
            (key, held)
        });
        let expected: BTreeMap<_, _> = expected.filter(|(_, held)| *held > 0).collect();
        assert_eq!(held, expected, "places {when}");
        for (key, _) in &self.memory.parked {
            assert!(!self.memory.has_room(key), "{key:?} has room {when}");
        }

        let unique: BTreeMap<String, String> = self.hash("unique").await;
        let expected = self.memory.unique.iter();
        let expected = expected.map(|(key, (id, _))| (key.clone(), id.to_string()));
        assert_eq!(unique, expected.collect(), "unique keys {when}");
        let timed = set(&self.members("ZRANGE", "uniques", &["0", "-1"]).await);
        assert_eq!(timed, unique.keys().cloned().collect(), "uniques {when}");
        for (holder, _) in self.memory.unique.values() {
            let facts = &self.memory.facts;
            assert!(facts.contains_key(holder), "a key of an ended task {when}");
        }
        self.compare_idempotency(when).await;
        let expiry = self.ids("ZRANGE", "expiry", &["0", "-1"]).await;
        let expected = self.memory.expiry.keys().copied().collect();
        assert_eq!(set(&expiry), expected, "expiry {when}");
        for (id, facts) in &self.memory.facts {
            let rests = !self.memory.active.contains_key(id) && !self.memory.dead.contains(id);
            let may = self.memory.expiry.contains_key(id);
            assert!(may || !(rests && facts.expires), "never expires {when}");
        }
        let marks = self.ids("SMEMBERS", "cancel", &[]).await;
        assert_eq!(set(&marks), self.memory.marks, "marks {when}");
        let progress = self.ids("HKEYS", "progress", &[]).await;
        assert_eq!(set(&progress), self.memory.progress, "progress {when}");
        let lost: BTreeMap<String, u32> = self.hash("lost").await;
        let expected = self.memory.losses.iter();
        let expected = expected.map(|(id, losses)| (id.to_string(), *losses));
        assert_eq!(lost, expected.collect(), "losses {when}");
    }

    async fn compare_idempotency(&mut self, when: &str) {
        let entries: BTreeMap<String, String> = self.hash("idempotency").await;
        let seen = entries.iter().map(|(key, entry)| {
            let id: TaskId = entry.split(' ').next().unwrap().parse().unwrap();
            (key.clone(), (id, entry.ends_with('e')))
        });
        let expected = self.memory.idempotency.iter();
        let expected = expected.map(|(key, is)| (key.clone(), (is.id, is.ended)));
        let expected: BTreeMap<_, _> = expected.collect();
        assert_eq!(seen.collect::<BTreeMap<_, _>>(), expected, "keys {when}");
        let timed = set(&self.members("ZRANGE", "lapses", &["0", "-1"]).await);
        assert_eq!(timed, entries.into_keys().collect(), "lapses {when}");
        for (key, standing) in &self.memory.idempotency {
            let lives = self.memory.facts.contains_key(&standing.id);
            assert_eq!(lives, !standing.ended, "the task of {key} {when}");
        }
    }

    async fn compare_done(&mut self, when: &str) {
        let expected = self.memory.kept();
        let kept = set(&self.members("ZRANGE", "kept", &["0", "-1"]).await);
        assert_eq!(kept, expected.keys().cloned().collect(), "buckets {when}");
        let counted: BTreeMap<String, u64> = self.hash("keptcount").await;
        assert_eq!(counted, expected, "counts of buckets {when}");
        for bucket in kept {
            let records: BTreeMap<String, Vec<u8>> = self.hash(&format!("done:{bucket}")).await;
            let done = self.memory.done.iter();
            let expected = done.filter(|(id, _)| id.bucket() == bucket);
            let expected: BTreeMap<_, _> = expected.map(|(id, r)| (id.to_string(), r)).collect();
            assert!(records.keys().eq(expected.keys()), "ended {when}");
            for (id, record) in records {
                let same = expected[&id].is_empty() || *expected[&id] == record;
                assert!(same, "the end of {id} {when}");
            }
        }
    }

    /// Each end is in the log once, and numbered.
    async fn compare_log(&mut self, when: &str) {
        type Fields = Vec<(String, Vec<u8>)>;
        let mut command = redis::cmd("XRANGE");
        command.arg(self.key("ends")).arg(("-", "+"));
        let entries: Vec<(String, Fields)> = command.query_async(&mut self.raw).await.unwrap();
        let mut logged = Vec::new();
        for (_, fields) in entries {
            let (first, ends) = fields.split_first().unwrap();
            let number = (logged.len() + 1).to_string();
            assert_eq!(first, &("n".to_owned(), number.into_bytes()), "{when}");
            for (id, record) in ends {
                let id: TaskId = id.parse().unwrap();
                let (what, ..) = unpack_logged(id, self.queue.name().clone(), record).unwrap();
                logged.push((id, what as u64));
            }
        }
        logged.sort_unstable();
        self.memory.logged.sort_unstable();
        assert_eq!(logged, self.memory.logged, "the log {when}");
    }

    /// Each failure is counted once.
    async fn compare_groups(&mut self, when: &str) {
        let mut failures = BTreeMap::new();
        for group in self.queue.error_groups().await.unwrap().groups {
            *failures.entry(group.cause.number()).or_default() += group.count;
        }
        assert_eq!(failures, self.memory.failures, "failures {when}");
    }

    async fn compare_counters(&mut self, when: &str) {
        let queues = std::slice::from_ref(&self.queue);
        let figures = self.queue.client().snapshot(queues).await.remove(0);
        let figures = figures.unwrap();
        let counters = figures.counters;
        assert_eq!(counters.missing, 0, "missing {when}");
        let counts = Counts {
            enqueued: counters.enqueued,
            completed: counters.completed,
            cancelled: counters.cancelled,
            expired: counters.expired,
            dropped: counters.dropped,
            failed: counters.failed,
            retried: counters.retried,
            snoozed: counters.snoozed,
            dead: counters.dead,
            lost: counters.lost,
            released: counters.released,
            redriven: counters.redriven,
            purged: counters.purged,
        };
        let memory = &self.memory;
        assert_eq!(counts, memory.counts, "{when}");
        let ended = counts.completed + counts.cancelled + counts.expired + counts.dropped;
        assert_eq!(
            counts.enqueued,
            ended + counts.purged + memory.facts.len() as u64,
            "nothing is lost {when}"
        );
        // What has expired and was not ended yet is not waiting.
        let late = |id: &TaskId| memory.expiry.get(id) == Some(&true);
        for (level, waiting) in &figures.waiting {
            let counts = |id: &&TaskId| memory.facts.contains_key(id) && !late(id);
            let expected = memory.lists[level].iter().filter(counts).count();
            assert_eq!(*waiting, expected as u64, "{level} in the snapshot {when}");
        }
        let due = memory
            .scheduled
            .iter()
            .filter(|(id, due)| **due && !late(id));
        let due = due.count();
        let lapsed = |worker: &WorkerId| memory.workers[worker];
        let scheduled = memory.scheduled.len();
        let expected = [
            scheduled,
            due,
            memory.active.len(),
            memory.active.values().filter(|by| lapsed(by)).count(),
            memory.dead.len(),
            memory.parked.len(),
            memory.workers.values().filter(|lapsed| !**lapsed).count(),
            memory.workers.values().filter(|lapsed| **lapsed).count(),
        ];
        let got = [
            figures.scheduled,
            figures.due,
            figures.active,
            figures.lost,
            figures.dead,
            figures.blocked,
            figures.workers,
            figures.expired_workers,
        ];
        assert_eq!(got, expected.map(|count| count as u64), "snapshot {when}");
    }
}

fn set<T: Ord + Clone>(all: &[T]) -> BTreeSet<T> {
    all.iter().cloned().collect()
}
