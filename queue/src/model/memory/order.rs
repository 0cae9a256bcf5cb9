//! Which tasks a worker gets.

use std::collections::VecDeque;

use super::Memory;
use crate::{Order, TaskId, WorkerId};

/// Promoted by a fetch, at most.
const PROMOTED: usize = 128;

impl Memory {
    /// What a worker gets; `None` if its lease has lapsed for good.
    pub(crate) fn fetch(
        &mut self,
        worker: WorkerId,
        slots: usize,
        now_ms: u64,
    ) -> Option<Vec<TaskId>> {
        *self.workers.get_mut(&worker)? = false;
        self.promote(PROMOTED);
        let limits = &self.policy.limits;
        let mut allowed = if self.draining.contains(&worker) {
            0
        } else {
            slots
        };
        if let Some(most) = limits.concurrency {
            allowed = allowed.min((most as usize).saturating_sub(self.active.len()));
        }
        if let Some(rate) = limits.rate {
            let left = u64::from(rate.count).saturating_sub(self.rate_used);
            allowed = allowed.min(usize::try_from(left).unwrap());
        }
        if allowed > 0 {
            self.heads(0);
        }
        let mut got = match self.policy.order.clone() {
            Order::Strict { aging: None } => self.take_strictly(allowed),
            Order::Strict { aging: Some(aging) } => {
                let aging = u64::try_from(aging.as_millis()).unwrap();
                self.take_with_aging(allowed, aging, now_ms)
            }
            Order::Weighted { weights } => self.take_by_weight(allowed, &weights),
        };
        got.retain(|id| self.facts.contains_key(id));
        if self.policy.limits.rate.is_some() {
            self.rate_used += got.len() as u64;
        }
        self.active.extend(got.iter().map(|id| (*id, worker)));
        Some(got)
    }

    fn front_to_back(&mut self, place: usize) -> &mut VecDeque<TaskId> {
        self.lists.entry(self.levels[place].clone()).or_default()
    }

    fn take_strictly(&mut self, wanted: usize) -> Vec<TaskId> {
        let mut got = Vec::new();
        for place in 0..self.levels.len() {
            while got.len() < wanted
                && let Some(id) = self.front_to_back(place).pop_front()
            {
                got.push(id);
            }
        }
        got
    }

    /// Since when the first task of each list is runnable, each level down counted as so much later.
    /// Drops the ids of tasks that are gone from the heads of the lists.
    fn heads(&mut self, aging: u64) -> Vec<Option<u64>> {
        let mut heads = Vec::new();
        for place in 0..self.levels.len() {
            let mut list = std::mem::take(self.front_to_back(place));
            while list.front().is_some_and(|id| !self.facts.contains_key(id)) {
                list.pop_front();
            }
            let first = list.front().map(|id| self.facts[id].since_ms);
            heads.push(first.map(|since| since + place as u64 * aging));
            *self.front_to_back(place) = list;
        }
        heads
    }

    fn take_with_aging(&mut self, wanted: usize, aging: u64, now_ms: u64) -> Vec<TaskId> {
        if wanted == 0 {
            return Vec::new();
        }
        let heads = self.heads(aging);
        let held: Vec<usize> = (0..heads.len()).filter(|&at| heads[at].is_some()).collect();
        let goes_before = |pair: &[usize]| heads[pair[1]] < Some(now_ms + pair[0] as u64 * aging);
        if !held.windows(2).any(goes_before) {
            return self.take_strictly(wanted);
        }
        let mut got = Vec::new();
        while got.len() < wanted {
            let heads = self.heads(aging);
            let first = (0..heads.len())
                .filter(|&at| heads[at].is_some())
                .min_by_key(|&at| heads[at]);
            let Some(first) = first else { break };
            got.extend(self.front_to_back(first).pop_front());
        }
        // As the last look leaves them.
        self.heads(aging);
        got
    }

    fn take_by_weight(&mut self, wanted: usize, weights: &[u32]) -> Vec<TaskId> {
        let count = self.levels.len();
        let mut left: Vec<usize> = (0..count).map(|at| self.front_to_back(at).len()).collect();
        let weight = |at: usize| f64::from(weights.get(at).copied().unwrap_or(1));
        let mut picks = vec![0; count];
        for _ in 0..wanted {
            let held: Vec<usize> = (0..count).filter(|&at| left[at] > 0).collect();
            let sum: f64 = held.iter().map(|&at| weight(at)).sum();
            if held.is_empty() {
                break;
            }
            self.turn += 1;
            let part = f64::from(self.turn) * 0.618_033_988_749_894_9;
            let mut at = (part - part.floor()) * sum;
            let served = held.iter().find(|&&level| {
                at -= weight(level);
                at < 0.0
            });
            let served = *served.or(held.last()).unwrap();
            picks[served] += 1;
            left[served] -= 1;
        }
        self.turn %= 1_000_003;
        let mut got = Vec::new();
        for (place, picked) in picks.into_iter().enumerate() {
            got.extend(self.front_to_back(place).drain(..picked));
        }
        got
    }
}
