//! Every Lua script of this crate, put together from its file, the keys and arguments it declares and the
//! shared pieces it needs, and the call of one. Loading what the server does not know is in `link`.

mod arg;

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::Cmd;

pub(crate) use self::arg::{Arg, Args};
use crate::keys::{Key, Keys};

/// What a script is for, which decides what the server lets it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only reads.
    Reads,
    /// Brings new tasks, or news of them. A server whose memory is full refuses it at its first write,
    /// but checks no other: so that must be one that takes memory.
    Adds,
    /// Keeps tasks on their way, takes them out or changes how they are treated. A server whose memory
    /// is full lets it through, or it would stay full.
    Tends,
}

impl Kind {
    /// The first line of the script, by which the server knows.
    const fn first_line(self) -> &'static str {
        match self {
            Self::Reads => "#!lua flags=no-writes\n",
            // With a line of its own it would be refused even where it has nothing to write.
            Self::Adds => "",
            Self::Tends => "#!lua flags=allow-oom\n",
        }
    }
}

/// A script, known to the server by its digest.
pub(crate) struct Script {
    /// Its file's name, for messages.
    pub(crate) name: &'static str,
    #[cfg(test)]
    pub(crate) kind: Kind,
    keys: &'static [Key],
    #[cfg(test)]
    args: &'static [&'static str],
    #[cfg(test)]
    body: &'static str,
    code: LazyLock<Code>,
}

struct Code {
    text: String,
    digest: String,
}

/// The code of a script: what it is for, the names of its keys and arguments, what all scripts share, and
/// its own.
fn code(kind: Kind, keys: &[Key], args: &[&str], body: &str) -> Code {
    let names: Vec<String> = keys.iter().map(|key| key.part().to_uppercase()).collect();
    let count = keys.len();
    let mut text = kind.first_line().to_owned();
    #[cfg(test)]
    text.push_str(include_str!("scripts/no_numbers.lua"));
    let _ = writeln!(
        text,
        "local {} = unpack(KEYS, 1, {count})",
        names.join(", ")
    );
    let _ = writeln!(text, "local LEVELS = tonumber(ARGV[1])");
    // Behind the number of levels and the version.
    let rest = 3 + args.len();
    let _ = writeln!(text, "local REST = {rest}");
    if !args.is_empty() {
        let names = args.join(", ");
        let _ = writeln!(text, "local {names} = unpack(ARGV, 3, {})", rest - 1);
    }
    let _ = writeln!(
        text,
        "local FIRST_LIST, LAST_LIST = {}, {count} + LEVELS",
        count + 1
    );
    text.push_str(include_str!("scripts/shared/base.lua"));
    text.push_str(&whole(body));
    let digest = redis::Script::new(&text).get_hash().to_owned();
    Code { text, digest }
}

/// A script with each line `include 'name'` replaced by that piece of `scripts/shared`, and by those
/// that the piece includes before it, each once. Where the line is inside a block, so is what the piece
/// declares: it is not made when the block is not entered, and not seen behind it.
fn whole(body: &str) -> String {
    let (mut text, mut seen) = (String::new(), Vec::new());
    expand(body, 0, &mut seen, &mut text);
    text
}

/// `seen` are the pieces that can be seen at this line, and how far the lines that included them are
/// indented.
fn expand(body: &str, indent: usize, seen: &mut Vec<(usize, &'static str)>, text: &mut String) {
    for line in body.lines() {
        let code = line.trim_start();
        let indent = indent + line.len() - code.len();
        if !code.is_empty() {
            seen.retain(|(at, _)| *at <= indent);
        }
        let Some(name) = included(code) else {
            let _ = writeln!(text, "{:indent$}{code}", "");
            continue;
        };
        let Some((name, piece)) = piece(name) else {
            // A test finds it.
            text.push_str("error('there is no piece of this name')\n");
            continue;
        };
        if !seen.iter().any(|(_, other)| *other == name) {
            seen.push((indent, name));
            expand(piece, indent, seen, text);
        }
    }
}

/// The piece that a line includes, if it does.
fn included(line: &str) -> Option<&str> {
    line.strip_prefix("include '")?.strip_suffix('\'')
}

macro_rules! pieces {
    ($($name:literal)*) => {
        /// What scripts share, by name.
        fn piece(name: &str) -> Option<(&'static str, &'static str)> {
            match name {
                $($name => Some(($name, include_str!(concat!("scripts/shared/", $name, ".lua")))),)*
                _ => None,
            }
        }

        /// The names of all pieces.
        #[cfg(test)]
        const PIECES: &[&str] = &[$($name),*];
    };
}

pieces! {
    "acks" "admit" "ahead" "current" "discard" "done" "drop" "due" "elders" "end" "fetched" "ghosted" "ghosts" "grace"
    "group" "holder" "keyed" "laid" "lapse" "layout" "letters" "levels" "limits" "live" "log" "missing" "numbers" "order"
    "places" "promote" "rank" "record" "revive" "settled" "shelves" "sleepers" "sooner" "stand" "stored" "strict" "tell"
    "unique" "vacate" "wake" "whereabouts"
}

macro_rules! scripts {
    ($($constant:ident $args:ident $name:literal $kind:ident [$($key:ident)*] ($($arg:ident)*);)*) => {
        $(
            pub(crate) static $constant: Script = Script {
                name: $name,
                #[cfg(test)]
                kind: Kind::$kind,
                keys: &[$(Key::$key),*],
                #[cfg(test)]
                args: &[$(stringify!($arg)),*],
                #[cfg(test)]
                body: include_str!(concat!("scripts/", $name, ".lua")),
                code: LazyLock::new(|| {
                    let body = include_str!(concat!("scripts/", $name, ".lua"));
                    code(Kind::$kind, &[$(Key::$key),*], &[$(stringify!($arg)),*], body)
                }),
            };
        )*

        /// Every script.
        pub(crate) static ALL: &[&Script] = &[$(&$constant),*];

        /// The arguments of each script, by the names that it knows them by; what they mean stands at its
        /// head.
        pub(crate) mod args {
            $(crate::script::arg::arguments!($args $constant ($($arg)*));)*
        }
    };
}

scripts! {
    ENQUEUE Enqueue "enqueue" Adds
        [Config Tasks Shelves Active Due Stats Idle Wake Ghosts Unique Uniques Idempotency Lapses Held Holders Parked
            Expiry Live]
        (repeated wakes channel queue most_waiting together scheduled special);
    EXCHANGE Exchange "exchange" Tends
        [Config Tasks Shelves Later Due Active Workers Lost Stats Idle Draining Wake Ghosts Held Holders Parked Progress
            Kept Keptcount Rate Ends Endmarks Live]
        (worker lease slots listens listed token retention run_ms order most_active rate rate_span buckets);
    SETTLE Settle "settle" Tends
        [Config Tasks Shelves Later Due Active Info Lost Dead Stats Idle Wake Ghosts Unique Uniques Idempotency Lapses
            Held Holders Parked Expiry Cancel Progress Kept Keptcount Ends Endmarks Live Groups Grouped]
        (worker retention wakes channel queue);
    REMOVE Remove "remove" Tends
        [Config Tasks Shelves Later Due Active Lost Dead Stats Idle Wake Ghosts Unique Uniques Idempotency Lapses Held
            Holders Parked Expiry Cancel Kept Keptcount Ends Endmarks Live]
        (ending retention marks);
    PROMOTE Promote "promote" Tends
        [Config Tasks Shelves Later Due Lost Dead Stats Idle Draining Wake Ghosts Idempotency Lapses Held Holders Parked
            Fault Live]
        (most dead_age most_dead wakes channel queue fault_kept);
    MIGRATE Migrate "migrate" Tends [Tasks Later Laterghosts Due Stats] ();
    SURVEY Survey "survey" Tends
        [Config Tasks Shelves Later Active Dead Unique Uniques Idempotency Lapses Expiry Cancel Kept Keptcount Stats
            Schedules]
        (most done_age most_done least_age room largest look_every);
    STRAND Strand "strand" Tends
        [Config Tasks Shelves Later Due Active Lost Dead Stats Idle Wake Ghosts Held Holders Parked]
        (wakes channel queue most most_listed patience most_attempts most_losses);
    FORGET Forget "forget" Tends [Kept Keptcount Stats] (youngest);
    INHERIT Inherit "inherit" Tends
        [Active Workers Info Runs Spared Stats Idle Draining Wake]
        (heir lease longest_lease longest_silence given room most_told);
    BEAT Beat "beat" Tends [Active Workers Info Runs Draining Cancel] (worker lease info told runs);
    NOTE Note "note" Adds [Config Active Stats Progress Live] (worker kept most_lines);
    RESUME Resume "resume" Reads [Tasks Shelves Later Active Workers Lost] (worker most room);
    LEAVE Leave "leave" Tends [Active Workers Info Runs Idle Draining Wake] (worker);
    WORKERS Workers "workers" Reads [Active Workers Info Draining] ();
    DRAIN Drain "drain" Tends [Active Workers Idle Draining] (span);
    UNDRAIN Undrain "undrain" Tends [Workers Draining Idle Wake] ();
    FAULT Fault "fault" Tends [Fault] (fault kept);
    SNAPSHOT Snapshot "snapshot" Reads
        [Config Tasks Shelves Later Due Active Workers Dead Stats Ghosts Parked Expiry Uniques Lapses Kept Fault]
        (longest_lease);
    INSPECT Inspect "inspect" Reads [Tasks Shelves Later Due Active Info Runs Lost Dead Progress] (id);
    FIND Find "find" Reads [Idempotency Lapses] (key);
    PAGE Page "page" Reads
        [Tasks Shelves Later Due Active Lost Dead Parked]
        (state most room largest level member score anchor ahead);
    SCAN Scan "scan" Reads [Active Keptcount] (what from);
    REDRIVE Redrive "redrive" Tends
        [Config Tasks Shelves Later Active Lost Dead Stats Idle Wake Ghosts Unique Uniques Held Holders Parked Live]
        (before most wakes channel queue skip longest_key);
    EDIT Edit "edit" Tends
        [Config Tasks Shelves Later Active Lost Dead Stats Idle Wake Ghosts Unique Uniques Held Holders Parked Live]
        (id known record retry wakes channel queue longest_key);
    HASTEN Hasten "hasten" Tends
        [Config Tasks Shelves Later Due Active Dead Idle Wake Ghosts Held Holders Parked Stats Live]
        (wakes channel queue);
    REPRIORITIZE Reprioritize "reprioritize" Tends
        [Config Tasks Shelves Later Due Active Dead Ghosts Held Holders Parked Stats Live]
        (id level depth);
    UNSTARTED Unstarted "unstarted" Tends
        [Config Tasks Shelves Later Due Stats Ghosts Held Holders Parked]
        (state most room);
    ERASE Erase "erase" Tends [Workers] (force);
    PURGE Purge "purge" Tends [Config Tasks Shelves Lost Dead Stats Live Idempotency Lapses] (before most skip);
    CONFIGURE Configure "configure" Tends [Config Idle Wake Ends Endmarks] (policy per_key log);
    UNPARK Unpark "unpark" Tends [Config Tasks Shelves Later Stats Idle Wake Ghosts Held Holders Parked] (begin most);
    LACKED Lacked "lacked" Reads [Config] ();
    READ_ENDS ReadEnds "read_ends" Tends [Stats Ends Readers] (group reader pending most room idle);
    HEARD_ENDS HeardEnds "heard_ends" Tends [Ends] (group);
    LISTEN Listen "listen" Tends [Config Live] (lease kept);
    SCALED Scaled "scaled" Tends [Config Stats Ends Endmarks Live] (numbers equation entry);
    GROUPS Groups "groups" Reads [Stats Groups Grouped] (most longest);
    UNGROUP Ungroup "ungroup" Tends [Groups Grouped] ();
    FIRE Fire "fire" Adds
        [Config Schedules Tasks Shelves Stats Idle Wake Ghosts Held Holders Parked Live]
        (schedule known note wakes channel queue id record);
}

impl Script {
    /// The command that gives the server the script.
    pub(crate) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(&self.code.text);
        command
    }

    /// The beginning of a call: the digest, all keys, the two arguments that every script takes, and those
    /// that this one declares. `lists` are the level lists, `more` the keys that this script adds.
    pub(crate) fn call<A: Args>(
        keys: &Keys,
        lists: &[String],
        more: &[String],
        version: &str,
        args: &A,
    ) -> Call {
        let script = A::script();
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(script.code.digest.as_str())
            .arg(script.keys.len() + lists.len() + more.len());
        for key in script.keys {
            command.arg(keys.get(*key));
        }
        for key in lists.iter().chain(more) {
            command.arg(key);
        }
        command.arg(lists.len()).arg(version);
        args.write(&mut command);
        Call { script, command }
    }
}

/// A call of a script under construction, or complete. It can be sent again as it is.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) script: &'static Script,
    pub(crate) command: Cmd,
}

impl Call {
    /// Adds one argument to those that the script declares.
    pub(crate) fn push<T: redis::ToSingleRedisArg>(&mut self, argument: T) {
        self.command.arg(argument);
    }
}

#[cfg(test)]
mod full;
#[cfg(test)]
mod names;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Words in capitals in the code that are not in a comment or a text.
    fn words_in_capitals(code: &str) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        for line in code.lines() {
            let line = line.split("--").next().unwrap();
            // Every second part stands between quotes.
            for part in line.split('\'').step_by(2) {
                let parts = part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                words.extend(parts.filter(|word| word.len() > 1).map(str::to_owned));
            }
        }
        words.retain(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        words
    }

    #[tokio::test]
    async fn a_number_is_given_to_commands_digit_by_digit() {
        let redis = crate::testing::RedisServer::start().await;
        let cases = [
            ("1e8", "100000000"),
            ("6e8", "600000000"),
            ("1.7952e12", "1795200000000"),
            ("2 ^ 53", "9007199254740992"),
            ("-1e8", "-100000000"),
            ("0", "0"),
        ];
        for (number, wanted) in cases {
            let body = format!("return text({number})");
            let code = code(Kind::Tends, &[Key::Stats], &[], &body);
            let mut raw = redis.connection().await;
            let mut command = redis::cmd("EVAL");
            command.arg(code.text).arg(1).arg("stats").arg(0).arg("");
            let text: String = command.query_async(&mut raw).await.unwrap();
            assert_eq!(text, wanted);
            // The other way round, commands are given no number at all: every script that this
            // crate's own tests call is checked as it runs.
            let bare = format!("return redis.call('INCRBY', STATS, {number})");
            let bare = super::code(Kind::Tends, &[Key::Stats], &[], &bare);
            let mut command = redis::cmd("EVAL");
            command.arg(bare.text).arg(1).arg("stats").arg(0).arg("");
            let refused: redis::RedisResult<i64> = command.query_async(&mut raw).await;
            let refused = refused.unwrap_err().to_string();
            assert!(
                refused.contains("argument 3 of INCRBY is a number"),
                "{refused}"
            );
        }
    }

    /// Lua 5.1 takes a text for one, other servers' Lua does not.
    #[test]
    fn the_limit_of_a_loop_is_a_number() {
        for script in ALL {
            for line in whole(script.body).lines() {
                let Some((_, head)) = line.split_once("for ") else {
                    continue;
                };
                let Some((_, limits)) = head.split_once(" = ") else {
                    continue;
                };
                let limits = limits.split(" do").next().unwrap();
                assert!(
                    !limits.split(", ").any(|limit| limit.starts_with("ARGV")),
                    "{}: {line}",
                    script.name
                );
            }
        }
    }

    #[test]
    fn each_script_declares_the_keys_that_it_uses_and_no_others() {
        for script in ALL {
            let used = words_in_capitals(&whole(script.body));
            for key in Key::ALL {
                let name = key.part().to_uppercase();
                let declared = script.keys.contains(key);
                assert_eq!(
                    used.contains(&name),
                    declared,
                    "{} in {}",
                    name,
                    script.name
                );
            }
        }
    }
}
