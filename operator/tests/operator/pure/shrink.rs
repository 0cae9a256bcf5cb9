//! Letting workers go: what is drained, marked and lowered, and that no busy worker is among the
//! pods that a `ReplicaSet` takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use proptest::prelude::*;
use taskqueue_operator::autoscaler::shrink::{
    COST, Choice, Marks, Pod, Scene, Steps, Wait, Worker, choose, conclude,
};
use taskqueue_queue::WorkerId;

/// Long after whatever the marks took note of at zero.
const NOW: Duration = Duration::from_secs(1);

fn id(number: usize) -> WorkerId {
    format!("{number:020}").parse().unwrap()
}

fn name(number: usize) -> String {
    format!("pod-{number}")
}

fn pod(number: usize) -> Pod {
    Pod {
        name: name(number),
        created: Timestamp::from_second(i64::try_from(number).unwrap()).unwrap(),
        ready: true,
        stuck: false,
        cost: 0,
    }
}

fn worker(number: usize, held: u64) -> Worker {
    Worker {
        id: id(number),
        pod: name(number),
        held,
        draining: false,
    }
}

/// Pods 0, 1, 2 … that are ready, each with a worker that holds so many tasks.
struct Fleet {
    pods: Vec<Pod>,
    workers: Vec<Worker>,
    marks: Marks,
}

impl Fleet {
    fn holding(held: &[u64]) -> Self {
        let fleet = Self {
            pods: (0..held.len()).map(pod).collect(),
            workers: held
                .iter()
                .enumerate()
                .map(|(n, &held)| worker(n, held))
                .collect(),
            marks: Marks::default(),
        };
        fleet.observed()
    }

    /// Seen for long enough.
    fn observed(mut self) -> Self {
        self.marks
            .observe(&self.pods, &self.workers, Duration::ZERO);
        self
    }

    /// Drained before, with the cost that the watch shows.
    fn marked(mut self, numbers: &[usize]) -> Self {
        for &number in numbers {
            self.pods[number].cost = COST;
            self.workers[number].draining = true;
        }
        self.observed()
    }

    fn starting(mut self, number: usize) -> Self {
        self.pods[number].ready = false;
        self.workers.retain(|worker| worker.pod != name(number));
        self.observed()
    }

    fn not_ready(mut self, number: usize) -> Self {
        self.pods[number].ready = false;
        self.observed()
    }

    fn scene(&self, replicas: u32, target: u32) -> Scene<'_> {
        Scene {
            pods: &self.pods,
            workers: &self.workers,
            replicas,
            target,
            counted: u32::try_from(self.pods.len()).unwrap(),
            rolling: false,
            unobserved: false,
        }
    }

    /// A pass over as many replicas as there are pods.
    fn pass(&self, target: u32) -> (Choice, Steps) {
        self.pass_over(&self.scene(u32::try_from(self.pods.len()).unwrap(), target))
    }

    fn pass_over(&self, scene: &Scene<'_>) -> (Choice, Steps) {
        let choice = choose(scene, &self.marks);
        let held: BTreeMap<_, _> = scene
            .workers
            .iter()
            .filter(|worker| choice.drain.contains(&worker.id))
            .map(|worker| (worker.id, worker.held))
            .collect();
        let steps = conclude(scene, &choice, &held, &self.marks, NOW);
        (choice, steps)
    }
}

fn names(numbers: &[usize]) -> BTreeSet<String> {
    numbers.iter().copied().map(name).collect()
}

fn list(numbers: &[usize]) -> Vec<String> {
    numbers.iter().copied().map(name).collect()
}

#[test]
fn the_least_busy_are_chosen_and_of_equals_those_drained_already_then_the_newest() {
    let table: [(&str, Fleet, u32, &[usize]); 6] = [
        ("the idle one", Fleet::holding(&[3, 0, 1]), 2, &[1]),
        ("the two least busy", Fleet::holding(&[3, 2, 1]), 1, &[1, 2]),
        ("the newest of equals", Fleet::holding(&[0, 0, 0]), 2, &[2]),
        (
            "drained before",
            Fleet::holding(&[0, 0, 0]).marked(&[1]),
            2,
            &[1],
        ),
        (
            "an idle one before one that was drained and is busy",
            Fleet::holding(&[0, 4, 4]).marked(&[1]),
            2,
            &[0],
        ),
        (
            "one that starts before any that works",
            Fleet::holding(&[0, 0, 9]).starting(2),
            2,
            &[2],
        ),
    ];
    for (what, fleet, target, victims) in table {
        assert_eq!(fleet.pass(target).0.victims, names(victims), "{what}");
    }
}

#[test]
fn the_steps_come_one_after_the_other() {
    // Drained and found idle: the cost is next.
    let (choice, steps) = Fleet::holding(&[2, 0, 1]).pass(2);
    assert_eq!(choice.drain, [id(1)]);
    assert_eq!(steps.set_cost, list(&[1]));
    assert_eq!((steps.lower, steps.wait), (None, Some(Wait::Costs)));
    // The cost is seen: the number is next.
    let (choice, steps) = Fleet::holding(&[2, 0, 1]).marked(&[1]).pass(2);
    assert_eq!(choice.drain, [id(1)], "the mark is renewed");
    let lowered = Steps {
        lower: Some(2),
        ..Steps::default()
    };
    assert_eq!(steps, lowered);
}

#[test]
fn all_that_go_together_need_no_cost() {
    let (choice, steps) = Fleet::holding(&[0, 0, 0]).pass(0);
    assert_eq!(choice.victims, names(&[0, 1, 2]));
    let lowered = Steps {
        lower: Some(0),
        ..Steps::default()
    };
    assert_eq!(steps, lowered, "one write");
    let (_, steps) = Fleet::holding(&[0, 1, 0]).pass(0);
    assert_eq!((steps.lower, steps.set_cost), (None, list(&[0, 2])));
    let (_, steps) = Fleet::holding(&[0, 0, 0]).starting(2).pass(0);
    assert_eq!(steps.lower, None, "its worker may come up and take a task");
}

#[test]
fn a_cost_that_was_seen_this_moment_waits_a_little() {
    let mut fleet = Fleet::holding(&[0, 0]).marked(&[1]);
    fleet.marks = Marks::default();
    fleet.marks.observe(&fleet.pods, &fleet.workers, NOW);
    let (_, steps) = fleet.pass(1);
    assert_eq!((steps.lower, steps.wait), (None, Some(Wait::Costs)));
}

#[test]
fn a_worker_that_took_a_task_in_between_is_not_let_go() {
    let fleet = Fleet::holding(&[5, 0]).marked(&[1]);
    let scene = fleet.scene(2, 1);
    let choice = choose(&scene, &fleet.marks);
    let steps = conclude(
        &scene,
        &choice,
        &BTreeMap::from([(id(1), 1)]),
        &fleet.marks,
        NOW,
    );
    assert_eq!(steps.lower, None);
    assert_eq!(
        steps.clear_cost,
        list(&[1]),
        "it is no longer the one to take"
    );
    let busy = Wait::Busy {
        pod: name(1),
        held: 1,
    };
    assert_eq!(steps.wait, Some(busy));
}

#[test]
fn a_worker_that_was_not_registered_any_more_when_it_was_drained_may_come_back() {
    let fleet = Fleet::holding(&[5, 0]).marked(&[1]);
    let scene = fleet.scene(2, 1);
    let choice = choose(&scene, &fleet.marks);
    let steps = conclude(&scene, &choice, &BTreeMap::new(), &fleet.marks, NOW);
    assert_eq!(steps.lower, None);
}

#[test]
fn those_that_are_idle_go_before_the_others_are() {
    let (choice, steps) = Fleet::holding(&[9, 9, 1, 0]).marked(&[3]).pass(2);
    assert_eq!(choice.victims, names(&[2, 3]));
    assert_eq!(steps.lower, Some(3));
    let busy = Wait::Busy {
        pod: name(2),
        held: 1,
    };
    assert_eq!(steps.wait, Some(busy));
}

#[test]
fn a_busy_one_that_still_carries_the_cost_holds_back_the_idle_ones() {
    // Of two with one cost, Kubernetes may take either.
    let fleet = Fleet::holding(&[9, 9, 1, 0]).marked(&[2, 3]);
    let (_, steps) = fleet.pass(2);
    assert_eq!((steps.lower, steps.clear_cost), (None, list(&[2])));
}

#[test]
fn one_that_is_not_ready_and_busy_holds_all_others_back() {
    // Kubernetes takes it first, whatever the costs.
    let fleet = Fleet::holding(&[1, 0, 0]).marked(&[1, 2]).not_ready(0);
    let (choice, steps) = fleet.pass(1);
    assert!(choice.victims.contains(&name(0)));
    assert_eq!(steps.lower, None);
    let busy = Wait::Busy {
        pod: name(0),
        held: 1,
    };
    assert_eq!(steps.wait, Some(busy));
}

#[test]
fn one_that_is_not_ready_and_idle_goes_first_and_gets_the_cost_all_the_same() {
    // It may become ready at any moment.
    let (choice, steps) = Fleet::holding(&[0, 3, 0]).not_ready(0).pass(2);
    assert_eq!(choice.victims, names(&[0]));
    assert_eq!(steps.set_cost, list(&[0]));
    assert_eq!((steps.lower, steps.wait), (None, Some(Wait::Costs)));
    let (_, steps) = Fleet::holding(&[0, 3, 0]).not_ready(0).marked(&[0]).pass(2);
    assert_eq!(steps.lower, Some(2));
}

#[test]
fn one_that_became_ready_this_moment_may_still_be_taken_first() {
    let mut fleet = Fleet::holding(&[9, 0]).not_ready(0).marked(&[1]);
    fleet.pods[0].ready = true;
    fleet.marks.observe(&fleet.pods, &fleet.workers, NOW);
    assert_eq!(fleet.pass(1).1.lower, None);
}

#[test]
fn one_whose_cost_was_taken_away_this_moment_may_still_be_taken_for_it() {
    let mut fleet = Fleet::holding(&[9, 0]).marked(&[0, 1]);
    fleet.pods[0].cost = 0;
    fleet.marks.observe(&fleet.pods, &fleet.workers, NOW);
    assert_eq!(fleet.pass(1).1.lower, None);
}

#[test]
fn a_cost_that_was_written_and_is_not_seen_yet_counts_for_nothing_else() {
    // It was taken away, and the watch still shows it.
    let mut fleet = Fleet::holding(&[9, 0]).marked(&[1]);
    fleet.marks.wrote(&name(1), 0, NOW);
    assert_eq!(fleet.pass(1).1.lower, None);
    // Another one has got it, and the watch does not show it.
    let mut fleet = Fleet::holding(&[9, 0]).marked(&[1]);
    fleet.marks.wrote(&name(0), COST, NOW);
    assert_eq!(fleet.pass(1).1.lower, None);
    // It never came.
    let later = NOW + Duration::from_secs(10);
    fleet.marks.observe(&fleet.pods, &fleet.workers, later);
    assert_eq!(fleet.pass(1).1.lower, Some(1));
}

#[test]
fn one_that_starts_is_waited_for_and_one_that_cannot_start_goes() {
    let mut fleet = Fleet::holding(&[0, 0, 0]).starting(1);
    let (_, steps) = fleet.pass(2);
    assert_eq!(
        (steps.lower, steps.wait),
        (None, Some(Wait::Starting(name(1))))
    );
    fleet.pods[1].stuck = true;
    let (choice, steps) = fleet.pass(2);
    assert!(choice.drain.is_empty());
    assert_eq!((steps.set_cost, steps.lower), (list(&[1]), None));
    fleet.pods[1].cost = COST;
    let (_, steps) = fleet.observed().pass(2);
    assert_eq!(steps.lower, Some(2));
}

#[test]
fn a_ready_pod_whose_worker_redis_does_not_know_is_waited_for() {
    let mut fleet = Fleet::holding(&[4, 0]);
    fleet.workers.pop();
    fleet
        .marks
        .observe(&fleet.pods, &fleet.workers, Duration::ZERO);
    let (_, steps) = fleet.pass(1);
    assert_eq!(
        (steps.lower, steps.wait),
        (None, Some(Wait::Starting(name(1))))
    );
    // None has come in half a minute, so that none is expected.
    let scene = fleet.scene(2, 1);
    let choice = choose(&scene, &fleet.marks);
    let later = Duration::from_secs(30);
    let steps = conclude(&scene, &choice, &BTreeMap::new(), &fleet.marks, later);
    assert_eq!(steps.set_cost, list(&[1]));
}

#[test]
fn demand_that_rises_again_gives_everything_back_at_once() {
    let (choice, steps) = Fleet::holding(&[1, 0, 0]).marked(&[1, 2]).pass(3);
    assert_eq!((choice.drain, choice.undrain), (vec![], vec![id(1), id(2)]));
    assert_eq!(
        steps,
        Steps {
            clear_cost: list(&[1, 2]),
            ..Steps::default()
        }
    );
    // And only in part, if it rises in part: the busier one stays.
    let (choice, steps) = Fleet::holding(&[1, 2, 0]).marked(&[1, 2]).pass(2);
    assert_eq!((choice.drain, choice.undrain), (vec![id(2)], vec![id(1)]));
    assert_eq!((steps.lower, steps.clear_cost), (None, list(&[1])));
}

#[test]
fn a_cost_without_a_mark_is_taken_away() {
    // What a former operator left.
    let mut fleet = Fleet::holding(&[0, 0]).marked(&[1]);
    fleet.workers[1].draining = false;
    let (choice, steps) = fleet.pass(2);
    assert_eq!(choice, Choice::default());
    assert_eq!(
        steps,
        Steps {
            clear_cost: list(&[1]),
            ..Steps::default()
        }
    );
}

#[test]
fn pods_that_kubernetes_has_not_taken_yet_stay_marked() {
    let mut fleet = Fleet::holding(&[1, 0, 0]).marked(&[1, 2]);
    // The number was lowered by a former operator.
    let (choice, steps) = fleet.pass_over(&fleet.scene(1, 1));
    assert_eq!((choice.drain, choice.undrain), (vec![id(1), id(2)], vec![]));
    assert_eq!(steps, Steps::default());
    // By us, and it rose again: the ReplicaSet's controller may not have seen that.
    fleet.marks.condemn(&names(&[1, 2]), NOW);
    let (choice, _) = fleet.pass(3);
    assert_eq!(choice.undrain, []);
    let later = NOW + Duration::from_secs(31);
    fleet.marks.observe(&fleet.pods, &fleet.workers, later);
    let (choice, _) = fleet.pass(3);
    assert_eq!(choice.undrain, [id(1), id(2)]);
}

#[test]
fn while_pods_are_still_to_go_no_other_is_marked_that_could_go_in_their_place() {
    let fleet = Fleet::holding(&[0, 0, 0, 0]).marked(&[3]);
    let (choice, steps) = fleet.pass_over(&fleet.scene(3, 1));
    assert_eq!(choice.drain, [id(1), id(2), id(3)]);
    assert_eq!((&steps.set_cost, steps.lower), (&list(&[]), None));
    assert_eq!(steps.wait, Some(Wait::Leaving(1)));
    let gone = Fleet::holding(&[0, 0, 0]);
    assert_eq!(gone.pass(1).1.set_cost, list(&[1, 2]));
}

#[test]
fn nothing_is_lowered_in_a_rollout_or_on_stale_knowledge() {
    type Change = fn(&mut Scene<'_>);
    let table: [(Change, Wait); 3] = [
        (|scene| scene.rolling = true, Wait::Rollout),
        (|scene| scene.unobserved = true, Wait::Unobserved),
        (
            |scene| scene.counted = 4,
            Wait::Unseen {
                counted: 4,
                seen: 3,
            },
        ),
    ];
    for (change, wait) in table {
        let fleet = Fleet::holding(&[0, 0, 0]).marked(&[2]);
        let mut scene = fleet.scene(3, 2);
        change(&mut scene);
        let (choice, steps) = fleet.pass_over(&scene);
        assert_eq!((steps.lower, &steps.wait), (None, &Some(wait)));
        if scene.rolling {
            assert_eq!(
                choice.undrain,
                [id(2)],
                "a rollout drains old pods by itself"
            );
        }
    }
}

#[test]
fn in_a_rollout_all_may_go_together_and_none_alone() {
    let fleet = Fleet::holding(&[0, 0]).marked(&[0, 1]);
    let rolling = |fleet: &Fleet| {
        let mut scene = fleet.scene(2, 0);
        scene.rolling = true;
        fleet.pass_over(&scene).1
    };
    assert_eq!(rolling(&fleet).lower, Some(0));
    let one_busy = Fleet::holding(&[3, 0]).marked(&[1]);
    assert_eq!(rolling(&one_busy).lower, None);
}

#[test]
fn pods_that_were_never_made_are_simply_no_longer_asked_for() {
    let fleet = Fleet::holding(&[7, 7]);
    let (choice, steps) = fleet.pass_over(&fleet.scene(9, 4));
    assert_eq!(choice, Choice::default());
    assert_eq!(
        steps,
        Steps {
            lower: Some(4),
            ..Steps::default()
        }
    );
}

#[test]
fn a_cost_of_somebody_else_that_is_lower_is_named() {
    let mut fleet = Fleet::holding(&[4, 0]).marked(&[1]);
    fleet.pods[0].cost = COST - 1;
    let (_, steps) = fleet.pass(1);
    assert_eq!(
        (steps.lower, &steps.wait),
        (None, &Some(Wait::OtherCost(name(0))))
    );
    let told = steps.wait.unwrap().to_string();
    assert!(
        told.contains("pod-0") && told.contains("below -1000"),
        "{told}"
    );
}

/// A pod as the `ReplicaSet` sees it, with what the rest of its order needs. Of pods that are not
/// ready it knows more than we do.
#[derive(Clone, Debug)]
struct Real {
    seen: Pod,
    /// As it is when it is taken: one that was not ready may have become so.
    phase: u8,
    habits: (u8, u8),
    workers: Vec<(u64, u64, bool)>,
}

fn real(number: usize) -> impl Strategy<Value = Real> {
    let cost = prop_oneof![4 => Just(0), 3 => Just(COST), 1 => Just(COST - 5), 1 => Just(7)];
    // What a worker holds when it is listed and when it is drained, and whether it was drained.
    let worker = (0_u64..3, 0_u64..3, any::<bool>());
    let workers = proptest::collection::vec(worker, 0..3);
    let phases = prop_oneof![4 => Just((true, 2)), 2 => (Just(false), 0_u8..3)];
    (phases, cost, any::<bool>(), any::<(u8, u8)>(), workers).prop_map(
        move |((ready, phase), cost, stuck, habits, workers)| Real {
            seen: Pod {
                ready,
                cost,
                stuck,
                ..pod(number)
            },
            phase,
            habits,
            workers,
        },
    )
}

fn reals() -> impl Strategy<Value = Vec<Real>> {
    (0_usize..9).prop_flat_map(|count| (0..count).map(real).collect::<Vec<_>>())
}

/// The workers of these pods as listed, and what each holds when it is drained.
fn listed(reals: &[Real]) -> (Vec<Worker>, BTreeMap<WorkerId, u64>) {
    let (mut workers, mut later) = (Vec::new(), BTreeMap::new());
    for real in reals {
        for (held, then, draining) in &real.workers {
            let id = id(workers.len());
            // Those that are drained already take no task in between.
            later.insert(id, if *draining { (*held).min(*then) } else { *then });
            workers.push(Worker {
                id,
                pod: real.seen.name.clone(),
                held: *held,
                draining: *draining,
            });
        }
    }
    (workers, later)
}

fn seen(reals: &[Real]) -> Vec<Pod> {
    reals.iter().map(|real| real.seen.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_pod_that_a_replica_set_takes_has_a_busy_or_an_undrained_worker(
        reals in reals(), replicas in 0_u32..10, target in 0_u32..10, settled in any::<bool>()
    ) {
        let pods = seen(&reals);
        let (workers, later) = listed(&reals);
        let mut marks = Marks::default();
        marks.observe(&pods, &workers, if settled { Duration::ZERO } else { NOW });
        let scene = Scene {
            pods: &pods, workers: &workers, replicas, target,
            counted: 0, rolling: false, unobserved: false,
        };
        let choice = choose(&scene, &marks);
        let held: BTreeMap<_, _> = choice.drain.iter().map(|id| (*id, later[id])).collect();
        let steps = conclude(&scene, &choice, &held, &marks, NOW);
        if let Some(lower) = steps.lower {
            prop_assert!(lower < replicas && lower >= target);
            let mut order = reals.clone();
            order.sort_by_key(|real| (real.phase, real.seen.cost, real.habits));
            let taken = order.len().saturating_sub(usize::try_from(lower).unwrap());
            for real in &order[..taken] {
                for worker in workers.iter().filter(|worker| worker.pod == real.seen.name) {
                    prop_assert_eq!(held.get(&worker.id), Some(&0), "{:?} of {:?}", worker, steps);
                }
                let stuck = real.seen.stuck && !real.seen.ready;
                prop_assert!(!real.workers.is_empty() || stuck);
            }
        }
        // Nobody is told two things, and costs stand on idle victims alone.
        prop_assert!(choice.drain.iter().all(|id| !choice.undrain.contains(id)));
        for pod in &steps.set_cost {
            prop_assert!(choice.victims.contains(pod) && !steps.clear_cost.contains(pod));
            let mut workers = workers.iter().filter(|worker| worker.pod == *pod);
            prop_assert!(workers.all(|worker| held.get(&worker.id) == Some(&0)));
        }
    }

    #[test]
    fn without_a_shrink_no_worker_is_drained_and_no_cost_is_left(
        reals in reals(), more in 0_u32..3
    ) {
        let pods = seen(&reals);
        let (workers, _) = listed(&reals);
        let replicas = u32::try_from(pods.len()).unwrap();
        let scene = Scene {
            pods: &pods, workers: &workers, replicas, target: replicas + more,
            counted: replicas, rolling: false, unobserved: false,
        };
        let choice = choose(&scene, &Marks::default());
        let steps = conclude(&scene, &choice, &BTreeMap::new(), &Marks::default(), NOW);
        prop_assert!(choice.drain.is_empty() && steps.set_cost.is_empty());
        prop_assert_eq!((steps.lower, steps.wait), (None, None));
        let draining = workers.iter().filter(|worker| worker.draining).count();
        prop_assert_eq!(choice.undrain.len(), draining);
        let costs = pods.iter().filter(|pod| pod.cost == COST).count();
        prop_assert_eq!(steps.clear_cost.len(), costs);
    }

    #[test]
    fn workers_that_end_what_they_run_are_let_go_in_a_few_passes(
        held in proptest::collection::vec(0_u64..4, 1..9), part in 0_u32..9
    ) {
        let mut fleet = Fleet::holding(&held);
        let target = part.min(u32::try_from(held.len()).unwrap());
        let mut replicas = u32::try_from(held.len()).unwrap();
        for second in 0..12 {
            let now = Duration::from_secs(second);
            fleet.marks.observe(&fleet.pods, &fleet.workers, now);
            let scene = fleet.scene(replicas, target);
            let choice = choose(&scene, &fleet.marks);
            let drained = choice.drain.iter();
            let answers = drained.filter_map(|id| {
                let worker = fleet.workers.iter().find(|worker| worker.id == *id)?;
                Some((*id, worker.held))
            }).collect();
            let steps = conclude(&scene, &choice, &answers, &fleet.marks, now);
            for worker in &mut fleet.workers {
                worker.draining = choice.drain.contains(&worker.id);
                // One task ends a second; those that are not drained get another.
                if worker.draining {
                    worker.held = worker.held.saturating_sub(1);
                }
            }
            for pod in &mut fleet.pods {
                if steps.set_cost.contains(&pod.name) { pod.cost = COST; }
                if steps.clear_cost.contains(&pod.name) { pod.cost = 0; }
            }
            if let Some(lower) = steps.lower {
                replicas = lower;
                fleet.pods.sort_by_key(|pod| std::cmp::Reverse(pod.cost));
                fleet.pods.truncate(usize::try_from(lower).unwrap());
                let kept: BTreeSet<_> = fleet.pods.iter().map(|pod| pod.name.clone()).collect();
                fleet.workers.retain(|worker| kept.contains(&worker.pod));
            }
        }
        prop_assert_eq!(replicas, target);
        prop_assert!(fleet.pods.iter().all(|pod| pod.cost == 0));
    }
}
