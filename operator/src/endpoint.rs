//! The URL of a Redis, with the password it may carry kept out of sight.

use std::fmt;

use taskqueue_queue::{Endpoint, Error};

/// A Redis URL that was parsed once. Two are equal when they lead to the same Redis with the same
/// credentials, so that each Redis gets one connection.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointUrl(String);

impl EndpointUrl {
    /// Checks the URL and keeps it.
    pub fn parse(url: String) -> Result<Self, Error> {
        Endpoint::parse(&url)?;
        Ok(Self(url))
    }

    /// Whether the URL carries credentials.
    pub fn has_password(&self) -> bool {
        let authority = self.0.split_once("://").map_or("", |(_, rest)| rest);
        authority
            .split(['/', '?', '#'])
            .next()
            .is_some_and(|authority| authority.contains('@'))
    }

    /// The URL itself, for connections and Secrets alone: it must not reach logs, Events, status
    /// or pod specs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.rsplit_once('@') {
            Some((_, host)) => write!(formatter, "***@{host}"),
            None => formatter.write_str(&self.0),
        }
    }
}
