//! What a failed Redis call means: one decision from the client library's and the server's errors
//! to ours. Pure.

use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerError};

use crate::{Endpoint, Error};

/// A call that failed, with what the caller must know to repeat it.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    /// Whether the server may have done what was asked, its answer being lost.
    pub(crate) maybe_done: bool,
}

impl Fault {
    pub(crate) fn not_done(error: Error) -> Self {
        Self {
            error,
            maybe_done: false,
        }
    }

    /// Whether the connection broke under the call, as it does when the server was restarted since
    /// the last one.
    pub(crate) fn is_broken_line(&self) -> bool {
        self.maybe_done && matches!(self.error, Error::Unreachable { .. })
    }
}

/// An error met while reading an answer: what was asked has been done.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            error,
            maybe_done: true,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// Makes errors that name one server.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    endpoint: String,
    timeout: Duration,
}

impl Faults {
    pub(crate) fn new(endpoint: &Endpoint, timeout: Duration) -> Self {
        Self {
            endpoint: endpoint.address().to_owned(),
            timeout,
        }
    }

    /// Why no connection could be made.
    pub(crate) fn of_connecting(&self, fault: &RedisError, after: Duration) -> Error {
        let reason = fault.to_string();
        match (fault.kind(), fault.code()) {
            // The client library keeps nothing of what the server said.
            (ErrorKind::AuthenticationFailed, _) => self.auth(
                "WRONGPASS: the server did not accept the user name and password of the URL"
                    .to_owned(),
            ),
            (_, Some(code)) => self.of_code(code, fault.detail().unwrap_or(&reason), "connect"),
            _ if io_error(fault).is_some_and(is_tls_error) => self.tls_failed(reason),
            _ if fault.is_timeout() => Error::Timeout {
                endpoint: self.endpoint.clone(),
                after,
            },
            _ => self.unreachable(reason),
        }
    }

    /// Why a call on a standing connection got no answer.
    pub(crate) fn of_call(&self, fault: &RedisError, script: &'static str) -> Error {
        if fault.is_timeout() {
            self.timed_out()
        } else if fault.is_io_error() || fault.is_connection_dropped() {
            self.unreachable(fault.to_string())
        } else {
            self.script(script, fault.to_string())
        }
    }

    /// What the server's refusal means.
    pub(crate) fn of_reply(&self, refusal: &ServerError, script: &'static str) -> Error {
        self.of_code(
            refusal.code(),
            refusal.details().unwrap_or_default(),
            script,
        )
    }

    /// An answer that no script of this crate gives.
    pub(crate) fn script(&self, script: &'static str, reason: String) -> Error {
        Error::Script {
            endpoint: self.endpoint.clone(),
            script,
            reason,
        }
    }

    pub(crate) fn timed_out(&self) -> Error {
        Error::Timeout {
            endpoint: self.endpoint.clone(),
            after: self.timeout,
        }
    }

    fn of_code(&self, code: &str, detail: &str, script: &'static str) -> Error {
        let endpoint = self.endpoint.clone();
        let reason = detail.to_owned();
        // Redis 6.2 hides the code of a command inside a script in the text of a general error.
        let code = ["OOM", "READONLY", "MISCONF", "NOPERM"]
            .into_iter()
            .find(|hidden| code == "ERR" && detail.contains(&format!("-{hidden} ")))
            .unwrap_or(code);
        match code {
            "NOAUTH" => {
                self.auth("NOAUTH: it wants a password; write redis://:password@host".to_owned())
            }
            "WRONGPASS" => self.auth(format!("WRONGPASS: {detail}")),
            "NOPERM" => self.auth(format!("NOPERM: the user lacks a right: {detail}")),
            "READONLY" => Error::ReadOnly { endpoint, reason },
            "OOM" => Error::OutOfMemory { endpoint, reason },
            "LOADING" => Error::Loading { endpoint },
            "MISCONF" => Error::Misconfigured { endpoint, reason },
            "BUSY" | "TRYAGAIN" => Error::Busy { endpoint, reason },
            "MASTERDOWN" | "CLUSTERDOWN" => self.unreachable(format!("{code} {reason}")),
            _ => self.script(script, format!("{code} {reason}")),
        }
    }

    fn auth(&self, reason: String) -> Error {
        Error::AuthFailed {
            endpoint: self.endpoint.clone(),
            reason,
        }
    }

    pub(crate) fn tls_failed(&self, reason: String) -> Error {
        Error::TlsFailed {
            endpoint: self.endpoint.clone(),
            reason,
        }
    }

    fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            endpoint: self.endpoint.clone(),
            reason,
        }
    }
}

/// The system's error inside the client library's, which hands it out only as a source behind an
/// `Arc`.
fn io_error(fault: &RedisError) -> Option<&io::Error> {
    type Shared = std::sync::Arc<dyn std::error::Error + Send + Sync>;
    let source = std::error::Error::source(fault)?;
    match source.downcast_ref::<Shared>() {
        Some(shared) => shared.downcast_ref(),
        None => source.downcast_ref(),
    }
}

fn is_tls_error(io: &io::Error) -> bool {
    io.get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// Whether a handshake failed over the server's certificate, which only a server that speaks TLS
/// has.
pub(crate) fn is_tls_refusal(fault: &RedisError) -> bool {
    let inner = io_error(fault).and_then(io::Error::get_ref);
    let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}
