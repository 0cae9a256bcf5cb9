use taskqueue_e2e::{Patience, Story, eventually, redis_cli};
use taskqueue_queue::testing::tenant;

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
    // The operator asks for the version of the Secret every second.
    story.enqueue("work", 3, "echo", "1").await;
    story.drained("work", 3, Patience::NORMAL).await;
}

#[tokio::test]
async fn a_rotated_password_is_taken_up_without_a_restart_and_rolls_the_workers_out() {
    let story = Story::begin_with_own_redis("rotation").await;
    let host = format!("redis.{}.svc:6379", story.namespace);
    let redis = |arguments: &[&str]| {
        let mut all = vec!["exec", "deploy/redis", "--", "redis-cli"];
        all.extend(arguments);
        story.kubectl(&all)
    };
    // A user of its own, so that the story's way to Redis stays as it is.
    let user = |password: &str| {
        redis(&[
            "ACL",
            "SETUSER",
            "app",
            "on",
            "resetpass",
            &format!(">{password}"),
            "~*",
            "&*",
            "+@all",
        ]);
    };
    user("first");
    let url = |password: &str| format!("url=redis://app:{password}@{host}");
    story.kubectl(&[
        "create",
        "secret",
        "generic",
        "redis-url",
        "--from-literal",
        &url("first"),
    ]);
    let workload = Workload {
        min: 1,
        ..from_secret()
    };
    story.apply(&workload.native());
    story.enqueue("work", 3, "echo", "1").await;
    story.drained("work", 3, Patience::NORMAL).await;
    let before = mark(&story);

    user("second");
    // Whoever is connected stays so; the next connections are refused.
    redis(&["CLIENT", "KILL", "USER", "app"]);
    let edit = format!(r#"{{"stringData":{{"url":"redis://app:second@{host}"}}}}"#);
    story.kubectl(&["patch", "secret", "redis-url", "--type=merge", "-p", &edit]);
    eventually(
        "the workers are rolled out",
        Patience::NORMAL,
        async || match mark(&story) {
            after if after == before => Err(after),
            after => Ok(after),
        },
    )
    .await;
    story.enqueue("work", 3, "echo", "1").await;
    story.drained("work", 6, Patience::NORMAL).await;
    let everything = story.kubectl(&["get", "tq,deploy,pods,events", "-o", "yaml"]);
    assert!(!everything.contains("app:second"), "the password is shown");
}

#[tokio::test]
async fn a_user_of_one_namespace_in_a_secret_is_enough_for_its_queues_and_opens_no_other() {
    let story = Story::begin_with_own_redis("tenant").await;
    let rules = tenant(&story.namespace);
    let user: Vec<_> = ["ACL", "SETUSER", "app"]
        .into_iter()
        .chain(rules.split(' '))
        .collect();
    redis_cli(&story.redis, &user);
    let host = format!("redis.{}.svc:6379", story.namespace);
    let url = format!("url=redis://app:secret@{host}");
    story.kubectl(&[
        "create",
        "secret",
        "generic",
        "redis-url",
        "--from-literal",
        &url,
    ]);
    story.apply(&from_secret().native());
    story.enqueue("work", 20, "echo", "1").await;
    story.drained("work", 20, Patience::NORMAL).await;
    story
        .status_until("work", "back at zero", Patience::NORMAL, |status| {
            status.replicas == Some(0) && message(status, "Ready", "True").is_some()
        })
        .await;
    // Nothing was refused but the server's own settings, which a tenant may not see.
    let denied = redis_cli(&story.redis, &["ACL", "LOG"]);
    let lines: Vec<_> = denied.lines().collect();
    let objects = lines.windows(2).filter(|pair| pair[0] == "object");
    for object in objects.map(|pair| pair[1]) {
        assert!(["info", "config|get"].contains(&object), "{denied}");
    }

    let theirs = story.redis.replacen("://", "://app:secret@", 1);
    let key = "tq:{another/work}:config";
    let commands: [&[&str]; 4] = [
        &["HGETALL", key],
        &["DEL", key],
        &["KEYS", "*"],
        &["CONFIG", "GET", "*"],
    ];
    for command in commands {
        let told = redis_cli(&theirs, command);
        assert!(told.contains("NOPERM"), "{command:?}: {told}");
    }
}

/// The mark of the credentials in the pods' template.
fn mark(story: &Story) -> String {
    let path = "jsonpath={.spec.template.metadata.annotations.taskqueue\\.dev/redis-credentials}";
    story.kubectl(&["get", "deploy", "work", "-o", path])
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
