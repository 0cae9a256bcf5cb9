//! What a source remembers from look to look.
#![allow(clippy::unwrap_used)]

use taskqueue_api::spec::TargetKind;
use taskqueue_queue::{Policy, QueueName};
use taskqueue_scaling::{Pace, Target as Follows};
use taskqueue_sources::{List, Source};

use super::*;
use crate::{endpoint::EndpointUrl, targets::Target};

/// A plain list, of which a pod gets ten tasks.
fn sourced() -> Sourced {
    let orders = Orders {
        generation: 1,
        queue: QueueName::new("shop", "jobs").unwrap(),
        endpoint: EndpointUrl::parse("redis://redis:6379".to_owned()).unwrap(),
        policy: Policy::default(),
        scaling: taskqueue_scaling::Policy {
            mode: Mode::Auto,
            min: 0,
            max: 10,
            spare: 0,
            target: Follows::Backlog { per_replica: 10 },
            concurrency: 1,
            activation: 1,
            tolerance_permille: 0,
            up: Pace::default(),
            down: Pace::default(),
            wait_for_idle: true,
            idle: Duration::from_secs(30),
            windows: Vec::new(),
            hold_up: false,
            hold_down: false,
        },
        shield: None,
        source: Some(SourceOrders {
            source: Source::List(List {
                key: "jobs".to_owned(),
                in_flight_key: Some("running".to_owned()),
            }),
            seen: true,
            target: Target {
                namespace: "shop".to_owned(),
                kind: TargetKind::Deployment,
                name: "mailer".to_owned(),
            },
        }),
    };
    Sourced::new(Arc::new(orders), 1)
}

/// A look at so many seconds, with so many pods.
fn look(sourced: &mut Sourced, depth: &Depth, pods: u32, seconds: u64) -> Sight {
    let found = Found::There(TargetView {
        replicas: pods,
        existing: pods,
        ready: pods,
        ..TargetView::default()
    });
    let (now, at) = (Duration::from_secs(seconds), Timestamp::UNIX_EPOCH);
    sourced.look(Ok(depth.clone()), &found, now, at).sight
}

#[test]
fn a_rate_limit_counts_as_used_up_for_a_while_after_it_was() {
    let mut sourced = sourced();
    let mut at = |limited: bool, seconds| {
        let depth = Depth {
            runnable: 50,
            limited: limited.then_some(Duration::from_secs(1)),
            ..Depth::default()
        };
        look(&mut sourced, &depth, 2, seconds).decision.replicas
    };
    assert_eq!(at(false, 0), 5);
    assert_eq!(at(true, 1), 2);
    assert_eq!(at(false, 10), 2);
    assert_eq!(at(false, 11), 5);
}

#[test]
fn tasks_that_are_due_beside_idle_workers_for_five_minutes_are_not_moved_on() {
    let mut sourced = sourced();
    let due = |runnable| Depth {
        runnable,
        deferred: 1,
        deferred_due: 1,
        ..Depth::default()
    };
    let mut told = |runnable, pods, seconds| {
        let sight = look(&mut sourced, &due(runnable), pods, seconds);
        sight.source.unwrap().due_not_moved
    };
    assert!(!told(0, 1, 0));
    assert!(!told(0, 1, 299));
    assert!(told(0, 1, 300));
    // They have other things to do, or are not there.
    assert!(!told(1, 1, 301));
    assert!(!told(0, 1, 302));
    assert!(!told(0, 0, 603));
    assert!(!told(0, 1, 604));
    assert!(told(0, 1, 904));
}

#[test]
fn a_target_that_no_role_lets_the_operator_read_is_told_and_not_scaled() {
    let mut sourced = sourced();
    let depth = Depth {
        runnable: 50,
        ..Depth::default()
    };
    let found = Found::Refused("cannot list resource \"deployments\"".to_owned());
    let look = sourced.look(Ok(depth), &found, Duration::ZERO, Timestamp::UNIX_EPOCH);
    assert!(look.write.is_none());
    let trouble = look.sight.source.unwrap().trouble.unwrap();
    assert_eq!(trouble.reason, "RightMissing");
    assert!(!trouble.is_of_the_source());
    for part in ["cannot list resource", "sources.enabled"] {
        assert!(trouble.message.contains(part), "{}", trouble.message);
    }
}
