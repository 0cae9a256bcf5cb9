//! One connection to Redis that is made anew when it breaks. Every call passes here: typed errors,
//! the loading of scripts, the server's clock. What is asked, and what an answer means, is not
//! decided here.
//!
//! Not the client library's own connection manager: that one reconnects only after an I/O error,
//! and so stays broken after a server that was still loading, or a password that has been put right
//! since.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, ServerErrorKind, Value};

use crate::clock::Clock;
use crate::diagnose::mismatch;
use crate::fault::{Fault, Faults};
use crate::script::Call;
use crate::{Endpoint, Error};

/// Longest time for making a connection, so that a worker is back within two seconds of the server.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Calls that may queue up for the socket before their senders wait.
const SEND_QUEUE: usize = 1_024;

/// A connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    faults: Faults,
    timeout: Duration,
    clock: Arc<Clock>,
    live: Mutex<Option<Live>>,
    /// Held while connecting, so that many waiting calls make one connection.
    connecting: tokio::sync::Mutex<()>,
    attempts: AtomicU64,
    /// Why the last attempt to connect failed.
    failure: Mutex<Option<Error>>,
}

#[derive(Clone)]
struct Live {
    attempt: u64,
    connection: MultiplexedConnection,
}

impl Link {
    /// A link that connects on its first call. `timeout` bounds each call.
    pub(crate) fn new(endpoint: &Endpoint, timeout: Duration, clock: Arc<Clock>) -> Self {
        Self(Arc::new(Inner {
            endpoint: endpoint.clone(),
            faults: Faults::new(endpoint, timeout),
            timeout,
            clock,
            live: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
            attempts: AtomicU64::new(0),
            failure: Mutex::new(None),
        }))
    }

    /// A second connection to the same server, for calls that block.
    pub(crate) fn another(&self, timeout: Duration) -> Self {
        Self::new(&self.0.endpoint, timeout, Arc::clone(&self.0.clock))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.0.clock
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Calls a script, after loading it if the server does not know it.
    pub(crate) async fn call(&self, call: &Call) -> Result<Value, Fault> {
        let name = call.script.name;
        match self.once(&call.command, name).await {
            Err(NoScript::Missing) => {
                self.send(&call.script.load(), name).await?;
                self.send(&call.command, name).await
            }
            Err(NoScript::Other(fault)) => Err(fault),
            Ok(value) => Ok(value),
        }
    }

    /// Calls a script that only reads; once more if the connection turns out to have broken since
    /// the last call.
    pub(crate) async fn read(&self, call: &Call) -> Result<Value, Fault> {
        match self.call(call).await {
            Err(fault) if fault.is_broken_line() => self.call(call).await,
            result => result,
        }
    }

    /// Sends a plain command that only reads; once more if the connection turns out to have broken.
    pub(crate) async fn read_plain(
        &self,
        command: &Cmd,
        name: &'static str,
    ) -> Result<Value, Fault> {
        match self.send(command, name).await {
            Err(fault) if fault.is_broken_line() => self.send(command, name).await,
            result => result,
        }
    }

    /// As [`Link::read`], with many scripts in one round trip; a second one is needed only if the
    /// server did not know them.
    pub(crate) async fn read_all(
        &self,
        calls: &[Call],
    ) -> Result<Vec<Result<Value, Error>>, Fault> {
        match self.call_all(calls).await {
            Err(fault) if fault.is_broken_line() => self.call_all(calls).await,
            result => result,
        }
    }

    async fn call_all(&self, calls: &[Call]) -> Result<Vec<Result<Value, Error>>, Fault> {
        let values = self.round_trip(calls).await?;
        let missing = |value: &Value| is_missing_script(value);
        let values = match values.iter().position(missing) {
            Some(place) => {
                self.send(&calls[place].script.load(), calls[place].script.name)
                    .await?;
                self.round_trip(calls).await?
            }
            None => values,
        };
        let checked = values
            .into_iter()
            .zip(calls)
            .map(|(value, call)| match value {
                Value::ServerError(refusal) => {
                    Err(self.0.faults.of_reply(&refusal, call.script.name))
                }
                value => Ok(value),
            });
        Ok(checked.collect())
    }

    /// Sends a plain command.
    pub(crate) async fn send(&self, command: &Cmd, name: &'static str) -> Result<Value, Fault> {
        self.once(command, name).await.map_err(|fault| match fault {
            NoScript::Other(fault) => fault,
            // Loaded a moment ago and gone again: someone flushes scripts all the time.
            NoScript::Missing => Fault::not_done(
                self.0
                    .faults
                    .script(name, "NOSCRIPT right after it was loaded".into()),
            ),
        })
    }

    /// Connects if there is no connection.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        self.live().await.map(drop)
    }

    async fn once(&self, command: &Cmd, name: &'static str) -> Result<Value, NoScript> {
        let mut live = self.live().await.map_err(Fault::not_done)?;
        match live.connection.send_packed_command(command).await {
            Ok(value) if is_missing_script(&value) => Err(NoScript::Missing),
            Ok(Value::ServerError(refusal)) => {
                let error = self.0.faults.of_reply(&refusal, name);
                // After a failover the old address may be a replica now, and the name another one.
                if matches!(error, Error::ReadOnly { .. }) {
                    self.drop_live(live.attempt);
                }
                Err(Fault::not_done(error).into())
            }
            Ok(value) => Ok(value),
            Err(fault) => Err(self.broken(live.attempt, &fault, name).into()),
        }
    }

    async fn round_trip(&self, calls: &[Call]) -> Result<Vec<Value>, Fault> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call.command.clone());
        }
        let mut live = self.live().await.map_err(Fault::not_done)?;
        let answers = live
            .connection
            .send_packed_commands(&pipeline, 0, calls.len());
        answers
            .await
            .map_err(|fault| self.broken(live.attempt, &fault, "pipeline"))
    }

    /// A call that got no answer takes its connection down: what else is on its way there is as
    /// lost.
    fn broken(&self, attempt: u64, fault: &redis::RedisError, name: &'static str) -> Fault {
        self.drop_live(attempt);
        Fault {
            error: self.0.faults.of_call(fault, name),
            maybe_done: true,
        }
    }

    fn drop_live(&self, attempt: u64) {
        let mut live = lock(&self.0.live);
        if live.as_ref().is_some_and(|live| live.attempt == attempt) {
            *live = None;
        }
    }

    fn peek(&self) -> Option<Live> {
        lock(&self.0.live).clone()
    }

    async fn live(&self) -> Result<Live, Error> {
        if let Some(live) = self.peek() {
            return Ok(live);
        }
        let before = self.0.attempts.load(Ordering::Acquire);
        let _turn = self.0.connecting.lock().await;
        if let Some(live) = self.peek() {
            return Ok(live);
        }
        // Whoever waited for a failed attempt shares its failure instead of queueing one more.
        if self.0.attempts.load(Ordering::Acquire) != before
            && let Some(failure) = lock(&self.0.failure).clone()
        {
            return Err(failure);
        }
        let opened = self.open().await;
        let attempt = self.0.attempts.fetch_add(1, Ordering::AcqRel) + 1;
        match opened {
            Ok(connection) => {
                let live = Live {
                    attempt,
                    connection,
                };
                *lock(&self.0.failure) = None;
                *lock(&self.0.live) = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                *lock(&self.0.failure) = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Opens a connection and asks the server's time, which also shows whether it lets us in.
    async fn open(&self) -> Result<MultiplexedConnection, Error> {
        // For TLS. Fails when the program has installed one, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.0.timeout))
            .set_pipeline_buffer_size(SEND_QUEUE);
        let client = self.0.endpoint.client();
        let mut connection = match client
            .get_multiplexed_async_connection_with_config(&config)
            .await
        {
            Ok(connection) => connection,
            Err(fault) => return Err(self.explain(&fault).await),
        };
        let sent = Instant::now();
        let time = redis::cmd("TIME");
        let answer = connection.send_packed_command(&time);
        match tokio::time::timeout(CONNECT_TIMEOUT, answer).await {
            Ok(Ok(Value::ServerError(refusal))) => Err(self.0.faults.of_reply(&refusal, "TIME")),
            Ok(Ok(value)) => {
                if let Ok((seconds, micros)) = redis::from_redis_value::<(u64, u64)>(value) {
                    let millis = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
                    self.0.clock.hear(sent, millis);
                }
                Ok(connection)
            }
            Ok(Err(fault)) => Err(self.0.faults.of_call(&fault, "TIME")),
            Err(_) => Err(self.0.faults.timed_out()),
        }
    }
}

impl Link {
    /// Why no connection could be made, with a look at the server where the failure itself says
    /// little.
    async fn explain(&self, fault: &redis::RedisError) -> Error {
        let error = self.0.faults.of_connecting(fault, CONNECT_TIMEOUT);
        let unclear = matches!(
            error,
            Error::Unreachable { .. } | Error::Timeout { .. } | Error::TlsFailed { .. }
        );
        if unclear
            && !fault.is_connection_refusal()
            && let Some(hint) = mismatch(&self.0.endpoint).await
        {
            return self.0.faults.tls_failed(hint.to_owned());
        }
        error
    }
}

/// A failed call, or one whose script the server does not know.
enum NoScript {
    Missing,
    Other(Fault),
}

impl From<Fault> for NoScript {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

fn is_missing_script(value: &Value) -> bool {
    matches!(value, Value::ServerError(refusal) if refusal.kind() == Some(ServerErrorKind::NoScript))
}

/// A lock whose holder panicked still holds whole values: each is set in one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
