use taskqueue_e2e::{Patience, Story};

use crate::workload::Workload;

fn message(status: &taskqueue_api::TaskQueueStatus, kind: &str, truth: &str) -> Option<String> {
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == truth)?;
    Some(format!("{}: {}", condition.reason, condition.message))
}

/// A workload whose Redis URL is in the Secret `redis` under `url`.
fn from_secret() -> Workload {
    Workload {
        spec: "redis: {urlFrom: {secretKeyRef: {name: redis-url, key: url}}}",
        ..Workload::default()
    }
}

#[tokio::test]
async fn a_url_from_a_secret_is_used_and_its_password_is_shown_nowhere() {
    let story = Story::begin_with_own_redis("secret").await;
    story.apply(&from_secret().native());
    let status = story
        .status_until("work", "the Secret is missed", Patience::NORMAL, |status| {
            message(status, "Ready", "False").is_some()
        })
        .await;
    let missing = message(&status, "Ready", "False").unwrap();
    assert!(
        missing.contains("redis-url") && missing.contains("create it"),
        "{missing}"
    );

    let host = format!("redis.{}.svc:6379", story.namespace);
    let secret = format!("--from-literal=url=redis://nobody:hunter2@{host}");
    story.kubectl(&["create", "secret", "generic", "redis-url", &secret]);
    let status = story
        .status_until(
            "work",
            "the password is refused",
            Patience::NORMAL,
            |status| message(status, "RedisReachable", "False").is_some(),
        )
        .await;
    let refused = message(&status, "RedisReachable", "False").unwrap();
    assert!(refused.to_lowercase().contains("password"), "{refused}");
    let everything = story.kubectl(&["get", "tq,deploy,events", "-o", "yaml"]);
    assert!(!everything.contains("hunter2"), "the password is shown");

    let secret = format!(r#"{{"stringData":{{"url":"redis://{host}"}}}}"#);
    story.kubectl(&[
        "patch",
        "secret",
        "redis-url",
        "--type=merge",
        "-p",
        &secret,
    ]);
    // An edit is looked at once; without one the Secret is read again within a minute.
    story.enqueue("work", 3, "echo", "1").await;
    story.drained("work", 3, Patience::LONG).await;
}

#[tokio::test]
async fn plain_text_spoken_to_and_expected_from_redis_is_named() {
    let story = Story::begin_with_own_redis("tls").await;
    let workload = Workload {
        redis: Some(story.own_redis_url().replace("redis://", "rediss://")),
        ..Workload::default()
    };
    story.apply(&workload.native());
    let status = story
        .status_until(
            "work",
            "the mismatch is named",
            Patience::NORMAL,
            |status| message(status, "RedisReachable", "False").is_some(),
        )
        .await;
    let named = message(&status, "RedisReachable", "False").unwrap();
    assert!(
        named.contains("TLS") && named.contains("redis://"),
        "{named}"
    );
}
