//! How the operator is installed.

use clap::Parser;
use taskqueue_operator::{
    config::{Config, RunArgs},
    reconcile::validate::{Allowed, Own, Sources},
};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    run: RunArgs,
}

fn config(flags: &[&str]) -> Result<Config, String> {
    let all = ["operator", "--worker-image", "worker:1"]
        .iter()
        .chain(flags);
    let parsed = Flags::try_parse_from(all).map_err(|error| error.to_string())?;
    Config::try_from(parsed.run).map_err(|error| error.to_string())
}

#[test]
fn what_is_left_empty_is_left_out() {
    let config = config(&[
        "--redis-url=",
        "--watch-namespace=",
        "--redis-namespaces=",
        "--own-account=",
        "--own-workloads=",
    ])
    .unwrap();
    assert_eq!(config.default_redis, None);
    assert_eq!(config.namespace, None);
    assert_eq!(config.worker_image.pull_policy, None);
    let own = Own {
        namespace: "default".to_owned(),
        ..Own::default()
    };
    let nothing_is_held_back = Allowed {
        own,
        ..Allowed::default()
    };
    assert_eq!(config.allowed, nothing_is_held_back);
    assert_eq!(config.allowed.sources, Sources::OwnRedis);
}

#[test]
fn whom_the_default_redis_serves_and_what_is_the_operators_own_is_read_from_lists() {
    let config = config(&[
        "--redis-url=redis://redis",
        "--redis-namespaces=shop,mail",
        "--sources=any-redis",
        "--own-account=operator",
        "--own-workloads=operator,redis",
        "--lease-namespace=system",
    ])
    .unwrap();
    let names = |names: [&str; 2]| names.map(ToOwned::to_owned).into();
    let expected = Allowed {
        default_redis: true,
        redis_namespaces: names(["mail", "shop"]),
        sources: Sources::AnyRedis,
        own: Own {
            namespace: "system".to_owned(),
            account: Some("operator".to_owned()),
            workloads: names(["operator", "redis"]),
        },
    };
    assert_eq!(config.allowed, expected);
}

#[test]
fn what_is_given_is_kept() {
    let config = config(&[
        "--redis-url",
        "redis://:hunter2@redis",
        "--watch-namespace",
        "shop",
        "--worker-image-pull-policy",
        "Never",
    ])
    .unwrap();
    assert_eq!(
        config.default_redis.as_ref().unwrap().expose(),
        "redis://:hunter2@redis"
    );
    assert_eq!(config.namespace.as_deref(), Some("shop"));
    assert_eq!(config.worker_image.pull_policy.as_deref(), Some("Never"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn an_unusable_redis_url_is_refused_by_its_flag_and_variable_without_showing_it() {
    let refusal = config(&["--redis-url", "http://:hunter2@redis"]).unwrap_err();
    for part in ["--redis-url", "TASKQUEUE_REDIS_URL", "redis://"] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert!(!refusal.contains("hunter2"), "{refusal}");
}

#[test]
fn resources_of_the_added_containers_are_read_and_what_is_misspelt_is_refused() {
    let given = r#"{"requests":{"cpu":1,"memory":"32Mi"},"limits":{"cpu":"1500m","memory":"64Mi","ephemeral-storage":"1Gi"}}"#;
    let config = |text: &str| config(&["--worker-resources", text]);
    assert_eq!(config("").unwrap().worker_image.resources, None);
    let read = config(given).unwrap().worker_image.resources;
    assert_eq!(
        serde_json::to_value(read).unwrap(),
        serde_json::json!({
            "requests": { "cpu": "1", "memory": "32Mi" },
            "limits": { "cpu": "1500m", "memory": "64Mi", "ephemeral-storage": "1Gi" }
        })
    );
    let table = [
        (r#"{"limits":{"cpus":"1"}}"#, "limits.cpus is no field"),
        (r#"{"limit":{"cpu":"1"}}"#, "limit is no field"),
        (
            r#"{"limits":{"memory":"64MB"}}"#,
            "limits.memory is \"64MB\"",
        ),
        (r#"{"requests":{"cpu":"1Gi"}}"#, "requests.cpu is \"1Gi\""),
        (r#"{"requests":{"cpu":"1."}}"#, "requests.cpu is"),
        (r#"{"requests":{"memory":""}}"#, "requests.memory is"),
        (r#"{"requests":{"memory":-1}}"#, "--worker-resources"),
        ("cpu=1", "--worker-resources"),
    ];
    for (text, part) in table {
        let refusal = config(text).unwrap_err();
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn which_redis_task_queues_may_name_is_read_and_what_is_no_such_list_is_refused() {
    let config = |list: &str| config(&["--redis-allowed", list]);
    let near = "127.0.0.1".parse().unwrap();
    let check = |list: &str| config(list).unwrap().redis_allowed.check("localhost", near);
    check("").unwrap_err();
    check("example.com,127.0.0.0/8").unwrap();
    let refused = config("example.com;10.0.0.0/8").unwrap_err();
    for part in ["--redis-allowed", "10.0.0.0/8", "example.com"] {
        assert!(refused.contains(part), "{refused}");
    }
}
