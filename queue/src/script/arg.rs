//! Arguments of scripts, each by its name. Pure.

use std::time::Duration;

use redis::{RedisWrite, ToRedisArgs, ToSingleRedisArg};

use super::Script;
use crate::lease::millis;

/// One argument.
#[derive(Debug, Clone)]
pub(crate) enum Arg<'a> {
    Bytes(&'a [u8]),
    Text(String),
    Number(u64),
}

/// The arguments that a script declares, in its order.
pub(crate) trait Args {
    fn script() -> &'static Script;

    fn write(&self, command: &mut redis::Cmd);
}

/// Declares a struct of a script's arguments.
macro_rules! arguments {
    ($args:ident $script:ident ()) => {
        pub(crate) struct $args;

        impl crate::script::Args for $args {
            fn script() -> &'static crate::script::Script {
                &crate::script::$script
            }

            fn write(&self, _: &mut redis::Cmd) {}
        }
    };
    ($args:ident $script:ident ($($arg:ident)+)) => {
        pub(crate) struct $args<'a> {
            $(pub(crate) $arg: crate::script::Arg<'a>,)+
        }

        impl crate::script::Args for $args<'_> {
            fn script() -> &'static crate::script::Script {
                &crate::script::$script
            }

            fn write(&self, command: &mut redis::Cmd) {
                $(command.arg(&self.$arg);)+
            }
        }
    };
}
pub(super) use arguments;

impl ToRedisArgs for Arg<'_> {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        match self {
            Self::Bytes(bytes) => out.write_arg(bytes),
            Self::Text(text) => out.write_arg(text.as_bytes()),
            Self::Number(number) => number.write_redis_args(out),
        }
    }
}

impl ToSingleRedisArg for Arg<'_> {}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<String> for Arg<'_> {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Arg<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Arg<'_> {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

/// In ms.
impl From<Duration> for Arg<'_> {
    fn from(span: Duration) -> Self {
        Self::Number(millis(span))
    }
}

/// 1 or 0.
impl From<bool> for Arg<'_> {
    fn from(set: bool) -> Self {
        Self::Number(set.into())
    }
}

/// Empty for none.
impl<T: Into<Self>> From<Option<T>> for Arg<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Bytes(&[]), Into::into)
    }
}
