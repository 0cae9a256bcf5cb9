//! What the status tells of the settings of a queue's Redis.

use std::sync::Arc;

use taskqueue_api::TaskQueueStatus;
use taskqueue_operator::{
    index::{Entry, Sight},
    status::build::build,
};
use taskqueue_queue::server::{Mode, Role, Safety, ServerReport, Unseen, Version};

use super::status::{at, condition, entry, first};
use crate::fixtures::{evicting, key, sight, snapshot, source_orders};

fn with(safety: &Arc<Safety>, sight: Sight) -> Entry {
    Entry {
        safety: Some(Arc::clone(safety)),
        ..entry(&[], Some(sight))
    }
}

fn readable() -> Sight {
    sight(Ok(snapshot()))
}

fn away() -> Sight {
    sight(Err("Redis at redis:6379 is unreachable: refused".to_owned()))
}

/// One of which all was seen and nothing is bad.
fn sound() -> ServerReport {
    ServerReport {
        make: Some("Valkey".to_owned()),
        version: Some(Version::new(9, 1, 2)),
        mode: Some(Mode::Standalone),
        role: Some(Role::Primary),
        min_replicas: Some(0),
        eviction_policy: Some("noeviction".to_owned()),
        used_memory: Some(1),
        max_memory: Some(0),
        append_only: Some(true),
        ..ServerReport::new("redis:6379")
    }
}

fn safety_of(report: ServerReport) -> Arc<Safety> {
    Arc::new(Safety::of(&[report]))
}

/// Status and reason of the condition, and its message.
fn told(entry: &Entry) -> (String, String, String) {
    let status = first(entry, None);
    let found = condition(&status, "RedisUnsafe");
    (
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    )
}

#[test]
fn a_setting_that_puts_tasks_at_risk_is_told_with_what_it_breaks_and_the_fix() {
    for sight in [readable(), away()] {
        let (status, reason, message) = told(&with(&evicting(), sight));
        assert_eq!((status.as_str(), reason.as_str()), ("True", "EvictsTasks"));
        for words in [
            "maxmemory-policy is allkeys-lru",
            "deletes tasks",
            "CONFIG SET maxmemory-policy noeviction",
        ] {
            assert!(message.contains(words), "{message}");
        }
    }
    // The gravest first, and all of them.
    let two = safety_of(ServerReport {
        role: Some(Role::Replica),
        eviction_policy: Some("volatile-lru".to_owned()),
        ..sound()
    });
    let (_, reason, message) = told(&with(&two, readable()));
    assert_eq!(reason, "Replica");
    assert!(
        message.contains(". Also: maxmemory-policy is volatile-lru"),
        "{message}"
    );
}

#[test]
fn what_was_seen_and_is_fine_is_false_and_what_was_not_seen_is_unknown() {
    let (status, reason, _) = told(&with(&safety_of(sound()), readable()));
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Safe"));
    let unseen = safety_of(ServerReport {
        eviction_policy: None,
        unseen: vec![Unseen {
            command: "INFO",
            right: Some("+info"),
            said: "NOPERM".to_owned(),
        }],
        ..sound()
    });
    let (status, reason, message) = told(&with(&unseen, readable()));
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NotSeen"));
    assert_eq!(
        message,
        "maxmemory-policy cannot be seen; the user would see more with +info"
    );
    let (status, reason, _) = told(&with(&safety_of(sound()), away()));
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("Unknown", "RedisUnreachable")
    );
}

#[test]
fn before_the_first_look_the_condition_stands_as_it_did() {
    let has = |status: &TaskQueueStatus| {
        let mut all = status.conditions.iter();
        all.any(|one| one.type_ == "RedisUnsafe")
    };
    assert!(!has(&first(&entry(&[], Some(readable())), None)));
    let before = first(&with(&evicting(), readable()), None);
    let after = build(&key(), &entry(&[], Some(readable())), None, &before, at(9));
    assert_eq!(
        condition(&after, "RedisUnsafe"),
        condition(&before, "RedisUnsafe")
    );
}

#[test]
fn of_a_source_only_what_concerns_any_queue_is_told() {
    let of_source = |safety: Arc<Safety>| {
        let orders = Arc::new(source_orders(&[]));
        told(&Entry {
            orders: Some(Ok(Arc::clone(&orders))),
            standing: Some(orders),
            safety: Some(safety),
            ..entry(&[], Some(readable()))
        })
    };
    assert_eq!(of_source(evicting()).1, "EvictsTasks");
    let ours_alone = safety_of(ServerReport {
        make: Some("Redis".to_owned()),
        version: Some(Version::new(6, 2, 14)),
        role: Some(Role::Replica),
        eviction_policy: Some("volatile-lru".to_owned()),
        ..sound()
    });
    assert_eq!(of_source(ours_alone).0, "False");
}

#[test]
fn tasks_that_are_gone_are_told_before_the_setting_that_took_them() {
    let lost = Sight {
        missing: 12,
        ..readable()
    };
    let (status, reason, message) = told(&with(&evicting(), lost.clone()));
    assert_eq!((status.as_str(), reason.as_str()), ("True", "TasksMissing"));
    assert!(
        message.starts_with("12 tasks are gone from Redis"),
        "{message}"
    );
    assert!(
        message.contains("maxmemory-policy is allkeys-lru"),
        "{message}"
    );
    // Also where no setting was seen.
    let (status, reason, _) = told(&entry(&[], Some(lost)));
    assert_eq!((status.as_str(), reason.as_str()), ("True", "TasksMissing"));
}
