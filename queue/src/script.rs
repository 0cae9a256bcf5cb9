//! Every Lua script of this crate, put together from its file and the shared pieces it needs, and
//! the call of one. Loading what the server does not know is in `link`.

use std::sync::LazyLock;

use redis::Cmd;

use crate::keys::Keys;

/// A script, known to the server by its digest.
pub(crate) struct Script {
    /// Its file's name, for messages.
    pub(crate) name: &'static str,
    code: &'static str,
    digest: LazyLock<String>,
}

macro_rules! code {
    ($name:literal, $($shared:literal),*) => {
        concat!(
            include_str!("scripts/shared/keys.lua"),
            $(include_str!(concat!("scripts/shared/", $shared, ".lua")),)*
            include_str!(concat!("scripts/", $name, ".lua")),
        )
    };
}

macro_rules! scripts {
    ($($constant:ident = $name:literal with [$($shared:literal),*];)*) => {
        $(
            pub(crate) static $constant: Script = Script {
                name: $name,
                code: code!($name, $($shared),*),
                digest: LazyLock::new(|| redis::Script::new(code!($name, $($shared),*)).get_hash().into()),
            };
        )*

        /// Every script.
        #[cfg(test)]
        pub(crate) static ALL: &[&Script] = &[$(&$constant),*];
    };
}

scripts! {
    ENQUEUE = "enqueue" with ["wake"];
    EXCHANGE = "exchange" with ["wake", "levels", "promote"];
    SETTLE = "settle" with ["wake", "levels"];
    PROMOTE = "promote" with ["wake", "levels", "promote", "letters"];
    RECLAIM = "reclaim" with ["wake", "levels", "edit"];
    BEAT = "beat" with [];
    RESUME = "resume" with [];
    LEAVE = "leave" with ["wake"];
    SNAPSHOT = "snapshot" with [];
    INSPECT = "inspect" with [];
    LETTERS = "letters" with [];
    REDRIVE = "redrive" with ["wake", "levels", "letters", "edit"];
    PURGE = "purge" with ["letters"];
    CONFIGURE = "configure" with ["wake"];
}

impl Script {
    /// The command that gives the server the script.
    pub(crate) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.code);
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
        let base = keys.shared();
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(self.digest.as_str())
            .arg(base.len() + lists.len() + more.len());
        for key in base.iter().chain(lists).chain(more) {
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
