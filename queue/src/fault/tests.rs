//! What servers of several makes and versions say, word for word, and what it means.

use redis::Value;

use super::*;

fn refusal(line: &str) -> ServerError {
    match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
        Ok(Value::ServerError(refusal)) => refusal,
        other => panic!("{line}: {other:?}"),
    }
}

fn faults(url: &str) -> Faults {
    Faults::new(&Endpoint::parse(url).unwrap(), Duration::from_secs(5))
}

/// Redis 7.0, then 7.2 to 8.2 and Valkey 8.1, then Valkey 9.1.
#[test]
fn a_right_that_is_missing_inside_a_script_is_one_on_every_server() {
    for line in [
        "ERR The user executing the script can't run this command or subcommand script: 7cb7f39c, \
         on @user_script:2.",
        "ERR The user executing the script can't access at least one of the keys mentioned in the \
         command arguments script: 30949304, on @user_script:1.",
        "ERR The user executing the script can't publish to the channel mentioned in the command \
         script: 313b8198, on @user_script:1.",
        "ERR ACL failure in script: User s has no permissions to run the 'hvals' command script: \
         7cb7f39c, on @user_script:2.",
        "ERR ACL failure in script: No permissions to access a key script: 30949304, on \
         @user_script:1.",
        "ERR ACL failure in script: No permissions to access a channel script: 313b8198, on \
         @user_script:1.",
        "ERR ACL failure in script: User s has no permissions to run the 'hvals' command script: \
         on @user_script:2.",
        "ERR ACL failure in script: No permissions to access a key script: on @user_script:1.",
        "ERR ACL failure in script: No permissions to access a channel script: on @user_script:1.",
        "NOPERM User none has no permissions to run the 'info' command",
    ] {
        let error = faults("redis://h").of_reply(&refusal(line), "enqueue");
        let Error::AuthFailed { reason, .. } = error else {
            panic!("{line}: {error:?}");
        };
        assert!(reason.starts_with("NOPERM: "), "{reason}");
    }
}

#[test]
fn a_command_that_is_not_known_is_read_out_of_every_wording() {
    for (line, wanted) in [
        (
            "ERR unknown command 'EVALSHA', with args beginning with: '0af3' '1' ",
            Some("EVALSHA"),
        ),
        (
            "ERR unknown command `time`, with args beginning with: ",
            Some("TIME"),
        ),
        ("ERR unknown command 'TIME'", Some("TIME")),
        ("ERR Unknown command: Script", Some("SCRIPT")),
        ("ERR unknown command", Some("")),
        ("ERR unknown subcommand 'LOAD'. Try SCRIPT HELP.", None),
        ("ERR Unknown Redis command called from script", None),
        ("ERR unknöwn command 'TIME'", None),
        ("ERR x", None),
    ] {
        let refusal = refusal(line);
        let found = unknown_command(refusal.details().unwrap_or_default());
        assert_eq!(found.as_deref(), wanted, "{line}");
    }
    let evalsha = refusal("ERR unknown command 'EVALSHA', with args beginning with: '0af3' ");
    let error = faults("redis://h").of_reply(&evalsha, "enqueue");
    assert!(matches!(error, Error::WrongServer { .. }), "{error:?}");
    let sort = refusal("ERR unknown command 'SORT_RO', with args beginning with: 'k' ");
    let error = faults("redis://h").of_reply(&sort, "command");
    assert!(matches!(error, Error::Script { .. }), "{error:?}");
}

#[test]
fn only_servers_known_to_be_too_old_are_called_that() {
    let hello = |make: Option<&str>, version: Option<&str>| Hello {
        make: make.map(str::to_owned),
        version: version.and_then(|version| version.parse().ok()),
        ..Hello::default()
    };
    let of_age = |hello: Hello| faults("redis://h").of_age(&hello);
    for old in [
        hello(Some("Redis"), Some("6.2.14")),
        hello(Some("Redis"), Some("6.99.99")),
        hello(None, Some("5.0.14")),
    ] {
        let error = of_age(old).unwrap();
        assert!(error.to_string().contains("it is Redis "), "{error}");
    }
    for fine in [
        hello(Some("Redis"), Some("7.0.0")),
        hello(Some("Redis"), Some("255.255.255")),
        hello(Some("Valkey"), Some("9.1.2")),
        hello(Some("other"), Some("1.0.0")),
        hello(Some("Redis"), None),
        hello(None, None),
    ] {
        assert_eq!(of_age(fine.clone()), None, "{fine:?}");
    }
}
