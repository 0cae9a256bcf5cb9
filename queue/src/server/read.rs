//! Reading what a server answers when it is asked about itself. What it refuses to tell is noted, and
//! is no error. Pure.

use std::collections::HashMap;

use redis::Value;

use super::hello::{Hello, Role, make_named, mode_named};
use super::{ServerReport, Unseen};

/// What is asked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Hello,
    /// A section of `INFO`. Each is asked on its own, which every server understands.
    Info(&'static str),
    /// A parameter of `CONFIG GET`, each on its own for the same reason.
    Config(&'static str),
}

impl Topic {
    pub(super) const ALL: [Self; 11] = [
        Self::Hello,
        Self::Info("server"),
        Self::Info("memory"),
        Self::Info("persistence"),
        Self::Info("replication"),
        Self::Config("min-replicas-to-write"),
        Self::Config("maxmemory-policy"),
        Self::Config("maxmemory"),
        Self::Config("appendonly"),
        Self::Config("appendfsync"),
        Self::Config("save"),
    ];

    /// The command, for messages.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Info(_) => "INFO",
            Self::Config(_) => "CONFIG GET",
        }
    }

    /// The right that it needs. `HELLO` needs none.
    fn right(self) -> Option<&'static str> {
        match self {
            Self::Hello => None,
            Self::Info(_) => Some("+info"),
            Self::Config(_) => Some("+config|get"),
        }
    }
}

/// Takes one answer into a report. Where two answers tell the same, the first stands.
pub(super) fn take(report: &mut ServerReport, topic: Topic, answer: &Value) {
    match (topic, answer) {
        (_, Value::ServerError(refusal)) => {
            let lacks = refusal.code() == "NOPERM";
            let said = refusal.details().unwrap_or_default();
            let said = format!("{} {said}", refusal.code());
            refuse(report, topic, lacks, &said);
        }
        (Topic::Hello, answer) => {
            let Hello {
                make,
                version,
                mode,
                role,
            } = Hello::read(answer);
            report.make = make;
            report.version = version;
            report.mode = mode;
            report.role = role;
        }
        (Topic::Info(_), answer) => match text(answer) {
            Some(text) => take_info(report, &text),
            None => refuse(report, topic, false, "no text"),
        },
        (Topic::Config(name), answer) => match fields(answer).get(name).and_then(|v| text(v)) {
            Some(value) => take_setting(report, name, value),
            None => refuse(report, topic, false, &format!("{name} is not told")),
        },
    }
}

/// Notes what is not told, once a command.
pub(super) fn refuse(report: &mut ServerReport, topic: Topic, lacks: bool, said: &str) {
    let command = topic.command();
    if report.unseen.iter().any(|unseen| unseen.command == command) {
        return;
    }
    report.unseen.push(Unseen {
        command,
        right: topic.right().filter(|_| lacks),
        said: said.chars().take(256).collect(),
    });
}

fn take_info(report: &mut ServerReport, text: &str) {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let info: HashMap<&str, &str> = lines.collect();
    let word = |name: &str| info.get(name).map(|value| (*value).to_owned());
    let number = |name: &str| info.get(name).and_then(|value| value.parse().ok());
    // Valkey tells the version of Redis that it is compatible with as well.
    let is_valkey = info.contains_key("valkey_version");
    let plain =
        info.contains_key("redis_version")
            .then_some(if is_valkey { "valkey" } else { "redis" });
    let make = info.get("server_name").copied().or(plain);
    let version = info.get("valkey_version").or(info.get("redis_version"));
    let mode = info.get("redis_mode").or(info.get("server_mode"));
    keep(&mut report.make, make.map(make_named));
    keep(
        &mut report.version,
        version.and_then(|version| version.parse().ok()),
    );
    keep(&mut report.mode, mode.and_then(|mode| mode_named(mode)));
    let role = info.get("role").and_then(|role| Role::named(role));
    keep(&mut report.role, role);
    let good = number("min_slaves_good_slaves");
    // The section on replication has that line only where some are wanted.
    let none_wanted = info.contains_key("role") && good.is_none();
    keep(&mut report.min_replicas, none_wanted.then_some(0));
    keep(&mut report.good_replicas, good);
    keep(&mut report.eviction_policy, word("maxmemory_policy"));
    keep(&mut report.used_memory, number("used_memory"));
    keep(&mut report.max_memory, number("maxmemory"));
    let log = info.get("aof_enabled").map(|flag| *flag == "1");
    keep(&mut report.append_only, log);
}

/// Make and version by the text of `INFO server`, for servers that do not know `HELLO`.
pub(crate) fn version_in_info(answer: &Value) -> Hello {
    let mut report = ServerReport::default();
    take(&mut report, Topic::Info("server"), answer);
    Hello {
        make: report.make,
        version: report.version,
        mode: report.mode,
        role: report.role,
    }
}

fn take_setting(report: &mut ServerReport, name: &str, value: String) {
    match name {
        "min-replicas-to-write" => keep(&mut report.min_replicas, value.parse().ok()),
        "maxmemory-policy" => keep(&mut report.eviction_policy, Some(value)),
        "maxmemory" => keep(&mut report.max_memory, value.parse().ok()),
        "appendonly" => keep(&mut report.append_only, Some(value == "yes")),
        "appendfsync" => keep(&mut report.fsync, Some(value)),
        "save" => keep(&mut report.snapshots, Some(value)),
        _ => {}
    }
}

fn keep<T>(place: &mut Option<T>, value: Option<T>) {
    if place.is_none() {
        *place = value;
    }
}

/// Names and values, as RESP2 (a flat array) or RESP3 (a map) tell them.
pub(super) fn fields(value: &Value) -> HashMap<String, &Value> {
    match value {
        Value::Map(pairs) => pairs
            .iter()
            .filter_map(|(name, value)| Some((text(name)?, value)))
            .collect(),
        Value::Array(values) => values
            .chunks_exact(2)
            .filter_map(|pair| Some((text(&pair[0])?, &pair[1])))
            .collect(),
        _ => HashMap::new(),
    }
}

/// A text as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}
