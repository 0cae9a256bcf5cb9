//! What a server answers to `HELLO`, which every user may ask: make, version, mode and role. Pure.

use std::fmt;
use std::str::FromStr;

use redis::Value;

use super::read::{fields, text};

/// The version of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl Version {
    /// Of three numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = ();

    /// Reads `7.0.15`, and the numbers in front of `9.1.2-rc1` or `8.0`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers = text.split(|c: char| c != '.' && !c.is_ascii_digit()).next();
        let mut numbers = numbers.unwrap_or_default().split('.');
        let mut next = || numbers.next().filter(|digits| !digits.is_empty());
        let major = next().ok_or(())?.parse().map_err(|_| ())?;
        let mut rest = || next().map_or(Ok(0), |digits| digits.parse().map_err(|_| ()));
        Ok(Self::new(major, rest()?, rest()?))
    }
}

/// How a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It holds all keys.
    Standalone,
    /// It is a node of a cluster.
    Cluster,
    /// It watches others and holds no keys.
    Sentinel,
}

/// Whether a server takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows a primary.
    Replica,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        })
    }
}

impl Role {
    /// In the words of a server, which say `master` for the primary.
    pub(super) fn named(word: &str) -> Option<Self> {
        match word {
            "master" | "primary" => Some(Self::Primary),
            "slave" | "replica" => Some(Self::Replica),
            _ => None,
        }
    }
}

/// An answer to `HELLO`. All is `None` of a server that does not know the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) make: Option<String>,
    pub(crate) version: Option<Version>,
    pub(crate) mode: Option<Mode>,
    pub(crate) role: Option<Role>,
}

impl Hello {
    pub(crate) fn read(answer: &Value) -> Self {
        let fields = fields(answer);
        let word = |name: &str| fields.get(name).and_then(|value| text(value));
        Self {
            make: word("server").map(|make| make_named(&make)),
            version: word("version").and_then(|version| version.parse().ok()),
            mode: word("mode").and_then(|mode| mode_named(&mode)),
            role: word("role").and_then(|role| Role::named(&role)),
        }
    }
}

/// The name as people write it.
pub(super) fn make_named(word: &str) -> String {
    match word {
        "redis" => "Redis".to_owned(),
        "valkey" => "Valkey".to_owned(),
        // What a server says may be of any length.
        other => other.chars().take(64).collect(),
    }
}

pub(super) fn mode_named(word: &str) -> Option<Mode> {
    match word {
        "standalone" => Some(Mode::Standalone),
        "cluster" => Some(Mode::Cluster),
        "sentinel" => Some(Mode::Sentinel),
        _ => None,
    }
}
