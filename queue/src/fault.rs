//! What a failed Redis call means: one decision from the client library's and the server's errors
//! to ours. Pure.

use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerError};
use taskqueue_plain as plain;

use crate::bounded::TooLarge;
use crate::dial::{Address, Undialed};
use crate::endpoint::Kind;
use crate::server::{Hello, Mode, OLDEST_REDIS, is_too_old};
use crate::{Endpoint, Error};

/// Bytes that are told of what a server says.
const MOST_SAID: usize = 1_024;

/// What a server says, as it can be told.
fn said(text: impl Into<String>) -> String {
    plain::cut(text, MOST_SAID)
}

/// A call that failed, with what the caller must know to repeat it.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    /// Whether the server may have done what was asked, its answer being lost.
    pub(crate) maybe_done: bool,
    /// The node that the cluster says to ask instead.
    pub(crate) moved_to: Option<Address>,
}

impl Fault {
    pub(crate) fn not_done(error: Error) -> Self {
        Self {
            error,
            maybe_done: false,
            moved_to: None,
        }
    }

    /// Whether the connection broke under the call, as it does when the server was restarted since
    /// the last one.
    pub(crate) fn is_broken_line(&self) -> bool {
        self.maybe_done && matches!(self.error, Error::Unreachable { .. })
    }

    /// Whether the answer was more than the client takes.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self.error, Error::AnswerTooLarge { .. })
    }
}

/// An error met while reading an answer: what was asked has been done.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            error,
            maybe_done: true,
            moved_to: None,
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
    kind: Kind,
    timeout: Duration,
}

impl Faults {
    pub(crate) fn new(endpoint: &Endpoint, timeout: Duration) -> Self {
        Self {
            endpoint: endpoint.address().to_owned(),
            kind: endpoint.kind().clone(),
            timeout,
        }
    }

    /// The same for one address of many.
    pub(crate) fn at(&self, address: &Address) -> Self {
        Self {
            endpoint: address.to_string(),
            ..self.clone()
        }
    }

    /// Why there is no stream of bytes.
    pub(crate) fn of_dialing(&self, fault: Undialed) -> Error {
        match fault {
            Undialed::Tls(reason) => self.tls_failed(reason),
            Undialed::NotAllowed(reason) => self.not_allowed(reason),
            Undialed::Io(fault) if is_tls_error(&fault) => self.tls_failed(fault.to_string()),
            Undialed::Io(fault) => self.unreachable(fault.to_string()),
        }
    }

    /// Why the client library did not get in.
    pub(crate) fn of_connecting(&self, fault: &RedisError) -> Error {
        match (fault.kind(), fault.code()) {
            // The client library keeps nothing of what the server said.
            (ErrorKind::AuthenticationFailed, _) => self.auth(
                "WRONGPASS: the server did not accept the user name and password of the URL"
                    .to_owned(),
            ),
            (_, Some(code)) => self.of_code(code, fault.detail().unwrap_or_default(), "connect"),
            _ => self.of_call(fault, "connect"),
        }
    }

    /// Why a call on a standing connection got no answer.
    pub(crate) fn of_call(&self, fault: &RedisError, script: &'static str) -> Error {
        if let Some(excess) = io_error(fault).and_then(too_large) {
            self.too_large(*excess)
        } else if fault.is_timeout() {
            self.timed_out()
        } else if io_error(fault).is_some_and(is_tls_error) {
            self.tls_failed(fault.to_string())
        } else if fault.is_io_error() || fault.is_connection_dropped() {
            self.unreachable(fault.to_string())
        } else {
            self.script(script, fault.to_string())
        }
    }

    /// What a refusal means to one who has just connected, to a server that said `hello`.
    pub(crate) fn of_opening(
        &self,
        refusal: &ServerError,
        question: &'static str,
        hello: &Hello,
    ) -> Error {
        let detail = refusal.details().unwrap_or_default();
        if refusal.code() != "ERR" || unknown_command(detail).is_none() {
            return self.of_reply(refusal, question);
        }
        // What is missing tells little: what the server says of itself tells what it is.
        match (hello.mode, question) {
            (Some(Mode::Sentinel), _) if !matches!(self.kind, Kind::Sentinel { .. }) => {
                self.wrong_server("it is a sentinel; write redis+sentinel://host:port/primary")
            }
            (Some(Mode::Standalone), "SENTINEL") => {
                self.wrong_server("it is no sentinel; write redis:// without +sentinel")
            }
            (Some(Mode::Cluster), "SENTINEL") => {
                self.wrong_server("it is a node of a cluster; write redis+cluster://")
            }
            (_, "SENTINEL") => self.wrong_server(
                "it is no sentinel: it does not know the command SENTINEL; write redis:// if it \
                 holds the queues itself",
            ),
            (_, command) => self.lacks(command),
        }
    }

    /// A server without a command that is always needed.
    fn lacks(&self, command: &str) -> Error {
        self.wrong_server(format!(
            "it does not know the command {command}; queues need Redis {} or newer, or Valkey, with \
             no such command renamed",
            oldest()
        ))
    }

    /// Why a server that said `hello` cannot hold queues, if its version is the reason.
    pub(crate) fn of_age(&self, hello: &Hello) -> Option<Error> {
        let version = hello.version?;
        is_too_old(hello.make.as_deref(), version).then(|| Error::TooOld {
            endpoint: self.endpoint.clone(),
            found: format!("{} {version}", hello.make.as_deref().unwrap_or("Redis")),
            oldest: oldest(),
        })
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
            reason: said(reason),
        }
    }

    /// A call that got no answer.
    pub(crate) fn timed_out(&self) -> Error {
        self.timed_out_after(self.timeout)
    }

    pub(crate) fn timed_out_after(&self, after: Duration) -> Error {
        Error::Timeout {
            endpoint: self.endpoint.clone(),
            after,
        }
    }

    /// A server that is healthy and not the one that the URL describes.
    pub(crate) fn wrong_server(&self, reason: impl Into<String>) -> Error {
        Error::WrongServer {
            endpoint: self.endpoint.clone(),
            reason: said(reason),
        }
    }

    fn of_code(&self, code: &str, detail: &str, script: &'static str) -> Error {
        let endpoint = self.endpoint.clone();
        let (code, detail) = (&*said(code), &*said(detail));
        let reason = detail.to_owned();
        // Redis 6.2 hides the code of a command inside a script in the text of a general error.
        let code = ["OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM"]
            .into_iter()
            .find(|hidden| code == "ERR" && detail.contains(&format!("-{hidden} ")))
            .unwrap_or(code);
        // It has none when a command inside a script lacks a right. The first are the words of Redis
        // 7.0, the second those of newer ones and of Valkey.
        let code = match code {
            "ERR"
                if detail.contains("The user executing the script")
                    || detail.contains("ACL failure in script") =>
            {
                "NOPERM"
            }
            code => code,
        };
        match code {
            "NOAUTH" if script == "SENTINEL" => self.auth(
                "NOAUTH: the sentinel wants a password of its own; give it with_sentinel_login"
                    .to_owned(),
            ),
            "NOAUTH" => {
                self.auth("NOAUTH: it wants a password; write redis://:password@host".to_owned())
            }
            "WRONGPASS" | "DENIED" => self.auth(format!("{code}: {detail}")),
            "ERR" if script == "AUTH" => self.auth(format!("{code} {detail}")),
            "NOPERM" => self.auth(format!("NOPERM: the user lacks a right: {detail}")),
            // UNBLOCKED: a call that blocked when its server became a replica.
            "READONLY" | "UNBLOCKED" => Error::ReadOnly { endpoint, reason },
            "OOM" => Error::OutOfMemory { endpoint, reason },
            "LOADING" => Error::Loading { endpoint },
            "MISCONF" => Error::Misconfigured { endpoint, reason },
            "NOREPLICAS" => Error::TooFewReplicas { endpoint, reason },
            "BUSY" => Error::Busy { endpoint, reason },
            "MOVED" | "ASK" if self.kind != Kind::Cluster => {
                self.wrong_server("it is a node of a cluster; write redis+cluster://")
            }
            // The slot is on its way from one node to another.
            "TRYAGAIN" | "ASK" => Error::Busy {
                endpoint,
                reason: format!("{code} {reason}"),
            },
            "MASTERDOWN" | "CLUSTERDOWN" | "MOVED" => self.unreachable(format!("{code} {reason}")),
            "ERR" if detail.contains("max number of clients") => self.unreachable(reason),
            "ERR" if detail.contains("cluster support disabled") => {
                self.wrong_server("it is no node of a cluster; write redis:// without +cluster")
            }
            "ERR" => match unknown_command(detail) {
                Some(command) if ALWAYS_NEEDED.contains(&command.as_str()) => self.lacks(&command),
                _ => self.script(script, format!("{code} {reason}")),
            },
            _ => self.script(script, format!("{code} {reason}")),
        }
    }

    fn auth(&self, reason: String) -> Error {
        Error::AuthFailed {
            endpoint: self.endpoint.clone(),
            reason: said(reason),
        }
    }

    pub(crate) fn tls_failed(&self, reason: String) -> Error {
        Error::TlsFailed {
            endpoint: self.endpoint.clone(),
            reason: said(reason),
        }
    }

    /// A connection that was given up because of what came over it.
    pub(crate) fn too_large(&self, TooLarge(limit): TooLarge) -> Error {
        Error::AnswerTooLarge {
            endpoint: self.endpoint.clone(),
            limit,
        }
    }

    fn not_allowed(&self, reason: String) -> Error {
        Error::NotAllowed {
            endpoint: self.endpoint.clone(),
            reason,
        }
    }

    pub(crate) fn read_only(&self, reason: String) -> Error {
        Error::ReadOnly {
            endpoint: self.endpoint.clone(),
            reason: said(reason),
        }
    }

    pub(crate) fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            endpoint: self.endpoint.clone(),
            reason: said(reason),
        }
    }
}

/// Without these there are no scripts, and so no queues.
const ALWAYS_NEEDED: [&str; 3] = ["EVALSHA", "SCRIPT", "TIME"];

/// The command that a server says it does not know, in capitals, if it says so.
fn unknown_command(detail: &str) -> Option<String> {
    let rest = detail
        .get(.."unknown command".len())
        .filter(|words| words.eq_ignore_ascii_case("unknown command"))
        .map(|words| &detail[words.len()..])?;
    let named = rest
        .trim_start_matches([' ', ':', '\'', '`', '"'])
        .split(|c: char| !(c.is_ascii_alphanumeric() || "|._-".contains(c)))
        .next();
    Some(named.unwrap_or_default().to_ascii_uppercase())
}

/// The oldest version, as people say it.
fn oldest() -> String {
    format!("{}.{}", OLDEST_REDIS.major, OLDEST_REDIS.minor)
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

/// The bound that the answers on a connection were above.
fn too_large(fault: &io::Error) -> Option<&TooLarge> {
    fault.get_ref()?.downcast_ref()
}

fn is_tls_error(fault: &io::Error) -> bool {
    tls_error(fault).is_some()
}

/// Whether this comes from a server that speaks TLS, though not with us: it has shown a certificate,
/// or said in the words of TLS what it misses.
pub(crate) fn speaks_tls(fault: &io::Error) -> bool {
    matches!(
        tls_error(fault),
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
    )
}

/// Whether the server misses our certificate, or does not like it.
pub(crate) fn wants_certificate(fault: &io::Error) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        tls_error(fault),
        Some(rustls::Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::HandshakeFailure
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
        ))
    )
}

fn tls_error(fault: &io::Error) -> Option<&rustls::Error> {
    fault.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests;
