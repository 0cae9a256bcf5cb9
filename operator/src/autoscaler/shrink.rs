//! How workers are let go without stopping a busy one. Pure: pods, workers and the past are
//! arguments, steps come out; `handshake` takes them.
//!
//! Which pods a smaller Deployment loses is for its `ReplicaSet` to choose. It takes, in this order:
//! pods without a node, pending, not ready, with the lower deletion cost, that share their node with
//! others of theirs, ready for less long (by log2: 5 and 8 minutes are equal), by UID; hardly ever by
//! restarts and age. All before the cost is nothing that we set and may change at any moment, and all
//! behind it is not to be relied on. So the pods that go get the lowest cost, and the number falls
//! only when each pod that could be taken among the first can be spared: its workers are drained,
//! hold nothing, and get nothing while the mark stands. When all pods can be spared and all shall go,
//! they need no cost. What the controller sees may be a little older than what we see.
//!
//! One pass has two halves, with one call to Redis in between: [`choose`] picks the pods that
//! shall go and so the workers to drain, and [`conclude`] makes of what these hold at that very
//! instant the costs and the number to write. A worker that took a task in between wins.

mod wait;

pub use wait::Wait;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use taskqueue_queue::WorkerId;
use taskqueue_scaling::Instant;

/// The deletion cost of a pod that can be spared. A pod without one counts as 0.
pub const COST: i32 = -1000;
/// How long a worker gets no tasks after it was drained last. So a mark outlives an operator by
/// this much, and must be renewed more often.
pub const SPAN: Duration = Duration::from_secs(30);
/// How long our watch must have shown a pod as it is before that counts: the watch of the
/// controller manager may be a little later.
const SETTLE: Duration = Duration::from_millis(500);
/// How long a pod stays marked after the replicas were lowered for it, even if they rise again
/// meanwhile: a `ReplicaSet` controller that lags behind may still take it. In a busy cluster its
/// deletions queue up for seconds.
const CONDEMNED: Duration = Duration::from_secs(30);
/// How long a cost that was written may take until the watch shows it. One that has not come by
/// then was written over by somebody else, or never arrived.
const SHOWN: Duration = Duration::from_secs(10);
/// How long a pod must have been without a worker before none is expected in it. One that lost its
/// lease comes back sooner.
const SILENT: Duration = Duration::from_secs(30);

/// A pod that runs or is to run, and is not being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether something keeps it from starting.
    pub stuck: bool,
    /// Its deletion cost; 0 without one.
    pub cost: i32,
}

/// A worker as Redis knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// The pod it runs in.
    pub pod: String,
    /// How many tasks it holds.
    pub held: u64,
    /// Whether it gets no more.
    pub draining: bool,
}

/// All that a pass looks at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Pods of the Deployment that are not being deleted.
    pub pods: &'a [Pod],
    /// Workers of the queue.
    pub workers: &'a [Worker],
    /// Replicas asked for last.
    pub replicas: u32,
    /// Replicas to come to.
    pub target: u32,
    /// Pods that the Deployment has or is about to have; more than are seen while the watch or
    /// its controllers lag behind.
    pub counted: u32,
    /// A rollout is under way, in which pods are not ours to choose, unless all go.
    pub rolling: bool,
    /// The Deployment's controller has not seen its last edit yet.
    pub unobserved: bool,
}

/// What is remembered from pass to pass. Losing it costs time and no safety.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Until when a pod for which the replicas were lowered stays marked.
    condemned: BTreeMap<String, Instant>,
    /// How the watch shows a pod, and since when.
    shown: BTreeMap<String, (Look, Instant)>,
    /// Costs that were written, and when; until the watch shows them.
    written: BTreeMap<String, (i32, Instant)>,
    /// Since when a pod has been seen without a worker.
    silent: BTreeMap<String, Instant>,
}

/// The first half of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Names of the pods that shall go.
    pub victims: BTreeSet<String>,
    /// Workers to drain, or to drain for longer.
    pub drain: Vec<WorkerId>,
    /// Workers that shall get tasks again.
    pub undrain: Vec<WorkerId>,
}

/// The second half of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Pods that get [`COST`].
    pub set_cost: Vec<String>,
    /// Pods that lose it.
    pub clear_cost: Vec<String>,
    /// Replicas to write.
    pub lower: Option<u32>,
    /// Why the replicas are not at the target yet.
    pub wait: Option<Wait>,
}

/// What decides how soon a pod is taken, as far as that can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    ready: bool,
    cost: i32,
}

impl Pod {
    fn look(&self) -> Look {
        Look {
            ready: self.ready,
            cost: self.cost,
        }
    }
}

impl Marks {
    /// Takes note of what the watch and Redis show.
    pub fn observe(&mut self, pods: &[Pod], workers: &[Worker], now: Instant) {
        let looks: BTreeMap<&str, Look> = pods
            .iter()
            .map(|pod| (pod.name.as_str(), pod.look()))
            .collect();
        self.condemned
            .retain(|name, until| *until > now && looks.contains_key(name.as_str()));
        self.written.retain(|name, (cost, at)| {
            let look = looks.get(name.as_str());
            look.is_some_and(|look| look.cost != *cost) && now.saturating_sub(*at) < SHOWN
        });
        self.shown
            .retain(|name, (look, _)| looks.get(name.as_str()) == Some(look));
        for pod in pods {
            let shown = self.shown.entry(pod.name.clone());
            shown.or_insert((pod.look(), now));
        }
        let working: BTreeSet<&str> = workers.iter().map(|worker| worker.pod.as_str()).collect();
        let silent = |name: &str| looks.contains_key(name) && !working.contains(name);
        self.silent.retain(|name, _| silent(name));
        for pod in pods.iter().filter(|pod| silent(&pod.name)) {
            self.silent.entry(pod.name.clone()).or_insert(now);
        }
    }

    /// The cost of a pod was or may have been written.
    pub fn wrote(&mut self, pod: &str, cost: i32, now: Instant) {
        self.written.insert(pod.to_owned(), (cost, now));
    }

    /// The replicas were or may have been lowered for these pods.
    pub fn condemn(&mut self, pods: &BTreeSet<String>, now: Instant) {
        for pod in pods {
            self.condemned.insert(pod.clone(), now + CONDEMNED);
        }
    }

    /// Whether a pod has been seen as it is for long enough, and nothing else was written.
    fn settled(&self, pod: &Pod, now: Instant) -> bool {
        let shown = self.shown.get(&pod.name).is_some_and(|(look, since)| {
            *look == pod.look() && now.saturating_sub(*since) >= SETTLE
        });
        shown && !self.written.contains_key(&pod.name)
    }

    /// Whether there is no worker in a pod, and none to be expected in the next moment.
    fn deserted(&self, pod: &Pod, now: Instant) -> bool {
        self.silent
            .get(&pod.name)
            .is_some_and(|since| (pod.stuck && !pod.ready) || now.saturating_sub(*since) >= SILENT)
    }
}

/// Picks the pods that shall go and the workers to drain for it.
///
/// These go in any case: those for which the replicas were lowered already, by us or before our
/// time. Then all that are not ready, since any of them would be taken first. Then those that
/// hold the fewest tasks; of these the ones that are drained already, then those with the lower
/// cost, then the newest, which is Kubernetes' own habit.
pub fn choose(scene: &Scene<'_>, marks: &Marks) -> Choice {
    let held = held_by_pod(scene.workers.iter().map(|worker| (worker, worker.held)));
    let draining: BTreeSet<&str> = scene
        .workers
        .iter()
        .filter(|worker| worker.draining)
        .map(|worker| worker.pod.as_str())
        .collect();
    let mut victims: BTreeSet<String> = marks.condemned.keys().cloned().collect();
    if !scene.rolling || scene.target == 0 {
        let mut taken: Vec<&Pod> = scene.pods.iter().collect();
        taken.sort_by(|one, other| {
            let age = other.created.cmp(&one.created);
            one.look().cmp(&other.look()).then(age)
        });
        victims.extend(
            taken
                .iter()
                .take(leaving(scene))
                .map(|pod| pod.name.clone()),
        );

        let mut order = taken;
        order.sort_by_key(|pod| {
            let name = pod.name.as_str();
            let held = held.get(name).copied().unwrap_or(0);
            (pod.ready, held, !draining.contains(name), pod.cost)
        });
        let surplus = scene.pods.len().saturating_sub(count(scene.target));
        for pod in order {
            // Of those that are not ready any may be taken, however few go.
            let first_in_line = surplus > 0 && !pod.ready;
            if victims.len() >= surplus && !first_in_line {
                break;
            }
            victims.insert(pod.name.clone());
        }
    }
    let pods: BTreeSet<&str> = scene.pods.iter().map(|pod| pod.name.as_str()).collect();
    let (mut drain, mut undrain) = (Vec::new(), Vec::new());
    for worker in scene.workers {
        if victims.contains(&worker.pod) {
            drain.push(worker.id);
        } else if worker.draining && pods.contains(worker.pod.as_str()) {
            undrain.push(worker.id);
        }
    }
    Choice {
        victims,
        drain,
        undrain,
    }
}

/// Makes the costs and the number of a choice, with what each drained worker that is registered
/// held at the instant at which it was drained.
pub fn conclude(
    scene: &Scene<'_>,
    choice: &Choice,
    held: &BTreeMap<WorkerId, u64>,
    marks: &Marks,
    now: Instant,
) -> Steps {
    // One that is not registered any more may be about to come back under another id.
    let unknown = scene.workers.iter().filter(|it| !held.contains_key(&it.id));
    let unknown: BTreeSet<&str> = unknown.map(|worker| worker.pod.as_str()).collect();
    let drained = scene.workers.iter();
    let drained = drained.filter_map(|worker| Some((worker, *held.get(&worker.id)?)));
    let held = held_by_pod(drained);
    let idle = |pod: &&Pod| {
        let name = pod.name.as_str();
        match held.get(name) {
            Some(0) => !unknown.contains(name),
            Some(_) => false,
            None => marks.deserted(pod, now),
        }
    };

    // Whoever is marked while pods are still to go may be taken in their place.
    let leaving = leaving(scene);
    let mut steps = Steps::default();
    for pod in scene.pods {
        if choice.victims.contains(&pod.name) && idle(&pod) {
            if pod.cost != COST && leaving == 0 {
                steps.set_cost.push(pod.name.clone());
            }
        } else if pod.cost == COST {
            steps.clear_cost.push(pod.name.clone());
        }
    }
    if scene.target >= scene.replicas {
        return steps;
    }
    if let Some(wait) = not_now(scene) {
        steps.wait = Some(wait);
        return steps;
    }

    let soon = |pod: &&Pod| !pod.ready || pod.cost <= COST || !marks.settled(pod, now);
    let spared = |pod: &&Pod| idle(pod) && pod.cost == COST && marks.settled(pod, now);
    let first: Vec<&Pod> = scene.pods.iter().filter(soon).collect();
    // Where all go, the order is of no account, and costs would be writes for nothing.
    let reach = if scene.target == 0 && scene.pods.iter().all(|pod| idle(&pod)) {
        scene.pods.len()
    // They are taken in an order that is not known, so they count all or not at all.
    } else if first.iter().all(spared) {
        first.len()
    } else {
        0
    };
    let left = u32::try_from(scene.pods.len() - reach).unwrap_or(u32::MAX);
    let lowest = left.max(scene.target);
    if lowest < scene.replicas && !(scene.rolling && lowest > 0) {
        steps.lower = Some(lowest);
        steps.set_cost.clear();
    }
    if lowest > scene.target {
        steps.wait = Some(blocker(scene, choice, &held, &|pod| {
            marks.deserted(pod, now)
        }));
    }
    steps
}

/// Pods for which the number was lowered and that their `ReplicaSet` has not taken yet.
fn leaving(scene: &Scene<'_>) -> usize {
    scene.pods.len().saturating_sub(count(scene.replicas))
}

/// What keeps the number from being lowered whatever the workers do.
fn not_now(scene: &Scene<'_>) -> Option<Wait> {
    if scene.rolling && scene.target > 0 {
        Some(Wait::Rollout)
    } else if leaving(scene) > 0 {
        Some(Wait::Leaving(leaving(scene)))
    } else if scene.unobserved {
        Some(Wait::Unobserved)
    } else if scene.pods.len() < count(scene.counted) {
        Some(Wait::Unseen {
            counted: scene.counted,
            seen: scene.pods.len(),
        })
    } else {
        None
    }
}

/// What the first pod that cannot go is waited for.
fn blocker(
    scene: &Scene<'_>,
    choice: &Choice,
    held: &BTreeMap<&str, u64>,
    deserted: &impl Fn(&Pod) -> bool,
) -> Wait {
    let victims = scene
        .pods
        .iter()
        .filter(|pod| !pod.ready || choice.victims.contains(&pod.name));
    let mut first: Option<Wait> = None;
    for pod in victims {
        match held.get(pod.name.as_str()) {
            Some(0) => {}
            Some(&held) => {
                let pod = pod.name.clone();
                first.get_or_insert(Wait::Busy { pod, held });
            }
            None if deserted(pod) => {}
            None => return Wait::Starting(pod.name.clone()),
        }
    }
    let other = |pod: &&Pod| pod.cost <= COST && !choice.victims.contains(&pod.name);
    first.unwrap_or_else(|| match scene.pods.iter().find(other) {
        Some(pod) if pod.cost < COST => Wait::OtherCost(pod.name.clone()),
        _ => Wait::Costs,
    })
}

/// Tasks held by the workers of each pod together.
fn held_by_pod<'a>(workers: impl Iterator<Item = (&'a Worker, u64)>) -> BTreeMap<&'a str, u64> {
    let mut pods = BTreeMap::new();
    for (worker, held) in workers {
        *pods.entry(worker.pod.as_str()).or_insert(0) += held;
    }
    pods
}

fn count(replicas: u32) -> usize {
    usize::try_from(replicas).unwrap_or(usize::MAX)
}
