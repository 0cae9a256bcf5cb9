//! Which rights an ACL user needs, and which one a script lacked. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use redis::Arg;

use crate::script::{self, Script};

/// What every call of a script and every connection needs.
const ALWAYS: [&str; 4] = ["evalsha", "hmget", "script|load", "time"];
/// What workers, the operator and `tq` ask beside the scripts.
const PLAIN: [&str; 7] = [
    "blpop",
    "exists",
    "hgetall",
    "lrange",
    "ping",
    "subscribe",
    "xread",
];

/// The commands that workers, the operator and `tq` give.
pub(crate) fn of_everything() -> BTreeSet<String> {
    needed(script::ALL, &PLAIN)
}

/// The commands that producing, looking at a task and cancelling it are made of.
pub(crate) fn of_producers() -> BTreeSet<String> {
    let scripts = [
        &script::ENQUEUE,
        &script::FIND,
        &script::INSPECT,
        &script::REMOVE,
    ];
    needed(&scripts, &["ping"])
}

/// The commands of these scripts, and plain ones.
fn needed(scripts: &[&Script], plain: &[&str]) -> BTreeSet<String> {
    let called = scripts.iter().filter_map(|script| code(script));
    let called = called.flat_map(|code| commands(&code));
    let plain = plain.iter().chain(&ALWAYS).map(ToString::to_string);
    called.chain(plain).collect()
}

/// Adds to what the server said of a missing right the commands that stand in the script's line
/// where it was missing: Redis 7.0 says the line alone.
pub(crate) fn name_missing(reason: &mut String, script: &Script) {
    if reason.contains("to run the '") {
        return;
    }
    if let Some(commands) = line_named(reason).and_then(|line| commands_in(script, line)) {
        let _ = write!(
            reason,
            " (the script {} calls {commands} there)",
            script.name
        );
    }
}

/// The line in `… script: <digest>, on @user_script:<line>.`
fn line_named(reason: &str) -> Option<usize> {
    let (_, rest) = reason.split_once("@user_script:")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

fn commands_in(script: &Script, line: usize) -> Option<String> {
    let commands = commands(code(script)?.lines().nth(line)?);
    (!commands.is_empty()).then(|| commands.join(" and "))
}

/// As it is given to the server.
fn code(script: &Script) -> Option<String> {
    let load = script.load();
    let Some(Arg::Simple(code)) = load.args_iter().nth(2) else {
        return None;
    };
    String::from_utf8(code.to_vec()).ok()
}

/// The commands that code calls by name, such as `hget` or `xgroup|create`.
fn commands(code: &str) -> Vec<String> {
    let calls = code.split("call('").skip(1);
    let command = |call: &str| {
        let (command, rest) = call.split_once('\'')?;
        let command = command.to_lowercase();
        if command != "xgroup" {
            return Some(command);
        }
        let sub = rest.split('\'').nth(1)?.to_lowercase();
        Some(format!("{command}|{sub}"))
    };
    calls.filter_map(command).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the README writes them.
    fn written(commands: &BTreeSet<String>) -> String {
        let rights: Vec<_> = commands.iter().map(|right| format!("+{right}")).collect();
        rights.join(" ")
    }

    /// The commands that stand in the scripts are all that scripts call, so no test need walk every
    /// path through them. `tests/queue/acl.rs` runs everything with these rights.
    #[test]
    fn the_readme_names_the_rights_that_the_scripts_need() {
        let readme = include_str!("../README.md");
        for script in script::ALL {
            let code = code(script).unwrap();
            let calls = code.matches("redis.call(").count() + code.matches("redis.pcall(").count();
            assert_eq!(
                calls,
                commands(&code).len(),
                "{} hides a command",
                script.name
            );
        }
        let producer = written(&of_producers());
        let everything = written(&of_everything());
        for (who, rights) in [("producer", producer), ("everything", everything)] {
            assert!(
                readme.contains(&format!("`{rights}`")),
                "the README should name these as the rights of {who}: {rights}"
            );
        }
    }

    #[test]
    fn the_line_of_a_script_names_the_right_that_was_missing_there() {
        let code = code(&script::ENQUEUE).unwrap();
        let line = code
            .lines()
            .position(|line| line.contains("'PUBLISH'"))
            .unwrap()
            + 1;
        let mut reason = format!("no right script: 0af3, on @user_script:{line}.");
        name_missing(&mut reason, &script::ENQUEUE);
        assert!(
            reason.ends_with("(the script enqueue calls publish there)"),
            "{reason}"
        );
        for told in [
            "no right",
            "on @user_script:0.",
            "on @user_script:99999.",
            "@user_script:x",
            "User s has no permissions to run the 'hget' command script: on @user_script:2.",
        ] {
            let mut reason = told.to_owned();
            name_missing(&mut reason, &script::ENQUEUE);
            assert_eq!(reason, told);
        }
    }
}
