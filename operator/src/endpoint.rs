//! The URL of a Redis with its certificates, and the secrets in them kept out of sight.

use std::{fmt, sync::Arc};

use taskqueue_queue::{Endpoint, Error};
use taskqueue_worker::config::RedisTls;

/// A Redis that was parsed once. Two are equal when they lead to the same Redis with the same
/// credentials, so that each Redis gets one connection. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointUrl(Arc<Parts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    url: String,
    tls: RedisTls,
}

impl EndpointUrl {
    /// Checks the URL and keeps it.
    pub fn parse(url: String) -> Result<Self, Error> {
        Self::with_tls(url, RedisTls::default())
    }

    /// Checks the URL and the certificates and keeps them.
    pub fn with_tls(url: String, tls: RedisTls) -> Result<Self, Error> {
        tls.apply(Endpoint::parse(&url)?)?;
        Ok(Self(Arc::new(Parts { url, tls })))
    }

    /// For a connection.
    pub fn endpoint(&self) -> Result<Endpoint, Error> {
        self.0.tls.apply(Endpoint::parse(&self.0.url)?)
    }

    /// Whether the URL carries credentials.
    pub fn has_password(&self) -> bool {
        let authority = self.0.url.split_once("://").map_or("", |(_, rest)| rest);
        authority
            .split(['/', '?', '#'])
            .next()
            .is_some_and(|authority| authority.contains('@'))
    }

    /// The URL itself, for connections and Secrets alone: it must not reach logs, Events, status
    /// or pod specs.
    pub fn expose(&self) -> &str {
        &self.0.url
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.url.rsplit_once('@') {
            Some((_, host)) => write!(formatter, "***@{host}"),
            None => formatter.write_str(&self.0.url),
        }
    }
}
