use redis::Value;

use super::read::{Topic, take, version_in_info};
use super::*;

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

/// As RESP2 gives names and values.
fn pairs(pairs: &[(&str, &str)]) -> Value {
    let flat = pairs.iter().flat_map(|(name, value)| [*name, *value]);
    Value::Array(flat.map(text).collect())
}

fn hello(make: &str, version: &str, mode: &str, role: &str) -> Value {
    pairs(&[
        ("server", make),
        ("version", version),
        ("mode", mode),
        ("role", role),
    ])
}

fn report(answers: &[(Topic, Value)]) -> ServerReport {
    let mut report = ServerReport::new("redis:6379");
    for (topic, answer) in answers {
        take(&mut report, *topic, answer);
    }
    report
}

/// What an error looks like that a server answers.
fn refusal(line: &str) -> Value {
    let bytes = format!("-{line}\r\n");
    match redis::parse_redis_value(bytes.as_bytes()) {
        Ok(value) => value,
        Err(fault) => panic!("{line}: {fault}"),
    }
}

/// One of which nothing bad can be said.
fn safe() -> ServerReport {
    ServerReport {
        make: Some("Redis".to_owned()),
        version: Some(Version::new(7, 0, 15)),
        mode: Some(Mode::Standalone),
        role: Some(Role::Primary),
        min_replicas: Some(0),
        eviction_policy: Some("noeviction".to_owned()),
        used_memory: Some(10 << 20),
        max_memory: Some(100 << 20),
        append_only: Some(true),
        fsync: Some("everysec".to_owned()),
        snapshots: Some(String::new()),
        ..ServerReport::new("redis:6379")
    }
}

#[test]
fn every_user_sees_make_version_mode_and_role() {
    let denied = "NOPERM this user has no permissions to run the 'info' command";
    let report = report(&[
        (Topic::Hello, hello("valkey", "9.1.2", "cluster", "replica")),
        (Topic::Info("memory"), refusal(denied)),
        (Topic::Info("server"), refusal(denied)),
        (
            Topic::Config("save"),
            refusal("ERR unknown command 'CONFIG', with args beginning with: 'GET' 'save'"),
        ),
    ]);
    assert_eq!(report.name(), "Valkey 9.1.2");
    assert_eq!(report.mode, Some(Mode::Cluster));
    assert_eq!(report.role, Some(Role::Replica));
    assert_eq!(report.missing_rights(), ["+info"]);
    let commands: Vec<_> = report.unseen.iter().map(|unseen| unseen.command).collect();
    assert_eq!(commands, ["INFO", "CONFIG GET"]);
    assert_eq!(report.unseen[1].right, None);
    assert_eq!(report.to_string(), "Valkey 9.1.2 at redis:6379, replica");
}

#[test]
fn the_rest_is_read_from_info_or_from_config() {
    let memory = "# Memory\r\nused_memory:1021152\r\nmaxmemory:2097152\r\n\
                  maxmemory_policy:allkeys-lru\r\n";
    let by_info = report(&[
        (
            Topic::Info("server"),
            text("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n"),
        ),
        (Topic::Info("memory"), text(memory)),
        (Topic::Info("persistence"), text("aof_enabled:0\r\n")),
        (Topic::Info("replication"), text("role:slave\r\n")),
    ]);
    assert_eq!(by_info.name(), "Valkey 9.1.2");
    assert_eq!(by_info.role, Some(Role::Replica));
    assert_eq!(by_info.eviction_policy.as_deref(), Some("allkeys-lru"));
    assert_eq!(by_info.used_memory, Some(1_021_152));
    assert_eq!(by_info.max_memory, Some(2_097_152));
    assert_eq!(by_info.append_only, Some(false));
    assert_eq!(by_info.snapshots, None);

    assert_eq!(by_info.min_replicas, Some(0));

    let setting = |name: &'static str, value| (Topic::Config(name), pairs(&[(name, value)]));
    let by_config = report(&[
        setting("min-replicas-to-write", "2"),
        setting("maxmemory-policy", "noeviction"),
        setting("maxmemory", "0"),
        setting("appendonly", "yes"),
        setting("appendfsync", "always"),
        setting("save", "3600 1 300 100"),
    ]);
    assert_eq!(by_config.eviction_policy.as_deref(), Some("noeviction"));
    assert_eq!(by_config.min_replicas, Some(2));
    assert_eq!(by_config.max_memory, Some(0));
    assert_eq!(by_config.append_only, Some(true));
    assert_eq!(by_config.fsync.as_deref(), Some("always"));
    assert_eq!(by_config.snapshots.as_deref(), Some("3600 1 300 100"));
}

#[test]
fn odd_answers_are_unknown_and_never_fine() {
    for answer in [
        Value::Nil,
        Value::Int(1),
        Value::Okay,
        text(""),
        text(":::\nmaxmemory:x\nused_memory:-1\n"),
        Value::Array(vec![Value::Nil, Value::Int(3), text("server")]),
        Value::Array(Vec::new()),
    ] {
        for topic in Topic::ALL {
            let report = report(&[(topic, answer.clone())]);
            for setting in Setting::ALL {
                assert_eq!(
                    report.judge(setting),
                    Judgement::Unknown,
                    "{topic:?} {answer:?}"
                );
            }
        }
    }
}

#[test]
fn a_version_is_read_as_far_as_it_goes() {
    for (text, wanted) in [
        ("7.0.15", Some(Version::new(7, 0, 15))),
        ("9.1.2-rc1", Some(Version::new(9, 1, 2))),
        ("8.0", Some(Version::new(8, 0, 0))),
        ("255.255.255", Some(Version::new(255, 255, 255))),
        ("", None),
        ("v7", None),
        ("99999999999.1", None),
    ] {
        assert_eq!(text.parse().ok(), wanted, "{text}");
    }
    let old = version_in_info(&text("redis_version:5.0.14\r\nredis_mode:standalone\r\n"));
    assert_eq!(old.version, Some(Version::new(5, 0, 14)));
    assert_eq!(old.make.as_deref(), Some("Redis"));
}

/// Each setting that breaks a promise, what it is called, and words of what it breaks and of the fix.
#[test]
fn each_setting_that_breaks_a_promise_is_told_with_its_fix() {
    type Spoil = fn(&mut ServerReport);
    let cases: [(Spoil, &str, &str, &[&str]); 10] = [
        (
            |r| r.eviction_policy = Some("allkeys-lfu".into()),
            "maxmemory-policy",
            "EvictsTasks",
            &[
                "is allkeys-lfu",
                "deletes tasks",
                "CONFIG SET maxmemory-policy noeviction",
            ],
        ),
        (
            |r| {
                r.eviction_policy = Some("allkeys-lru".into());
                r.max_memory = Some(0);
            },
            "maxmemory-policy",
            "EvictsTasks",
            &["once it has a maxmemory"],
        ),
        (
            |r| r.eviction_policy = Some("a-policy-of-tomorrow".into()),
            "maxmemory-policy",
            "EvictsTasks",
            &["a-policy-of-tomorrow"],
        ),
        (
            |r| r.eviction_policy = Some("volatile-ttl".into()),
            "maxmemory-policy",
            "EvictsRecords",
            &[
                "is volatile-ttl",
                "records of ended tasks",
                "counts twice",
                "noeviction",
            ],
        ),
        (
            |r| r.append_only = Some(false),
            "appendonly",
            "NotPersisted",
            &[
                "save is empty",
                "loses every task",
                "CONFIG SET appendonly yes",
            ],
        ),
        (
            |r| r.used_memory = Some(90 << 20),
            "maxmemory",
            "NearlyFull",
            &[
                "90 % of maxmemory (100 MiB)",
                "enqueues are refused",
                "raise maxmemory",
            ],
        ),
        (
            |r| r.used_memory = Some(u64::MAX),
            "maxmemory",
            "NearlyFull",
            &["% of maxmemory"],
        ),
        (
            |r| r.role = Some(Role::Replica),
            "role",
            "Replica",
            &["role is replica", "refuses every write", "primary"],
        ),
        (
            |r| r.version = Some(Version::new(6, 2, 14)),
            "version",
            "TooOld",
            &["is 6.2.14", "7.0"],
        ),
        (
            |r| (r.min_replicas, r.good_replicas) = (Some(2), Some(1)),
            "min-replicas-to-write",
            "TooFewReplicas",
            &[
                "min-replicas-to-write is 2 and 1 follow",
                "refuses every write",
                "CONFIG SET min-replicas-to-write 1",
            ],
        ),
    ];
    for (spoil, setting, reason, words) in cases {
        let mut report = safe();
        spoil(&mut report);
        let risks = report.risks();
        assert_eq!(risks.len(), 1, "{reason}: {risks:?}");
        assert_eq!(risks[0].setting().name(), setting);
        assert_eq!(risks[0].reason(), reason);
        let told = risks[0].to_string();
        for word in words {
            assert!(told.contains(word), "{told} should contain {word:?}");
        }
    }
}

#[test]
fn what_breaks_no_promise_is_no_risk() {
    type Change = fn(&mut ServerReport);
    let cases: [Change; 7] = [
        |_| {},
        |r| (r.min_replicas, r.good_replicas) = (Some(2), Some(2)),
        // Snapshots alone lose what came after the last one, which is what was asked for.
        |r| {
            r.append_only = Some(false);
            r.snapshots = Some("3600 1".into());
        },
        |r| r.max_memory = Some(0),
        |r| r.used_memory = Some((90 << 20) - 1),
        |r| {
            r.make = Some("Valkey".into());
            r.version = Some(Version::new(7, 2, 4));
        },
        // Of other makes no version is known to be too old.
        |r| {
            r.make = Some("dragonfly".into());
            r.version = Some(Version::new(1, 2, 3));
        },
    ];
    for change in cases {
        let mut report = safe();
        change(&mut report);
        assert_eq!(report.risks(), []);
        let safety = Safety::of(&[report]);
        assert_eq!(safety.untold(), None);
        for setting in Setting::ALL {
            assert_eq!(safety.is_unsafe(setting), Some(false));
        }
    }
}

#[test]
fn without_rights_most_is_unknown_and_the_rights_are_named() {
    let denied = refusal("NOPERM User w has no permissions to run the 'info' command");
    let report = report(&[
        (
            Topic::Hello,
            hello("redis", "7.0.15", "standalone", "master"),
        ),
        (Topic::Info("memory"), denied.clone()),
        (Topic::Config("save"), denied),
    ]);
    let safety = Safety::of(&[report]);
    assert_eq!(safety.findings, []);
    assert_eq!(safety.is_unsafe(Setting::Role), Some(false));
    assert_eq!(safety.is_unsafe(Setting::Eviction), None);
    let told = safety.untold().unwrap_or_default();
    assert_eq!(
        told,
        "min-replicas-to-write, maxmemory-policy, maxmemory, appendonly cannot be seen; the user would see more with \
         +config|get +info"
    );
    // Nothing at all is known of none.
    assert_eq!(Safety::of(&[]).unknown, Setting::ALL);
}

#[test]
fn one_risk_of_many_servers_is_told_once_and_the_gravest_first() {
    let at = |address: &str| ServerReport {
        address: address.to_owned(),
        ..safe()
    };
    let evicting = |address| ServerReport {
        eviction_policy: Some("allkeys-lru".to_owned()),
        ..at(address)
    };
    let unsaved = ServerReport {
        append_only: Some(false),
        ..evicting("c:1")
    };
    let safety = Safety::of(&[at("a:1"), evicting("b:1"), unsaved]);
    let told: Vec<_> = safety
        .findings
        .iter()
        .map(|finding| (finding.risk.reason(), finding.servers.clone()))
        .collect();
    let servers = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            ("EvictsTasks", servers(&["b:1", "c:1"])),
            ("NotPersisted", servers(&["c:1"]))
        ]
    );
    let words = safety.findings[0].to_string();
    assert!(
        words.ends_with("(so on 2 of 3 servers, such as b:1)"),
        "{words}"
    );
    // A node that has the risk says more than one that cannot be seen.
    let safety = Safety::of(&[ServerReport::new("x:1"), evicting("b:1")]);
    assert_eq!(safety.is_unsafe(Setting::Eviction), Some(true));
    assert_eq!(safety.is_unsafe(Setting::Persistence), None);
}

#[test]
fn only_what_is_new_or_has_changed_is_news() {
    let with = |policy: &str, used: u64| {
        Safety::of(&[ServerReport {
            eviction_policy: Some(policy.to_owned()),
            used_memory: Some(used),
            ..safe()
        }])
    };
    let reasons = |now: &Safety, before: &Safety| {
        let news = now.news(before).map(|finding| finding.risk.reason());
        news.collect::<Vec<_>>()
    };
    let (none, full) = (Safety::default(), with("allkeys-lru", 91 << 20));
    assert_eq!(reasons(&full, &none), ["EvictsTasks", "NearlyFull"]);
    // A little more memory is no news.
    assert_eq!(reasons(&with("allkeys-lru", 93 << 20), &full), [""; 0]);
    assert_eq!(
        reasons(&with("allkeys-lru", 96 << 20), &full),
        ["NearlyFull"]
    );
    assert_eq!(
        reasons(&with("volatile-lru", 91 << 20), &full),
        ["EvictsRecords"]
    );
    assert_eq!(reasons(&with("noeviction", 1), &full), [""; 0]);
}
