//! The worker pods of every TaskQueue, in memory. Time is an argument.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use tokio::{sync::watch, time::Instant};

use super::{
    ending::{Ending, Told, ending, vanished},
    obstacle,
    shield::Shielded,
    start::StartTime,
    state::{PodState, Stage, WorkerPod},
};
use crate::key::Key;

/// How long an ending is kept for whoever takes it. The leases of the workers have lapsed by then.
const KEPT: Duration = Duration::from_mins(1);
/// Most endings that are kept of one TaskQueue; the lapse of their leases makes up for the others.
const MOST: usize = 2_000;

/// The worker pods of every TaskQueue, fed by one watch of the pods that carry our label.
pub struct Pods {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// What the pods of one TaskQueue come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetView {
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that are not ready, be it that they start or that something keeps them.
    pub starting: u32,
    /// What keeps pods from working, as reason and message; further pods would fare no better.
    pub obstacle: Option<(String, String)>,
    /// How long a pod takes to start.
    pub start_time: Duration,
    /// Whether we ask node autoscalers to leave any of them alone.
    pub shielded: bool,
}

#[derive(Default)]
struct State {
    pods: HashMap<Key, BTreeMap<String, Known>>,
    starts: HashMap<Key, StartTime>,
    endings: HashMap<Key, Vec<(Instant, Ending)>>,
    swept: Option<Instant>,
    /// What a listing under way has shown.
    listing: Option<HashSet<(Key, String)>>,
    synced: bool,
}

struct Known {
    state: PodState,
    told: Told,
    /// When it was made, if that was seen and its start can be measured.
    made: Option<Instant>,
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Pods {
    /// The pods of a TaskQueue by name, those that are being deleted included and those that have
    /// come to their end left out.
    pub fn of(&self, key: &Key) -> Vec<PodState> {
        let state = self.lock();
        let pods = state.pods.get(key).into_iter().flat_map(BTreeMap::values);
        let present = pods.filter(|known| known.state.stage != Stage::Ended);
        present.map(|known| known.state.clone()).collect()
    }

    /// What the pods of a TaskQueue come to. Pods that are being deleted do not count.
    pub fn view(&self, key: &Key) -> FleetView {
        let state = self.lock();
        let start_time = state.starts.get(key).copied().unwrap_or_default().get();
        let pods = state.pods.get(key).into_iter().flat_map(BTreeMap::values);
        let pods = pods.map(|known| &known.state);
        let (mut ready, mut starting) = (0, 0);
        for pod in pods.clone().filter(|pod| pod.takes_part()) {
            if pod.ready {
                ready += 1;
            } else {
                starting += 1;
            }
        }
        FleetView {
            ready,
            starting,
            shielded: pods.clone().any(|pod| pod.shielded == Shielded::ByUs),
            obstacle: obstacle::of_fleet(pods),
            start_time,
        }
    }

    /// Takes the endings of a TaskQueue's pods since the last time, oldest first.
    pub fn take_endings(&self, key: &Key) -> Vec<Ending> {
        let endings = self.lock().endings.remove(key).unwrap_or_default();
        endings.into_iter().map(|(_, ending)| ending).collect()
    }

    /// Which of these TaskQueues have endings that nobody took yet.
    pub fn endings_of<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<Key> {
        let state = self.lock();
        if state.endings.is_empty() {
            return Vec::new();
        }
        keys.filter(|key| state.endings.contains_key(key))
            .cloned()
            .collect()
    }

    /// Counts up whenever there is a new ending.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether all pods have been seen once. Before that, no pods means that none is known.
    pub fn synced(&self) -> bool {
        self.lock().synced
    }

    /// Drops what outlives the pods of a TaskQueue that is gone.
    pub fn forget(&self, key: &Key) {
        let mut state = self.lock();
        state.starts.remove(key);
        state.endings.remove(key);
    }

    /// Takes an event of the watch in. `now` and `at` are the same instant by two clocks.
    pub fn see(&self, event: Event<WorkerPod>, now: Instant, at: Timestamp) {
        let mut state = self.lock();
        let news = match event {
            Event::Init => {
                state.listing = Some(HashSet::new());
                false
            }
            Event::InitApply(pod) => state.apply(&pod, None, now, at),
            Event::InitDone => {
                state.synced = true;
                state.drop_unlisted(now)
            }
            Event::Apply(pod) => state.apply(&pod, Some(now), now, at),
            Event::Delete(pod) => state.delete(&pod, now),
        };
        drop(state);
        if news {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The maps are consistent after every statement, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a pod in; returns whether it shows a new ending. `made` is now if a pod that is not known
    /// was made just now, and `None` if nobody saw when.
    fn apply(
        &mut self,
        pod: &WorkerPod,
        made: Option<Instant>,
        now: Instant,
        at: Timestamp,
    ) -> bool {
        let Some(key) = pod.key() else {
            return false;
        };
        let mut state = pod.state();
        if let Some(listing) = &mut self.listing {
            listing.insert((key.clone(), state.name.clone()));
        }
        let pods = self.pods.entry(key.clone()).or_default();
        let mut before = pods.remove(&state.name);
        let mut news = Vec::new();
        // A name that is used again: the former pod is gone, and its workers with it.
        if let Some(former) = before.take_if(|before| before.state.uid != state.uid) {
            let ending = vanished(&former.state, &former.told, true);
            news.extend(ending.map(|ending| Ending {
                before: state.created,
                ..ending
            }));
        }
        let is_known = before.is_some();
        let (told, made, obstacle) = before.map_or((Told::Nothing, made, None), |before| {
            (before.told, before.made, before.state.obstacle)
        });
        state.obstacle = state.obstacle.map(|it| it.after(obstacle.as_ref()));
        let mut known = Known { state, told, made };
        if let Some(took) = known.took_to_start(is_known, now) {
            self.starts.entry(key.clone()).or_default().record(took);
        }
        if let Some((ending, told)) = ending(&known.state, &known.told, at) {
            known.told = told;
            // What is found at the start of the operator may have ended long ago.
            if is_known || known.ended_lately(at) {
                news.push(ending);
            }
        }
        pods.insert(known.state.name.clone(), known);
        self.tell(&key, news, now)
    }

    fn delete(&mut self, pod: &WorkerPod, now: Instant) -> bool {
        let Some(key) = pod.key() else {
            return false;
        };
        let state = pod.state();
        let known = self.remove(&key, &state.name);
        let told = known.map(|known| known.told).unwrap_or_default();
        let ending = vanished(&state, &told, false);
        self.tell(&key, ending.into_iter().collect(), now)
    }

    /// Drops what a listing that is over has not shown: it went while nobody watched.
    fn drop_unlisted(&mut self, now: Instant) -> bool {
        let listing = self.listing.take().unwrap_or_default();
        let all = self.pods.iter().flat_map(|(key, pods)| {
            let names = pods.keys().cloned();
            names.map(|name| (key.clone(), name))
        });
        let gone: Vec<_> = all.filter(|pod| !listing.contains(pod)).collect();
        let mut news = false;
        for (key, name) in gone {
            let known = self.remove(&key, &name);
            let ending = known.and_then(|known| vanished(&known.state, &known.told, true));
            news |= self.tell(&key, ending.into_iter().collect(), now);
        }
        news
    }

    fn remove(&mut self, key: &Key, name: &str) -> Option<Known> {
        let pods = self.pods.get_mut(key)?;
        let known = pods.remove(name);
        if pods.is_empty() {
            self.pods.remove(key);
        }
        known
    }

    /// Keeps endings for whoever takes them; returns whether there are any.
    fn tell(&mut self, key: &Key, news: Vec<Ending>, now: Instant) -> bool {
        if news.is_empty() {
            return false;
        }
        if self.swept.is_none_or(|at| now - at >= KEPT) {
            self.swept = Some(now);
            self.endings.retain(|_, endings| {
                endings.retain(|(since, _)| now - *since < KEPT);
                !endings.is_empty()
            });
        }
        let endings = self.endings.entry(key.clone()).or_default();
        endings.extend(news.into_iter().map(|ending| (now, ending)));
        endings.drain(..endings.len().saturating_sub(MOST));
        true
    }
}

impl Known {
    /// How long it took to start, told once.
    fn took_to_start(&mut self, is_known: bool, now: Instant) -> Option<Duration> {
        let PodState {
            ready,
            started,
            created,
            ..
        } = self.state;
        if self.state.obstacle.is_some() {
            // What it waited for is not what a start takes.
            self.made = None;
        }
        if !ready {
            return None;
        }
        if let Some(made) = self.made.take() {
            // Seen for the first time and ready at once: when it was made went by unseen.
            return is_known.then(|| now - made);
        }
        if is_known || self.state.termination.is_some() {
            return None;
        }
        // Found ready when the operator started. Times are to the second, and readiness comes within
        // a second after the start.
        let until = Duration::try_from(started?.duration_since(created)).ok()?;
        Some(until + Duration::from_secs(1))
    }

    fn ended_lately(&self, at: Timestamp) -> bool {
        let finished = self.state.termination.as_ref().and_then(|it| it.finished);
        finished.is_none_or(|finished| {
            Duration::try_from(at.duration_since(finished)).unwrap_or_default() < KEPT
        })
    }
}
