//! Where Redis is and how to speak to it, parsed from a URL. Opens no connection; printing it never
//! shows the password.

use std::fmt;
use std::str::FromStr;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, IntoConnectionInfo, TlsCertificates};

use crate::Error;

/// A Redis server: address, credentials, database number, TLS.
#[derive(Clone)]
pub struct Endpoint {
    client: redis::Client,
    address: String,
    tls: bool,
}

impl Endpoint {
    /// Parses `redis://` or, for TLS, `rediss://`:
    /// `redis://[user][:password@]host[:port][/database]`. The error repeats neither user nor
    /// password.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("redis" | "rediss")) {
            return Err(refused("it starts with redis:// or, for TLS, rediss://"));
        }
        let info = url
            .into_connection_info()
            .map_err(|fault| refused(&fault.to_string()))?;
        // A call is one small write that waits for its answer; Nagle's algorithm would hold it
        // back.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let address = info.addr().to_string();
        let client = redis::Client::open(info).map_err(|fault| refused(&fault.to_string()))?;
        Ok(Self {
            client,
            address,
            tls,
        })
    }

    /// Trusts the certificates in `pem` instead of the system's. Only for `rediss://`.
    pub fn with_ca(self, pem: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.into()),
        };
        let info = self.client.get_connection_info().clone();
        let client = redis::Client::build_with_tls(info, certificates)
            .map_err(|fault| refused(&fault.to_string()))?;
        Ok(Self { client, ..self })
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn client(&self) -> &redis::Client {
        &self.client
    }

    /// The URL without its credentials.
    fn shown(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let database = self.client.get_connection_info().redis_settings().db();
        format!("{scheme}://{}/{database}", self.address)
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

/// The URL may hold a password, so the refusal shows none of it.
fn refused(rule: &str) -> Error {
    Error::invalid("redis url", "(not shown)", rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_printed() {
        let endpoint = Endpoint::parse("redis://me:hunter2@cache.example:6390/3").unwrap();
        for shown in [endpoint.to_string(), format!("{endpoint:?}")] {
            assert!(shown.contains("redis://cache.example:6390/3"), "{shown}");
            assert!(
                !shown.contains("hunter2") && !shown.contains("me:"),
                "{shown}"
            );
        }
        for bad in [
            "redis://me:hunter2@",
            "redis://me:hunter2@h/notadb",
            "hunter2",
            "http://:hunter2@h",
        ] {
            let refusal = Endpoint::parse(bad).unwrap_err().to_string();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn the_scheme_says_whether_it_is_tls() {
        assert!(Endpoint::parse("rediss://h").unwrap().is_tls());
        assert!(!Endpoint::parse("redis://h").unwrap().is_tls());
        assert_eq!(
            Endpoint::parse("redis://[::1]:7000").unwrap().address(),
            "::1:7000"
        );
    }
}
