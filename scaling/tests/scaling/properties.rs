//! Properties of the decision over random policies and traces.
//!
//! `SCALING_CASES=10000 cargo test -p taskqueue-scaling --release properties` plays more of them.

use std::time::Duration;

use jiff::Timestamp;
use proptest::{option, prelude::*};
use taskqueue_scaling::{
    Caps, Decision, Demand, Fleet, Flow, History, Mode, Pace, Policy, Reason, Step, StepSize,
    Target, decide,
};

use crate::policies::{policy, secs};

const CASES: u32 = 300;

fn cases() -> ProptestConfig {
    let asked = std::env::var("SCALING_CASES").ok();
    ProptestConfig {
        cases: asked.map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (1u32..50).prop_map(|per_replica| Target::Backlog { per_replica }),
        (1u64..100).prop_map(|within| Target::Latency {
            within: secs(within)
        }),
    ]
}

fn any_step() -> impl Strategy<Value = Option<Step>> {
    let size = prop_oneof![
        (1u32..200).prop_map(StepSize::Percent),
        (1u32..10).prop_map(StepSize::Replicas),
    ];
    option::of((size, 1u64..60).prop_map(|(most, per)| Step {
        most,
        per: secs(per),
    }))
}

prop_compose! {
    fn any_pace()(stabilization in prop_oneof![Just(0u64), 0u64..100], step in any_step()) -> Pace {
        Pace { stabilization: secs(stabilization), step }
    }
}

prop_compose! {
    fn any_policy()(
        (min, more, spare) in (0u32..5, 1u32..60, 0u32..4),
        target in any_target(),
        (concurrency, activation) in (1u32..20, 1u64..10),
        tolerance_permille in prop_oneof![Just(0u32), 0u32..300],
        (up, down) in (any_pace(), any_pace()),
        (wait_for_idle, idle) in (any::<bool>(), 0u64..100),
    ) -> Policy {
        Policy {
            min, max: min + more, spare, target, concurrency, activation, tolerance_permille, up, down,
            wait_for_idle, idle: secs(idle), ..policy()
        }
    }
}

prop_compose! {
    fn any_flow()(arrival in option::of(0.0..200.0f64), run in option::of(1u64..20_000), fresh in 0u64..2) -> Flow {
        Flow { arrival, run: run.map(Duration::from_millis), fresh }
    }
}

prop_compose! {
    fn any_demand()(
        waiting in prop_oneof![Just(0u64), 0u64..50, 0u64..5000],
        active in prop_oneof![Just(0u64), 0u64..200],
        due in option::of(0u64..20),
        paused in prop::bool::weighted(0.1),
        concurrency in option::weighted(0.2, 1u64..100),
        rate in option::weighted(0.2, 0.01..100.0f64),
        used_up in prop::bool::weighted(0.1),
        flow in any_flow(),
    ) -> Demand {
        let caps = Caps { concurrency, rate, used_up };
        Demand { waiting, active, unseen: None, next_due: due.map(secs), paused, caps, flow }
    }
}

/// What there was before: demands, each so many seconds after the one before; `None` is an outage.
fn any_past() -> impl Strategy<Value = Vec<(Option<Demand>, u64)>> {
    let demand = option::weighted(0.9, any_demand());
    prop::collection::vec((demand, 1u64..40), 0..20)
}

/// A queue and its workers, who do what is decided.
#[derive(Clone)]
struct Queue {
    policy: Policy,
    history: History,
    fleet: Fleet,
    now: u64,
}

impl Queue {
    fn after(policy: Policy, replicas: u32, past: &[(Option<Demand>, u64)]) -> Self {
        let fleet = Fleet {
            replicas,
            ready: replicas,
            start_time: secs(2),
            handshake: true,
            ..Fleet::default()
        };
        let mut queue = Self {
            policy,
            history: History::default(),
            fleet,
            now: 1000,
        };
        for (demand, pause) in past {
            queue.follow(demand.as_ref());
            queue.now += pause;
        }
        queue
    }

    fn decide(&mut self, demand: Option<&Demand>) -> Decision {
        let now = secs(self.now);
        let at = Timestamp::UNIX_EPOCH + now;
        decide(
            &self.policy,
            demand,
            &self.fleet,
            &mut self.history,
            now,
            at,
        )
    }

    fn follow(&mut self, demand: Option<&Demand>) -> Decision {
        let decision = self.decide(demand);
        self.fleet.replicas = decision.replicas;
        decision
    }

    /// The decision without anything being noted.
    fn would(&self, demand: &Demand) -> Decision {
        self.clone().decide(Some(demand))
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_change_stays_within_the_bounds(
        policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand()
    ) {
        let queue = Queue::after(policy, replicas, &past);
        let (before, decision) = (queue.fleet.replicas, queue.would(&demand));
        if decision.replicas > before {
            prop_assert!(decision.replicas <= queue.policy.max);
        }
        if decision.replicas < before {
            prop_assert!(decision.replicas >= queue.policy.min);
        }
        let busy = demand.active.div_ceil(u64::from(queue.policy.concurrency));
        prop_assert!(decision.replicas <= queue.policy.max || u64::from(decision.replicas) <= busy);
        prop_assert!((queue.policy.min..=queue.policy.max).contains(&decision.wanted));
    }

    #[test]
    fn more_demand_never_means_fewer_workers(
        policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand(),
        waiting in 0u64..1000, active in 0u64..100, arrival in 0.0..50.0f64
    ) {
        let queue = Queue::after(policy, replicas, &past);
        let flow = Flow { arrival: demand.flow.arrival.map(|rate| rate + arrival), ..demand.flow };
        let more = [
            Demand { waiting: demand.waiting + waiting, ..demand },
            Demand { active: demand.active + active, ..demand },
            Demand { flow, ..demand },
        ];
        let least = queue.would(&demand);
        for more in more {
            let decision = queue.would(&more);
            prop_assert!(decision.replicas >= least.replicas, "{}\n{}", least.equation, decision.equation);
        }
    }

    #[test]
    fn running_tasks_keep_their_workers_and_any_work_keeps_one(
        policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand()
    ) {
        let queue = Queue::after(policy, replicas, &past);
        let (before, decision) = (queue.fleet.replicas, queue.would(&demand));
        let busy = demand.active.div_ceil(u64::from(queue.policy.concurrency));
        prop_assert!(u64::from(decision.replicas) >= busy.min(u64::from(before)), "{}", decision.equation);
        if before > 0 && (demand.active > 0 || (demand.waiting > 0 && !demand.paused)) {
            prop_assert!(decision.replicas > 0);
        }
    }

    #[test]
    fn without_a_handshake_nobody_is_stopped_while_a_task_runs(
        policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand()
    ) {
        let policy = Policy { wait_for_idle: true, ..policy };
        let mut queue = Queue::after(policy, replicas, &past);
        queue.fleet.handshake = false;
        let decision = queue.would(&demand);
        prop_assert!(demand.active == 0 || decision.replicas >= queue.fleet.replicas);
    }

    #[test]
    fn where_running_tasks_are_not_seen_nobody_is_stopped_before_their_time_is_over(
        policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand(),
        unseen in 0u64..100, later in 0u64..100
    ) {
        let policy = Policy { wait_for_idle: true, ..policy };
        let mut queue = Queue::after(policy, replicas, &past);
        queue.fleet.handshake = false;
        let hidden = |demand: Demand| Demand { unseen: Some(secs(unseen)), ..demand };
        let seen = Demand { waiting: demand.waiting + 1, paused: false, ..demand };
        let before = queue.follow(Some(&hidden(seen))).replicas;
        queue.now += later;
        let after = queue.would(&hidden(Demand::default()));
        prop_assert!(later >= unseen || after.replicas >= before, "{}", after.equation);
    }

    #[test]
    fn what_is_not_known_changes_nothing(policy in any_policy(), past in any_past(), replicas in 0u32..80) {
        let mut queue = Queue::after(policy, replicas, &past);
        let before = queue.fleet.replicas;
        for _ in 0..100 {
            queue.now += 1;
            let decision = queue.follow(None);
            prop_assert_eq!((decision.replicas, decision.reason), (before, Reason::RedisUnreachable));
        }
    }

    #[test]
    fn what_is_done_is_decided_again(
        policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand()
    ) {
        let mut queue = Queue::after(policy, replicas, &past);
        let first = queue.follow(Some(&demand));
        let second = queue.follow(Some(&demand));
        prop_assert_eq!(first.replicas, second.replicas, "{}\n{}", first.equation, second.equation);
    }

    #[test]
    fn the_same_past_decides_the_same(policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand()) {
        let run = || Queue::after(policy.clone(), replicas, &past).decide(Some(&demand));
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn within_the_tolerance_nothing_changes(
        policy in any_policy(), past in any_past(), replicas in 1u32..50, tasks in 1u64..3000
    ) {
        let Target::Backlog { per_replica } = policy.target else { return Ok(()) };
        let policy = Policy { spare: 0, max: 100, ..policy };
        let queue = Queue::after(policy, replicas, &past);
        let before = queue.fleet.replicas;
        let off = i128::from(tasks) * 1000 - i128::from(before) * i128::from(per_replica) * 1000;
        let tolerated = i128::from(queue.policy.tolerance_permille) * i128::from(before) * i128::from(per_replica);
        if before >= queue.policy.min.max(1) && off.abs() <= tolerated {
            let decision = queue.would(&Demand { waiting: tasks, ..Demand::default() });
            prop_assert_eq!(decision.replicas, before, "{}", decision.equation);
        }
    }

    #[test]
    fn a_constant_load_moves_the_number_one_way_and_then_not_at_all(
        policy in any_policy(), past in any_past(), replicas in 0u32..80, demand in any_demand()
    ) {
        let mut queue = Queue::after(policy, replicas, &past);
        let mut numbers = vec![queue.fleet.replicas];
        for _ in 0..6000 {
            queue.now += 1;
            numbers.push(queue.follow(Some(&demand)).replicas);
        }
        let still = numbers[numbers.len() - 300..].iter().all(|number| Some(number) == numbers.last());
        numbers.dedup();
        prop_assert!(still, "no rest: {numbers:?}");
        let one_way = numbers.is_sorted() || numbers.is_sorted_by(|before, after| before >= after);
        prop_assert!(one_way, "both ways: {numbers:?}");
    }

    #[test]
    fn a_step_is_never_longer_than_allowed(policy in any_policy(), past in any_past(), size in 1u32..10, per in 1u64..60) {
        let step = Some(Step { most: StepSize::Replicas(size), per: secs(per) });
        let pace = Pace { stabilization: secs(0), step };
        let policy = Policy { min: 0, up: pace, down: pace, ..policy };
        let mut queue = Queue::after(policy, 0, &[]);
        let mut numbers = vec![0];
        for (demand, pause) in &past {
            for _ in 0..*pause {
                numbers.push(queue.follow(demand.as_ref()).replicas);
                queue.now += 1;
            }
        }
        for (place, &number) in numbers.iter().enumerate() {
            let within = usize::try_from(per).unwrap();
            let after = numbers[place..].iter().take(within);
            for &later in after.clone() {
                prop_assert!(later <= number + size, "{numbers:?}");
            }
            // The step to zero is any length, and what comes after it comes from zero.
            for &later in after.take_while(|&&later| later > 0) {
                prop_assert!(later + size >= number, "{numbers:?}");
            }
        }
    }

    #[test]
    fn a_person_decides_alone(past in any_past(), replicas in 0u32..80, by_hand in option::of(0u32..80), demand in any_demand()) {
        let policy = Policy { mode: Mode::Paused(by_hand), ..policy() };
        let queue = Queue::after(policy, replicas, &past);
        prop_assert_eq!(queue.would(&demand).replicas, by_hand.unwrap_or(queue.fleet.replicas));
    }
}
