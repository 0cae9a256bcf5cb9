//! What follows from each error.

use std::{collections::BTreeSet, time::Duration};

use kube::{core::Status, runtime::controller::Action};
use serde_json::json;
use taskqueue_operator::reconcile::{
    apply::ApplyError,
    error::{Error, Follow, action},
    observe::ObserveError,
    validate::Invalid,
};

fn refusal(code: u16) -> kube::Error {
    kube::Error::Api(Box::new(
        Status::failure("quota exceeded", "Whatever").with_code(code),
    ))
}

/// As the API server words what no role allows.
fn unauthorized() -> kube::Error {
    let words = "secrets \"a\" is forbidden: User \"system:serviceaccount:system:operator\" cannot get resource \"secrets\" in API group \"\" in the namespace \"shop\"";
    kube::Error::Api(Box::new(Status::failure(words, "Forbidden").with_code(403)))
}

fn observe(code: u16) -> Error {
    Error::Observe(ObserveError::Api {
        what: "Secret",
        name: "a".to_owned(),
        source: refusal(code),
    })
}

fn apply(code: u16) -> Error {
    Error::Apply(ApplyError::Api {
        what: "Deployment",
        name: "a".to_owned(),
        source: refusal(code),
    })
}

fn unusable_url() -> taskqueue_queue::Error {
    taskqueue_queue::Endpoint::parse("http://a").unwrap_err()
}

fn table() -> Vec<(Error, Follow, &'static str)> {
    let name = || "a".to_owned();
    vec![
        (Error::Malformed(name()), Follow::WaitForEdit, "Malformed"),
        (Error::TooLarge(name()), Follow::WaitForEdit, "InvalidSpec"),
        (
            Error::Invalid(Invalid::NoRedis),
            Follow::WaitForEdit,
            "InvalidSpec",
        ),
        (
            Error::Conflict {
                queue: name(),
                holder: name(),
            },
            Follow::Recheck(Duration::from_mins(1)),
            "QueueNameConflict",
        ),
        (
            Error::Observe(ObserveError::NoDefaultRedis),
            Follow::WaitForEdit,
            "NoRedis",
        ),
        (
            Error::Observe(ObserveError::SecretMissing {
                namespace: name(),
                name: name(),
                field: "spec.redis.urlFrom",
            }),
            Follow::BackOff,
            "SecretMissing",
        ),
        (
            Error::Observe(ObserveError::SecretKeyMissing {
                name: name(),
                key: name(),
                field: "spec.redis.urlFrom",
            }),
            Follow::BackOff,
            "SecretMissing",
        ),
        (
            Error::Observe(ObserveError::SecretTooLong {
                name: name(),
                key: name(),
                length: 65_537,
            }),
            Follow::BackOff,
            "InvalidRedisUrl",
        ),
        (
            Error::Observe(ObserveError::RedisUrl(unusable_url())),
            Follow::BackOff,
            "InvalidRedisUrl",
        ),
        (observe(500), Follow::BackOff, "ReadFailed"),
        (observe(403), Follow::BackOff, "ReadFailed"),
        (
            Error::Observe(ObserveError::Api {
                what: "Secret",
                name: name(),
                source: unauthorized(),
            }),
            Follow::BackOff,
            "RightMissing",
        ),
        (
            Error::Apply(ApplyError::Api {
                what: "Secret",
                name: name(),
                source: unauthorized(),
            }),
            Follow::BackOff,
            "RightMissing",
        ),
        (
            Error::Apply(ApplyError::NotOurs {
                what: "Deployment",
                name: name(),
            }),
            Follow::BackOff,
            "NameTaken",
        ),
        (apply(422), Follow::WaitForEdit, "Refused"),
        (apply(400), Follow::WaitForEdit, "Refused"),
        // A quota or a webhook may let it pass later, and a namespace may end.
        (apply(403), Follow::BackOff, "ApplyFailed"),
        (apply(409), Follow::BackOff, "ApplyFailed"),
        (apply(500), Follow::BackOff, "ApplyFailed"),
        (apply(503), Follow::BackOff, "ApplyFailed"),
    ]
}

#[test]
fn each_error_waits_for_an_edit_is_looked_at_again_or_backs_off() {
    for (error, follow, reason) in table() {
        assert_eq!(error.follow(), follow, "{error:?}");
        assert_eq!(error.reason(), reason, "{error:?}");
        let expected = match follow {
            Follow::WaitForEdit => Action::await_change(),
            Follow::Recheck(after) => Action::requeue(after),
            Follow::BackOff => Action::requeue(Duration::from_secs(1)),
        };
        assert_eq!(action(&error, 1), expected, "{error:?}");
    }
}

#[test]
fn a_right_that_is_missing_is_named_with_the_value_of_the_chart_that_gives_it() {
    let error = Error::Observe(ObserveError::Api {
        what: "Secret",
        name: "redis".to_owned(),
        source: unauthorized(),
    });
    let told = error.problem(Some(1)).message;
    for part in [
        "cannot get resource \"secrets\"",
        "namespace \"shop\"",
        "rbac.secrets",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn each_reason_is_one_that_a_condition_takes() {
    for (error, _, reason) in table() {
        let problem = error.problem(Some(1));
        assert_eq!(problem.reason, reason);
        assert!(
            reason.chars().all(|letter| letter.is_ascii_alphabetic()),
            "{reason}"
        );
        assert_eq!(problem.conflict, matches!(error, Error::Conflict { .. }));
    }
}

#[test]
fn what_ends_with_its_namespace_waits_and_is_no_news() {
    let cause = json!({ "reason": "NamespaceTerminating", "message": "shop is being terminated" });
    let status = json!({ "code": 403, "message": "forbidden", "details": { "causes": [cause] } });
    let error = Error::Apply(ApplyError::Api {
        what: "Deployment",
        name: "a".to_owned(),
        source: kube::Error::Api(serde_json::from_value(status).unwrap()),
    });
    assert_eq!(error.reason(), "NamespaceTerminating");
    assert_eq!(error.follow(), Follow::WaitForEdit);
    assert!(!error.is_news());
}

#[test]
fn what_came_in_between_is_looked_at_anew_and_is_no_news() {
    let error = apply(409);
    assert_eq!(error.follow(), Follow::BackOff);
    assert!(!error.is_news());
    let told = table().into_iter().filter(|(error, ..)| error.is_news());
    assert_eq!(told.count(), table().len() - 1, "everything else is told");
}

#[test]
fn backing_off_takes_longer_each_time_and_at_most_five_minutes() {
    let waits: Vec<_> = (1..=12)
        .map(|failures| action(&apply(500), failures))
        .collect();
    let seconds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300];
    assert_eq!(
        waits,
        seconds.map(|wait| Action::requeue(Duration::from_secs(wait)))
    );
    let longest = Action::requeue(Duration::from_mins(5));
    assert_eq!(action(&apply(500), u32::MAX), longest);
    assert_eq!(
        action(&apply(500), 0),
        Action::requeue(Duration::from_secs(1))
    );
}

#[test]
fn waiting_and_rechecking_do_not_grow() {
    for (error, follow, _) in table() {
        if follow != Follow::BackOff {
            assert_eq!(action(&error, 1), action(&error, 100), "{error:?}");
        }
    }
}

#[test]
fn the_message_holds_the_cause_once_and_is_bounded() {
    let message = apply(403).chain();
    assert!(
        message.starts_with("cannot apply Deployment a: "),
        "{message}"
    );
    assert_eq!(message.matches("quota exceeded").count(), 1, "{message}");
    for letter in ["a", "ß", "€", "🦀"] {
        let long = Error::Malformed(letter.repeat(5000)).chain();
        assert!(long.len() <= 1003 && long.ends_with('…'), "{}", long.len());
    }
}

#[test]
fn the_messages_name_what_to_do() {
    let messages: BTreeSet<_> = table()
        .into_iter()
        .map(|(error, ..)| error.chain())
        .collect();
    for fix in [
        "give this one another spec.queueName",
        "create it",
        "named in spec.redis.urlFrom.secretKeyRef",
        "rename one of the two",
    ] {
        assert!(
            messages.iter().any(|message| message.contains(fix)),
            "{fix}"
        );
    }
}
