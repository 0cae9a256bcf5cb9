//! Where Redis is and how to speak to it: one server, a primary that sentinels name, or a cluster.
//! Opens no connection; printing it never shows a user or a password. The URL's form is in `url`.

mod url;

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::bounds::Bounds;
use crate::dial::Address;
use crate::keys;
use crate::tls::Tls;

/// How to find the server that holds a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The only host is that server.
    Standalone,
    /// The hosts are sentinels; they say where the primary of this name is.
    Sentinel {
        /// The name under which the sentinels know it.
        primary: String,
    },
    /// The hosts are nodes of a cluster; each of them says where every slot is.
    Cluster,
}

/// A user and a password.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// A Redis, of one server or of many: addresses, credentials, database number, key prefix, TLS.
#[derive(Clone)]
pub struct Endpoint {
    kind: Kind,
    hosts: Vec<Address>,
    login: Login,
    sentinel_login: Login,
    database: u32,
    prefix: String,
    tls: Option<Tls>,
    bounds: Bounds,
    /// The hosts, for messages.
    address: String,
}

impl Endpoint {
    /// Parses one of these, with `rediss` instead of `redis` for TLS; `valkey` and `valkeys` mean the
    /// same, and schemes know no case:
    ///
    /// - `redis://[[user]:password@]host[:port][/database]`
    /// - `redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/primary[/database]`; the
    ///   hosts are the sentinels, the credentials those of the servers
    /// - `redis+cluster://[[user]:password@]host[:port][,host[:port]…]`; some of the nodes
    ///
    /// `?prefix=…` behind any of them is [`Endpoint::with_prefix`]. Characters that mean something
    /// in a URL are written `%40` and the like in a user or password. The error repeats no part of
    /// the URL.
    pub fn parse(url: &str) -> Result<Self, Error> {
        url::parse(url).map_err(|rule| Error::invalid("redis url", "(not shown)", rule))
    }

    /// Trusts the certificates in `pem` instead of the system's. Only for TLS.
    pub fn with_ca(mut self, pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.tls = Some(self.tls_or("ca")?.with_ca(pem.as_ref())?);
        Ok(self)
    }

    /// Shows the server this certificate (with its chain, if it has one), whose private key is
    /// `key`; both PEM. Only for TLS.
    pub fn with_client_cert(
        mut self,
        cert: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, Error> {
        let tls = self.tls_or("client certificate")?;
        self.tls = Some(tls.with_client_cert(cert.as_ref(), key.as_ref())?);
        Ok(self)
    }

    /// What the names of all keys and channels begin with, `tq` unless it is set: 1 to 32
    /// characters of `a-z A-Z 0-9 . _ -`. Those who are to share queues need the same one.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        if let Err(rule) = keys::check_prefix(prefix) {
            return Err(Error::invalid("prefix", prefix, rule));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// How to log in to the sentinels themselves, when they ask for it; `user` may be empty. The
    /// credentials of the URL are those of the servers.
    pub fn with_sentinel_login(mut self, user: &str, password: &str) -> Result<Self, Error> {
        if !matches!(self.kind, Kind::Sentinel { .. }) {
            let rule = "only for a URL with +sentinel";
            return Err(Error::invalid("sentinel login", "(not shown)", rule));
        }
        if let Err(rule) = url::no_controls(user).and_then(|()| url::no_controls(password)) {
            return Err(Error::invalid("sentinel login", "(not shown)", rule));
        }
        self.sentinel_login = Login {
            user: (!user.is_empty()).then(|| user.to_owned()),
            password: Some(password.to_owned()),
        };
        Ok(self)
    }

    /// Bounds what the server can do to this program, for who takes the URL from somebody else.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// `host:port` for messages, or all of them with commas between.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the names of all keys and channels begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn hosts(&self) -> &[Address] {
        &self.hosts
    }

    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    pub(crate) fn sentinel_login(&self) -> &Login {
        &self.sentinel_login
    }

    pub(crate) fn database(&self) -> u32 {
        self.database
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    fn tls_or(&self, field: &'static str) -> Result<&Tls, Error> {
        let rule = "only for a URL that begins with rediss or valkeys";
        self.tls
            .as_ref()
            .ok_or_else(|| Error::invalid(field, "(not shown)", rule))
    }

    /// The URL without its credentials.
    fn shown(&self) -> String {
        let tls = if self.tls.is_some() { "s" } else { "" };
        let (hosts, database) = (&self.address, self.database);
        let mut shown = match &self.kind {
            Kind::Standalone => format!("redis{tls}://{hosts}/{database}"),
            Kind::Sentinel { primary } => {
                format!("redis{tls}+sentinel://{hosts}/{primary}/{database}")
            }
            Kind::Cluster => format!("redis{tls}+cluster://{hosts}"),
        };
        if self.prefix != keys::DEFAULT_PREFIX {
            shown.push_str("?prefix=");
            shown.push_str(&self.prefix);
        }
        shown
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Self::parse(url)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.shown())
    }
}

#[cfg(test)]
mod tests;
