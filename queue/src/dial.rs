//! Opening a connection to one address, with TLS or without, logging in, and hearing what the server
//! is. Which address that should be, and what to do when it breaks, is decided elsewhere.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::bounded::{Bounded, Excess};
use crate::bounds::Bounds;
use crate::endpoint::Login;
use crate::fault::Faults;
use crate::last_words::LastWords;
use crate::reach::{Reached, reach};
use crate::server::{Hello, version_in_info};
use crate::tls::Tls;
use crate::{Endpoint, Error};

/// Calls that may queue up for the socket before their senders wait.
const SEND_QUEUE: usize = 1_024;

/// A host, by name or number, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A stream of bytes to a server.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// Such a stream, and where it is told that its answers were too large.
pub(crate) struct Dialed {
    pub(crate) stream: Box<dyn Duplex>,
    pub(crate) excess: Excess,
}

/// Why there is no stream.
pub(crate) enum Undialed {
    /// The system says so, or the TLS that lies on it.
    Io(io::Error),
    /// TLS could not even begin.
    Tls(String),
    /// The client's bounds say so, and why.
    NotAllowed(String),
}

/// Connects. Takes as long as the system lets it.
pub(crate) async fn dial(
    address: &Address,
    tls: Option<&Tls>,
    bounds: &Bounds,
) -> Result<Dialed, Undialed> {
    let Reached { stream, standing } = reach(address, bounds).await?;
    // A call is one small write that waits for its answer; Nagle's algorithm would hold it back.
    stream.set_nodelay(true).map_err(Undialed::Io)?;
    let stream = LastWords::new(stream);
    let Some(tls) = tls else {
        return Ok(Dialed::of(Bounded::new(stream, bounds, standing)));
    };
    let config = tls.config().map_err(Undialed::Tls)?;
    let name = ServerName::try_from(address.host.clone())
        .map_err(|fault| Undialed::Tls(format!("{}: {fault}", address.host)))?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Dialed::of(Bounded::new(stream, bounds, standing))),
        Err(fault) => {
            tls.forget();
            Err(Undialed::Io(fault))
        }
    }
}

impl Dialed {
    fn of<S: Duplex + 'static>(stream: Bounded<S>) -> Self {
        Self {
            excess: stream.excess(),
            stream: Box::new(stream),
        }
    }
}

/// A connection on which the server has let us in.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) excess: Excess,
    _driver: Arc<Driver>,
}

/// Moves the bytes of a connection. Ends with its last clone: whoever waits for a server that
/// froze gets its answer no more.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that was just made.
pub(crate) struct Opened {
    pub(crate) wire: Wire,
    /// When the questions were sent.
    pub(crate) sent: Instant,
    /// The answers to them.
    pub(crate) answers: Vec<Value>,
    /// What the server is.
    pub(crate) hello: Hello,
}

/// Where to connect, and as whom.
pub(crate) struct Way<'a> {
    pub(crate) address: &'a Address,
    pub(crate) tls: Option<&'a Tls>,
    pub(crate) login: &'a Login,
    pub(crate) database: u32,
    pub(crate) bounds: &'a Bounds,
    pub(crate) faults: &'a Faults,
}

impl<'a> Way<'a> {
    /// To a server that holds data.
    pub(crate) fn to(address: &'a Address, endpoint: &'a Endpoint, faults: &'a Faults) -> Self {
        Self {
            address,
            tls: endpoint.tls(),
            login: endpoint.login(),
            database: endpoint.database(),
            bounds: endpoint.bounds(),
            faults,
        }
    }

    /// Connects, logs in and asks `questions`, in one round trip. Each later call on the connection
    /// may take `timeout`; this one takes as long as it takes.
    pub(crate) async fn open(
        &self,
        questions: &[(Cmd, &'static str)],
        timeout: Duration,
    ) -> Result<Opened, Error> {
        let faults = self.faults;
        let Dialed { stream, excess } = dial(self.address, self.tls, self.bounds)
            .await
            .map_err(|fault| faults.of_dialing(fault))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(timeout))
            .set_pipeline_buffer_size(SEND_QUEUE);
        // We log in ourselves: the client library keeps nothing of what the server says to that.
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&bare, stream, config)
                .await
                .map_err(|fault| faults.of_call(&fault, "connect"))?;
        let wire = Wire {
            connection: connection.clone(),
            excess,
            _driver: Arc::new(Driver(tokio::spawn(driver).abort_handle())),
        };
        let greeting = self.greeting();
        let hello = (redis::cmd("HELLO"), "HELLO");
        let asked: Vec<_> = greeting.iter().chain(questions).chain([&hello]).collect();
        let sent = Instant::now();
        // Each on its own, though they are sent together: a server that hangs up after one answer, which
        // says why, has said that.
        let answers = asked.iter().map(|(command, _)| {
            let mut connection = connection.clone();
            async move { connection.send_packed_command(command).await }
        });
        let mut answers = join_all(answers).await;
        let hello = match answers.pop() {
            Some(Ok(answer @ (Value::Array(_) | Value::Map(_)))) => Hello::read(&answer),
            _ => Hello::default(),
        };
        let mut taken = Vec::with_capacity(answers.len());
        for (answer, (_, name)) in answers.into_iter().zip(asked) {
            match answer {
                Ok(Value::ServerError(refusal)) => {
                    return Err(faults.of_opening(&refusal, name, &hello));
                }
                Ok(answer) => taken.push(answer),
                Err(fault) => return Err(faults.of_call(&fault, "connect")),
            }
        }
        let hello = match hello.version {
            Some(_) => hello,
            None => ask_info(&mut connection).await,
        };
        Ok(Opened {
            wire,
            sent,
            answers: taken.split_off(greeting.len()),
            hello,
        })
    }

    /// What is said before anything is asked.
    fn greeting(&self) -> Vec<(Cmd, &'static str)> {
        let mut greeting = Vec::new();
        if let Some(password) = &self.login.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &self.login.user {
                auth.arg(user);
            }
            auth.arg(password);
            greeting.push((auth, "AUTH"));
        }
        if self.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.database);
            greeting.push((select, "SELECT"));
        }
        greeting
    }

    /// Connects for messages and nothing else.
    pub(crate) async fn listen(&self) -> Result<PubSub, Error> {
        let Dialed { stream, .. } = dial(self.address, self.tls, self.bounds)
            .await
            .map_err(|fault| self.faults.of_dialing(fault))?;
        let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = &self.login.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.login.password {
            info = info.set_password(password);
        }
        PubSub::new(&info, stream)
            .await
            .map_err(|fault| self.faults.of_connecting(&fault))
    }
}

/// What a server is that does not know `HELLO`: an old one, or one behind a proxy. It may refuse this
/// as well.
async fn ask_info(connection: &mut MultiplexedConnection) -> Hello {
    let mut command = redis::cmd("INFO");
    command.arg("server");
    let answer = connection.send_packed_command(&command).await;
    answer.map_or_else(|_| Hello::default(), |answer| version_in_info(&answer))
}
