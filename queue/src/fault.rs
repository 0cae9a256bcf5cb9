//! What a failed Redis call means: one decision from the client library's and the server's errors to ours.
//! Pure.

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
    tls: bool,
    timeout: Duration,
}

impl Faults {
    pub(crate) fn new(endpoint: &Endpoint, timeout: Duration) -> Self {
        Self {
            endpoint: endpoint.address().to_owned(),
            tls: endpoint.is_tls(),
            timeout,
        }
    }

    /// Why no connection could be made.
    pub(crate) fn of_connecting(&self, fault: &RedisError) -> Error {
        let reason = fault.to_string();
        match fault.kind() {
            ErrorKind::AuthenticationFailed => self.auth(&reason),
            _ if fault.code().is_some() => self.of_code(
                fault.code().unwrap_or_default(),
                fault.detail().unwrap_or(&reason),
                "connect",
            ),
            // A server that speaks TLS answers plain text with a TLS alert, which is no Redis reply, or hangs up.
            ErrorKind::Parse if !self.tls => self.tls_failed(
                "the server does not answer in plain text; if it speaks TLS, write rediss:// instead of redis://".into(),
            ),
            _ => match io_error(fault) {
                Some(io) if is_tls_error(io) => self.tls_failed(explain_tls(&reason)),
                Some(io) if !self.tls && is_hangup(io) => self.unreachable(format!(
                    "{reason}; if the server speaks TLS, write rediss:// instead of redis://"
                )),
                Some(io) if self.tls && is_hangup(io) => self.tls_failed(format!(
                    "{reason} during the handshake; if the server speaks plain text, write redis:// instead of rediss://"
                )),
                _ if fault.is_timeout() => self.timed_out(),
                _ => self.unreachable(reason),
            },
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
        self.of_code(refusal.code(), refusal.details().unwrap_or_default(), script)
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
            "NOAUTH" => self.auth("NOAUTH: it wants a password; put it into the URL as redis://:password@host"),
            "WRONGPASS" => self.auth("WRONGPASS: the user name or the password is wrong"),
            "NOPERM" => self.auth(&format!("NOPERM: the user lacks a right: {detail}")),
            "READONLY" => Error::ReadOnly { endpoint, reason },
            "OOM" => Error::OutOfMemory { endpoint, reason },
            "LOADING" => Error::Loading { endpoint },
            "MISCONF" => Error::Misconfigured { endpoint, reason },
            "BUSY" | "TRYAGAIN" => Error::Busy { endpoint, reason },
            "MASTERDOWN" | "CLUSTERDOWN" => self.unreachable(format!("{code} {reason}")),
            _ => self.script(script, format!("{code} {reason}")),
        }
    }

    /// The client library keeps only the text of a refused `AUTH`.
    fn auth(&self, reason: &str) -> Error {
        let reason = if reason.contains("without any password configured") {
            "the server has no password for this user, but the URL gives one".to_owned()
        } else if reason.contains("WRONGPASS") || reason.contains("invalid password") || reason.contains("Password authentication failed") {
            "WRONGPASS: the user name or the password is wrong".to_owned()
        } else {
            reason.to_owned()
        };
        Error::AuthFailed {
            endpoint: self.endpoint.clone(),
            reason,
        }
    }

    fn tls_failed(&self, reason: String) -> Error {
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

/// The system's error inside the client library's, which hands it out only as a source behind an `Arc`.
fn io_error(fault: &RedisError) -> Option<&io::Error> {
    type Shared = std::sync::Arc<dyn std::error::Error + Send + Sync>;
    let source = std::error::Error::source(fault)?;
    match source.downcast_ref::<Shared>() {
        Some(shared) => shared.downcast_ref(),
        None => source.downcast_ref(),
    }
}

fn is_tls_error(io: &io::Error) -> bool {
    io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn is_hangup(io: &io::Error) -> bool {
    matches!(
        io.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn explain_tls(reason: &str) -> String {
    if reason.contains("InvalidContentType") {
        "the server answers in plain text; write redis:// instead of rediss://".to_owned()
    } else {
        reason.to_owned()
    }
}
