//! Every Lua script of this crate, put together from its file, the keys it declares and the shared
//! pieces it needs, and the call of one. Loading what the server does not know is in `link`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::Cmd;

use crate::keys::{Key, Keys};

/// A script, known to the server by its digest.
pub(crate) struct Script {
    /// Its file's name, for messages.
    pub(crate) name: &'static str,
    keys: &'static [Key],
    #[cfg(test)]
    body: &'static str,
    code: LazyLock<Code>,
}

struct Code {
    text: String,
    digest: String,
}

/// The code of a script: the names of its keys, what all scripts share, and its own.
fn code(keys: &[Key], body: &str) -> Code {
    let names: Vec<String> = keys.iter().map(|key| key.part().to_uppercase()).collect();
    let count = keys.len();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "local {} = unpack(KEYS, 1, {count})",
        names.join(", ")
    );
    let _ = writeln!(text, "local LEVELS = tonumber(ARGV[1])");
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

/// A script with each line `include 'name'` replaced by that piece of `scripts/shared`. Where the
/// line is inside a block, so is what the piece declares, and is not made when the block is not
/// entered.
fn whole(body: &str) -> String {
    let mut text = String::new();
    for line in body.lines() {
        let included = line.trim().strip_prefix("include '");
        let piece = included
            .and_then(|rest| rest.strip_suffix('\''))
            .and_then(piece);
        text.push_str(piece.unwrap_or(line));
        text.push('\n');
    }
    text
}

macro_rules! pieces {
    ($($name:literal)*) => {
        /// What scripts share, by name.
        fn piece(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("scripts/shared/", $name, ".lua"))),)*
                _ => None,
            }
        }
    };
}

pieces! {
    "admit" "current" "discard" "due" "edit" "fetch" "ghosts" "keep" "letters" "levels" "limits" "order"
    "places" "promote" "put_back" "record" "shelves" "sleepers" "sooner" "stored" "strict" "unique" "wake"
}

macro_rules! scripts {
    ($($constant:ident = $name:literal keys [$($key:ident),*];)*) => {
        $(
            pub(crate) static $constant: Script = Script {
                name: $name,
                keys: &[$(Key::$key),*],
                #[cfg(test)]
                body: include_str!(concat!("scripts/", $name, ".lua")),
                code: LazyLock::new(|| {
                    code(&[$(Key::$key),*], include_str!(concat!("scripts/", $name, ".lua")))
                }),
            };
        )*

        /// Every script.
        #[cfg(test)]
        pub(crate) static ALL: &[&Script] = &[$(&$constant),*];
    };
}

scripts! {
    ENQUEUE = "enqueue" keys [Config, Tasks, Shelves, Due, Later, Stats, Idle, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry];
    EXCHANGE = "exchange" keys [Config, Tasks, Shelves, Due, Active, Workers, Lost, Stats, Idle, Draining, Wake, Ghosts, Held, Parked, Progress, Kept, Keptcount, Rate];
    SETTLE = "settle" keys [Config, Tasks, Shelves, Due, Active, Lost, Dead, Stats, Idle, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry, Cancel, Progress, Kept, Keptcount];
    REMOVE = "remove" keys [Config, Tasks, Shelves, Due, Later, Active, Lost, Dead, Stats, Idle, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry, Cancel, Kept, Keptcount];
    PROMOTE = "promote" keys [Config, Tasks, Shelves, Due, Lost, Dead, Stats, Idle, Wake, Ghosts, Held, Parked];
    UNFOLD = "unfold" keys [Tasks, Due, Later, Stats, Idle, Wake];
    SURVEY = "survey" keys [Config, Tasks, Active, Dead, Later, Unique, Uniques, Expiry, Cancel, Kept, Keptcount, Stats, Schedules];
    FORGET = "forget" keys [Kept, Keptcount, Stats];
    RECLAIM = "reclaim" keys [Config, Tasks, Shelves, Due, Active, Workers, Info, Lost, Dead, Stats, Idle, Draining, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry, Cancel, Progress];
    BEAT = "beat" keys [Active, Workers, Info, Draining, Cancel];
    NOTE = "note" keys [Active, Progress];
    RESUME = "resume" keys [Tasks, Active, Workers, Lost];
    LEAVE = "leave" keys [Active, Workers, Info, Idle, Draining, Wake];
    WORKERS = "workers" keys [Active, Workers, Info, Draining];
    DRAIN = "drain" keys [Active, Workers, Idle, Draining];
    UNDRAIN = "undrain" keys [Workers, Draining, Idle, Wake];
    FAULT = "fault" keys [Fault];
    SNAPSHOT = "snapshot" keys [Config, Tasks, Shelves, Due, Later, Active, Workers, Dead, Stats, Ghosts, Parked, Expiry, Uniques, Kept, Fault];
    INSPECT = "inspect" keys [Tasks, Due, Later, Active, Lost, Dead, Progress];
    PAGE = "page" keys [Tasks, Due, Active, Lost, Dead, Parked, Kept, Keptcount];
    REDRIVE = "redrive" keys [Config, Tasks, Shelves, Lost, Dead, Stats, Idle, Wake, Ghosts, Held, Parked];
    PURGE = "purge" keys [Tasks, Lost, Dead, Stats];
    CONFIGURE = "configure" keys [Config, Idle, Wake];
    UNPARK = "unpark" keys [Config, Tasks, Shelves, Idle, Wake, Ghosts, Held, Parked];
    FIRE = "fire" keys [Config, Schedules, Tasks, Shelves, Stats, Idle, Wake, Ghosts, Held, Parked];
}

impl Script {
    /// The command that gives the server the script.
    pub(crate) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(&self.code.text);
        command
    }

    /// The beginning of a call: the digest, all keys, and the two arguments that every script
    /// takes. `lists` are the level lists, `more` the keys that this script adds.
    pub(crate) fn call(
        &'static self,
        keys: &Keys,
        lists: &[String],
        more: &[String],
        version: &str,
    ) -> Call {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(self.code.digest.as_str())
            .arg(self.keys.len() + lists.len() + more.len());
        for key in self.keys {
            command.arg(keys.get(*key));
        }
        for key in lists.iter().chain(more) {
            command.arg(key);
        }
        command.arg(lists.len()).arg(version);
        Call {
            script: self,
            command,
        }
    }
}

/// A call of a script under construction, or complete. It can be sent again as it is.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) script: &'static Script,
    pub(crate) command: Cmd,
}

impl Call {
    /// Adds one argument.
    pub(crate) fn arg<T: redis::ToSingleRedisArg>(mut self, argument: T) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds one argument in place.
    pub(crate) fn push<T: redis::ToSingleRedisArg>(&mut self, argument: T) {
        self.command.arg(argument);
    }
}

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
