//! Reading all that the server holds of a queue, and holding it against the model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Pair;
use super::memory::Counts;
use crate::TaskId;

impl Pair {
    pub(super) fn key(&self, part: &str) -> String {
        format!("tq:{{{}}}:{part}", self.queue.name())
    }

    pub(super) async fn ids(
        &mut self,
        command: &str,
        part: &str,
        arguments: &[&str],
    ) -> Vec<TaskId> {
        let mut command = redis::cmd(command);
        command.arg(self.key(part)).arg(arguments);
        let ids: Vec<String> = command.query_async(&mut self.raw).await.unwrap();
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    /// Fails unless the server holds what the model holds, and each task once.
    pub(super) async fn compare(&mut self, when: &str) {
        let mut all = BTreeSet::new();
        let mut waiting = 0;
        for level in ["high", "normal", "low", "urgent"] {
            let list = VecDeque::from(
                self.ids("LRANGE", &format!("wait:{level}"), &["0", "-1"])
                    .await,
            );
            let expected = self.memory.lists.get(level).cloned().unwrap_or_default();
            assert_eq!(list, expected, "{level} {when}");
            waiting += list.len();
            all.extend(list);
        }
        let scheduled: BTreeSet<_> = self
            .ids("ZRANGE", "due", &["0", "-1"])
            .await
            .into_iter()
            .collect();
        assert_eq!(
            scheduled,
            self.memory.scheduled.keys().copied().collect(),
            "scheduled {when}"
        );
        let dead: BTreeSet<_> = self
            .ids("ZRANGE", "dead", &["0", "-1"])
            .await
            .into_iter()
            .collect();
        assert_eq!(dead, self.memory.dead, "dead {when}");
        let mut command = redis::cmd("HGETALL");
        let active: BTreeMap<String, String> = command
            .arg(self.key("active"))
            .query_async(&mut self.raw)
            .await
            .unwrap();
        let expected = self
            .memory
            .active
            .iter()
            .map(|(id, worker)| (id.to_string(), worker.to_string()));
        assert_eq!(active, expected.collect(), "active {when}");

        let states = waiting + scheduled.len() + dead.len() + active.len();
        all.extend(
            scheduled
                .iter()
                .chain(&dead)
                .chain(self.memory.active.keys()),
        );
        let records: BTreeSet<_> = self.ids("HKEYS", "tasks", &[]).await.into_iter().collect();
        assert_eq!(all.len(), states, "a task in two states {when}");
        assert_eq!(records, all, "records and tasks {when}");
        let lost: BTreeSet<_> = self.ids("HKEYS", "lost", &[]).await.into_iter().collect();
        assert_eq!(
            lost,
            self.memory.losses.keys().copied().collect(),
            "losses {when}"
        );

        let figures = self
            .queue
            .client()
            .snapshot(std::slice::from_ref(&self.queue))
            .await
            .remove(0)
            .unwrap();
        let counters = figures.counters;
        let counts = Counts {
            enqueued: counters.enqueued,
            completed: counters.completed,
            failed: counters.failed,
            retried: counters.retried,
            dead: counters.dead,
            lost: counters.lost,
            released: counters.released,
            redriven: counters.redriven,
            purged: counters.purged,
        };
        assert_eq!(counts, self.memory.counts, "{when}");
        let ended = counts.completed + counts.purged;
        assert_eq!(
            counts.enqueued,
            ended + states as u64,
            "nothing is lost {when}"
        );
        assert_eq!(
            figures.waiting.iter().map(|(_, n)| n).sum::<u64>(),
            waiting as u64,
            "{when}"
        );
    }
}
