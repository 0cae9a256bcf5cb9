//! What administrators do beside cancelling and redriving.

use super::Pair;
use crate::{Amended, Edit, Payload, Pending, TaskId};

impl Pair {
    /// What comes of changing this task, if it does not matter what is changed.
    fn untouched(&self, id: TaskId) -> Option<Amended> {
        let memory = &self.memory;
        if memory.active.contains_key(&id) {
            Some(Amended::Active)
        } else if memory.facts.contains_key(&id) {
            None
        } else if memory.done.contains_key(&id) {
            Some(Amended::Ended)
        } else {
            Some(Amended::Unknown)
        }
    }

    pub(super) async fn promote_now(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else { return };
        let expected = self.untouched(id).unwrap_or_else(|| {
            let dead = self.memory.dead.contains(&id);
            match self.memory.promote_now(id) {
                Some(true) => Amended::Done,
                Some(false) => Amended::Blocked,
                None if dead => Amended::Dead,
                None => Amended::Unchanged,
            }
        });
        let amended = self.queue.promote_now(&[id]).await.unwrap();
        assert_eq!(amended, [expected], "{id}");
    }

    pub(super) async fn prioritize(&mut self, pick: usize, level: usize) {
        let (Some(id), level) = (self.pick(pick), self.levels[level]) else {
            return;
        };
        let expected = self.untouched(id).unwrap_or_else(|| {
            if self.memory.prioritize(id, level) {
                Amended::Done
            } else {
                Amended::Unchanged
            }
        });
        let amended = self.queue.set_priority(&id, level).await.unwrap();
        assert_eq!(amended, expected, "{id}");
    }

    pub(super) async fn amend(&mut self, pick: usize, retry: bool) {
        let Some(id) = self.pick(pick) else { return };
        self.failures += 1;
        let edit = Edit {
            payload: Payload::of(&format!("{:0100}", self.failures)).unwrap(),
            retry,
        };
        let expected = self.untouched(id).unwrap_or_else(|| {
            if !retry || !self.memory.dead.contains(&id) {
                return Amended::Done;
            }
            match self.memory.redrive(&[id]).first() {
                Some((_, holder)) => Amended::Outdone(*holder),
                None => Amended::Retried,
            }
        });
        assert_eq!(self.queue.edit(&id, &edit).await.unwrap(), expected, "{id}");
        if matches!(expected, Amended::Done | Amended::Retried) {
            let payload = self.queue.get(&id).await.unwrap().unwrap().payload;
            assert_eq!(payload, Some(edit.payload), "{id}");
        }
    }

    pub(super) async fn clear(&mut self, pending: Pending) {
        // What it does first; the second time what the first one has left.
        self.tidy().await;
        self.tidy().await;
        let memory = &mut self.memory;
        let live = |id: &&TaskId| memory.facts.contains_key(id);
        let mut ids: Vec<TaskId> = match pending {
            Pending::Waiting => memory
                .lists
                .values()
                .flatten()
                .filter(live)
                .copied()
                .collect(),
            Pending::Blocked => memory.parked.iter().map(|(_, id)| *id).collect(),
            Pending::Scheduled => memory.scheduled.keys().copied().collect(),
        };
        ids.sort_unstable();
        for id in &ids {
            assert!(memory.cancel(*id), "{id} runs");
        }
        self.freshen_buckets().await;
        let cleared = self.queue.clear(pending, drop).await.unwrap();
        assert_eq!(cleared, ids.len() as u64);
    }
}
