//! The model of the pods.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use super::{Queue, Seen, Summary, World};
use crate::Instant;

/// How often drained pods are taken away: at each look of the operator.
const LOOK: Duration = Duration::from_secs(1);

/// The pods of one queue. A number of a pod is never used again.
pub(super) struct Pods {
    world: World,
    all: BTreeMap<u64, Pod>,
    made: u64,
    /// Replicas that were asked for last.
    replicas: u32,
    /// Slots that are free from an instant on, each with its pod.
    slots: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Tasks that run: when each ends, its pod, and how long it runs.
    running: BinaryHeap<Reverse<(Instant, u64, Duration)>>,
    completed: u64,
    run: Duration,
    paid: Duration,
    changes: u32,
    most: u32,
    now: Instant,
}

#[derive(Debug)]
struct Pod {
    born: Instant,
    ready_at: Instant,
    ready: bool,
    active: u32,
    /// It takes no further tasks.
    draining: bool,
    /// It goes as soon as it is idle, and nobody can call it back.
    leaving: bool,
}

impl Pods {
    pub(super) fn new(world: World) -> Self {
        Self {
            world,
            all: BTreeMap::new(),
            made: 0,
            replicas: 0,
            slots: BinaryHeap::new(),
            running: BinaryHeap::new(),
            completed: 0,
            run: Duration::ZERO,
            paid: Duration::ZERO,
            changes: 0,
            most: 0,
            now: Duration::ZERO,
        }
    }

    pub(super) fn active(&self) -> u64 {
        self.running.len() as u64
    }

    pub(super) fn seen(&self) -> Seen {
        let ready = self.all.values().filter(|pod| pod.ready && !pod.leaving);
        Seen {
            active: self.active(),
            completed: self.completed,
            run: self.run,
            replicas: self.replicas,
            ready: u32::try_from(ready.count()).unwrap_or(u32::MAX),
            ..Seen::default()
        }
    }

    /// Brings the pods nearer to the number aimed at.
    pub(super) fn aim(&mut self, now: Instant, aim: u32) {
        self.now = now;
        let before = self.replicas;
        if self.world.handshake {
            self.drain(self.replicas.saturating_sub(aim));
            if now.as_nanos().is_multiple_of(LOOK.as_nanos()) {
                self.take_idle();
            }
        } else if aim < self.replicas {
            self.stop(self.replicas - aim);
        }
        if aim > self.replicas {
            for _ in self.replicas..aim {
                self.start(now);
            }
            self.replicas = aim;
        }
        self.changes += u32::from(self.replicas != before);
        self.most = self.most.max(self.replicas);
    }

    /// Lets waiting tasks run, and running ones end, until `next`.
    pub(super) fn work(&mut self, queue: &mut Queue, next: Instant) {
        for (&name, pod) in &mut self.all {
            if !pod.ready && pod.ready_at < next && !pod.leaving {
                pod.ready = true;
                for _ in 0..self.world.concurrency {
                    self.slots.push(Reverse((pod.ready_at, name)));
                }
            }
        }
        // Slots of pods that drain take nothing now and may again later.
        let mut aside = Vec::new();
        while let Some(&Reverse((free, name))) = self.slots.peek()
            && free < next
            && let Some(&(came, run)) = queue.tasks.front()
        {
            self.slots.pop();
            let Some(pod) = self.all.get_mut(&name) else {
                continue;
            };
            if pod.draining {
                aside.push(Reverse((free, name)));
                continue;
            }
            queue.tasks.pop_front();
            // One that was called back takes nothing before now.
            let begins = free.max(came).max(self.now);
            queue.waits.push(begins.saturating_sub(came));
            let run = self.slowed(run);
            if let Some(pod) = self.all.get_mut(&name) {
                pod.active += 1;
            }
            self.running.push(Reverse((begins + run, name, run)));
            self.slots.push(Reverse((begins + run, name)));
        }
        self.slots.extend(aside);
        while let Some(&Reverse((end, name, run))) = self.running.peek()
            && end <= next
        {
            self.running.pop();
            self.completed += 1;
            self.run += run;
            if let Some(pod) = self.all.get_mut(&name) {
                pod.active -= 1;
                if pod.leaving && pod.active == 0 {
                    self.remove(name, end);
                }
            }
        }
    }

    pub(super) fn summary(&self, now: Instant, waits: &mut [Duration]) -> Summary {
        waits.sort_unstable();
        let part = |percent: usize| {
            let place = (waits.len() * percent).div_ceil(100).saturating_sub(1);
            waits.get(place).copied().unwrap_or_default()
        };
        let left = self.all.values().map(|pod| now.saturating_sub(pod.born));
        Summary {
            tasks: self.completed,
            waiting_p50: part(50),
            waiting_p95: part(95),
            pod_seconds: (self.paid + left.sum::<Duration>()).as_secs_f64(),
            changes: self.changes,
            most: self.most,
        }
    }

    /// What a task takes while so many others call the same thing.
    fn slowed(&self, run: Duration) -> Duration {
        let Some(served) = self.world.downstream else {
            return run;
        };
        let calls = u32::try_from(self.running.len() + 1).unwrap_or(u32::MAX);
        run.mul_f64((f64::from(calls) / f64::from(served.max(1))).max(1.0))
    }

    fn start(&mut self, now: Instant) {
        let pod = Pod {
            born: now,
            ready_at: now + self.world.start,
            ready: false,
            active: 0,
            draining: false,
            leaving: false,
        };
        self.all.insert(self.made, pod);
        self.made += 1;
    }

    /// Pods that may be stopped, the best first: what is not ready yet, then the least busy, then
    /// the newest.
    fn victims(&self) -> Vec<u64> {
        let staying = self.all.iter().filter(|(_, pod)| !pod.leaving);
        let mut names: Vec<_> = staying
            .map(|(&name, pod)| (!pod.draining, pod.ready, pod.active, Reverse(name)))
            .collect();
        names.sort_unstable();
        names.into_iter().map(|(.., Reverse(name))| name).collect()
    }

    /// Marks exactly so many pods as draining; those that were are kept.
    fn drain(&mut self, count: u32) {
        for (place, name) in (0..).zip(self.victims()) {
            if let Some(pod) = self.all.get_mut(&name) {
                pod.draining = place < count;
            }
        }
    }

    /// Takes the drained pods away that are idle, in one change.
    fn take_idle(&mut self) {
        let idle = self.all.iter();
        let idle: Vec<_> = idle
            .filter(|(_, pod)| pod.draining && pod.active == 0)
            .map(|(&name, _)| name)
            .collect();
        for name in idle {
            self.replicas -= 1;
            self.remove(name, self.now);
        }
    }

    /// Stops so many pods at once; busy ones finish first.
    fn stop(&mut self, count: u32) {
        let victims = self.victims();
        for (_, name) in (0..count).zip(victims) {
            self.replicas -= 1;
            let Some(pod) = self.all.get_mut(&name) else {
                continue;
            };
            (pod.draining, pod.leaving) = (true, true);
            if pod.active == 0 {
                self.remove(name, self.now);
            }
        }
    }

    fn remove(&mut self, name: u64, at: Instant) {
        if let Some(pod) = self.all.remove(&name) {
            self.paid += at.saturating_sub(pod.born);
        }
    }
}
