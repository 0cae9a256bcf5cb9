use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};
use taskqueue_operator::fleet::{
    PodState,
    shield::{Shield, Shielded, Step},
};
use taskqueue_queue::{TaskId, WorkerId};
use tokio::time::Instant;

use super::pod;

const AFTER: Duration = Duration::from_secs(30);

fn task(number: u32) -> TaskId {
    format!("{number:020}").parse().unwrap()
}

fn worker(letter: char) -> WorkerId {
    letter.to_string().repeat(20).parse().unwrap()
}

/// Pods `a` to `d` with the worker of the same letter; `annotations` are those of `a`.
fn pods(annotations: &Value) -> Vec<PodState> {
    let named =
        |letter: char| json!({ "name": letter.to_string(), "uid": format!("uid-{letter}") });
    let mut pods: Vec<_> = ('a'..='d')
        .map(|letter| pod(&named(letter), &json!({})).state())
        .collect();
    let mut first = named('a');
    first["annotations"] = annotations.clone();
    pods[0] = pod(&first, &json!({})).state();
    pods
}

fn ours() -> Value {
    json!({
        "taskqueue.dev/shielded": "true",
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"
    })
}

/// Looks at second 0, 10 and so on, at which these workers hold these tasks; what each is planned to
/// lead to, `+` for a new shield and `-` for one that goes. The cluster does not change meanwhile.
fn plans(annotations: &Value, looks: &[&[(u32, char)]]) -> Vec<Vec<String>> {
    let pods = pods(annotations);
    let pod_of: HashMap<_, _> = ('a'..='d').map(|it| (worker(it), it.to_string())).collect();
    let mut shield = Shield::default();
    let mut now = Instant::now();
    let told = |step: Step| {
        assert_eq!(step.uid, format!("uid-{}", step.pod));
        format!("{}{}", if step.shield { '+' } else { '-' }, step.pod)
    };
    let look = |held: &&[(u32, char)]| {
        let leases: Vec<_> = held
            .iter()
            .map(|(id, it)| (task(*id), worker(*it)))
            .collect();
        let plan = shield.plan(&leases, &pod_of, &pods, AFTER, now);
        now += Duration::from_secs(10);
        plan.into_iter().map(told).collect()
    };
    looks.iter().map(look).collect()
}

#[test]
fn a_pod_is_read_as_shielded_by_us_by_another_or_not_at_all() {
    let table = [
        (json!({}), Shielded::No),
        (ours(), Shielded::ByUs),
        (
            json!({ "karpenter.sh/do-not-disrupt": "true" }),
            Shielded::ByAnother,
        ),
        (
            json!({ "cluster-autoscaler.kubernetes.io/safe-to-evict": "true" }),
            Shielded::ByAnother,
        ),
    ];
    for (annotations, shielded) in table {
        assert_eq!(pods(&annotations)[0].shielded, shielded, "{annotations}");
    }
}

#[test]
fn a_pod_is_shielded_once_a_task_of_it_is_old_enough() {
    let held: &[(u32, char)] = &[(1, 'b'), (2, 'c')];
    let only_one: &[(u32, char)] = &[(1, 'b')];
    let looks = [&[] as &[_], held, held, only_one, only_one];
    let plans = plans(&json!({}), &looks);
    let none: [&str; 0] = [];
    assert_eq!(plans[..4], [none; 4]);
    assert_eq!(plans[4], ["+b"]);
}

#[test]
fn a_pod_that_is_always_busy_with_short_tasks_is_not_shielded() {
    let looks: Vec<Vec<_>> = (0..20).map(|number| vec![(number, 'b')]).collect();
    let looks: Vec<&[_]> = looks.iter().map(Vec::as_slice).collect();
    assert!(plans(&json!({}), &looks).concat().is_empty());
}

#[test]
fn a_task_that_went_to_another_worker_counts_anew() {
    let (one, other): (&[_], &[_]) = (&[(1, 'b')], &[(1, 'c')]);
    let plans = plans(&json!({}), &[one, one, one, other, other, other, other]);
    assert!(plans[..6].concat().is_empty(), "{plans:?}");
    assert_eq!(plans[6], ["+c"]);
}

#[test]
fn a_shield_goes_with_the_last_old_task() {
    let plans = plans(&ours(), &[&[(1, 'a')], &[(2, 'a')], &[]]);
    assert!(plans[0].is_empty());
    assert_eq!(plans[1..], [["-a"], ["-a"]], "the new task is a young one");
}

#[test]
fn a_shield_that_an_operator_finds_stays_as_long_as_what_ran_then() {
    let held: &[(u32, char)] = &[(1, 'a'), (2, 'b')];
    let plans = plans(&ours(), &[held, held, held, held, &[(2, 'b')]]);
    assert!(plans[..3].concat().is_empty(), "{plans:?}");
    assert_eq!(plans[3], ["+b"]);
    assert_eq!(plans[4], ["-a", "+b"]);
}

#[test]
fn what_the_template_says_for_good_is_left_alone() {
    let never = json!({ "karpenter.sh/do-not-disrupt": "true" });
    let held: &[(u32, char)] = &[(1, 'a')];
    let looks = [held, held, held, held, held, &[]];
    assert!(plans(&never, &looks).concat().is_empty());
}

#[test]
fn a_worker_whose_pod_is_not_known_shields_nobody() {
    let mut shield = Shield::default();
    let leases = [(task(1), worker('v'))];
    let now = Instant::now();
    let pods = pods(&json!({}));
    shield.plan(&leases, &HashMap::new(), &pods, AFTER, now);
    let plan = shield.plan(&leases, &HashMap::new(), &pods, AFTER, now + AFTER);
    assert_eq!(plan, []);
}
