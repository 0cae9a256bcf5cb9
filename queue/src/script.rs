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
    text.push_str(body);
    let digest = redis::Script::new(&text).get_hash().to_owned();
    Code { text, digest }
}

macro_rules! scripts {
    ($($constant:ident = $name:literal keys [$($key:ident),*] with [$($shared:literal),*];)*) => {
        $(
            pub(crate) static $constant: Script = Script {
                name: $name,
                keys: &[$(Key::$key),*],
                #[cfg(test)]
                body: body!($name, $($shared),*),
                code: LazyLock::new(|| code(&[$(Key::$key),*], body!($name, $($shared),*))),
            };
        )*

        /// Every script.
        #[cfg(test)]
        pub(crate) static ALL: &[&Script] = &[$(&$constant),*];
    };
}

macro_rules! body {
    ($name:literal, $($shared:literal),*) => {
        concat!(
            $(include_str!(concat!("scripts/shared/", $shared, ".lua")),)*
            include_str!(concat!("scripts/", $name, ".lua")),
        )
    };
}

scripts! {
    ENQUEUE = "enqueue" keys [Config, Tasks, Shelves, Due, Later, Stats, Idle, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry]
        with ["current", "wake", "sooner", "record", "shelves", "levels", "admit"];
    EXCHANGE = "exchange" keys [Config, Tasks, Shelves, Due, Active, Workers, Lost, Stats, Idle, Draining, Wake, Ghosts, Held, Parked, Progress, Kept, Keptcount, Rate]
        with ["current", "wake", "sooner", "record", "shelves", "levels", "promote", "keep", "limits", "fetch", "order"];
    SETTLE = "settle" keys [Config, Tasks, Shelves, Due, Active, Lost, Dead, Stats, Idle, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry, Cancel, Progress, Kept, Keptcount]
        with ["current", "wake", "sooner", "record", "shelves", "levels", "places", "unique", "keep"];
    REMOVE = "remove" keys [Config, Tasks, Shelves, Due, Later, Active, Lost, Dead, Stats, Idle, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry, Cancel, Kept, Keptcount]
        with ["current", "wake", "record", "shelves", "levels", "places", "unique", "keep"];
    PROMOTE = "promote" keys [Config, Tasks, Shelves, Due, Lost, Dead, Stats, Idle, Wake, Ghosts, Held, Parked]
        with ["current", "wake", "record", "shelves", "levels", "promote", "discard"];
    UNFOLD = "unfold" keys [Tasks, Due, Later, Stats, Idle, Wake] with ["wake", "sooner", "record"];
    SURVEY = "survey" keys [Config, Tasks, Active, Dead, Later, Unique, Uniques, Expiry, Cancel, Kept, Keptcount, Stats, Schedules] with [];
    FORGET = "forget" keys [Kept, Keptcount, Stats] with [];
    RECLAIM = "reclaim" keys [Config, Tasks, Shelves, Due, Active, Workers, Info, Lost, Dead, Stats, Idle, Draining, Wake, Ghosts, Unique, Uniques, Held, Parked, Expiry, Cancel, Progress]
        with ["current", "wake", "sooner", "sleepers", "record", "shelves", "levels", "places", "unique", "edit"];
    BEAT = "beat" keys [Active, Workers, Info, Draining, Cancel] with [];
    NOTE = "note" keys [Active, Progress] with [];
    RESUME = "resume" keys [Tasks, Active, Workers, Lost] with [];
    LEAVE = "leave" keys [Active, Workers, Info, Idle, Draining, Wake] with ["wake", "sleepers"];
    WORKERS = "workers" keys [Active, Workers, Info, Draining] with [];
    DRAIN = "drain" keys [Active, Workers, Idle, Draining] with [];
    UNDRAIN = "undrain" keys [Workers, Draining, Idle, Wake] with ["wake"];
    FAULT = "fault" keys [Fault] with [];
    SNAPSHOT = "snapshot" keys [Config, Tasks, Shelves, Due, Later, Active, Workers, Dead, Stats, Ghosts, Parked, Expiry, Uniques, Kept, Fault] with ["current", "record"];
    INSPECT = "inspect" keys [Tasks, Due, Later, Active, Lost, Dead, Progress] with ["record"];
    PAGE = "page" keys [Tasks, Due, Active, Lost, Dead, Parked, Kept, Keptcount] with [];
    REDRIVE = "redrive" keys [Config, Tasks, Shelves, Lost, Dead, Stats, Idle, Wake, Ghosts, Held, Parked]
        with ["current", "wake", "record", "shelves", "levels", "letters", "edit"];
    PURGE = "purge" keys [Tasks, Lost, Dead, Stats] with ["letters", "discard"];
    CONFIGURE = "configure" keys [Config, Idle, Wake] with ["current", "wake"];
    UNPARK = "unpark" keys [Config, Tasks, Shelves, Idle, Wake, Ghosts, Held, Parked] with ["current", "wake", "record", "shelves", "levels", "places"];
    FIRE = "fire" keys [Config, Schedules, Tasks, Shelves, Stats, Idle, Wake, Ghosts, Held, Parked] with ["current", "wake", "record", "shelves", "levels"];
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
            let used = words_in_capitals(script.body);
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
