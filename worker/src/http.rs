//! The `http` handler: a server in the same pod gets each task as a CloudEvent ([`event`]), and its answer decides (the
//! table is in [`verdict`]).
//!
//! Nothing is fetched before the server has answered for the first time, nor while nobody listens. An attempt that is
//! cut off (time-out, shutdown, lost lease, cancellation) closes its connection, or resets its stream in HTTP/2, and has
//! the server asked for a sign of life if none of its answer had come ([`door`]). A request that the server certainly did not
//! process (`unprocessed`) is sent again, and costs nothing. One that it may not have seen, since it closed the kept
//! connection meanwhile, is sent once more on a new one.

mod batch;
mod connect;
mod door;
mod event;
mod sending;
mod unprocessed;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::header::RETRY_AFTER;
use axum::http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome};

use crate::config::{HttpHandler, HttpProtocol};
use crate::control::Controls;
use crate::fault::Fault;
use crate::output::{self, Output};
use crate::pending;
use connect::{Connector, Place, Traffic};
use door::Door;
use sending::{Sending, Sent};
use unprocessed::{is_foreign, is_unprocessed};
use verdict::{Verdict, judge, retry_after};

/// Servers begin with the worker, and take their time: until this is over, that nobody listens is no fault.
const STARTING: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody listens, while nobody does and while somebody does.
const KNOCK_AGAIN: Duration = Duration::from_millis(200);
const KNOCK_LATER: Duration = Duration::from_secs(2);
/// How long an answer to a knock may take.
const KNOCK_BOUND: Duration = Duration::from_secs(5);
/// Idle connections are closed after this time, before servers close them with a request on its way: the shortest
/// keep-alive that is common as a default is two seconds.
const IDLE: Duration = Duration::from_secs(1);
/// The waits before a request that the server did not process is sent again.
const SEND_AGAIN: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
];
/// How long a task is held that the server still did not process, before it is handed back: nothing spins.
const PAUSE: Duration = Duration::from_secs(1);
/// How much of an answer goes into an error message.
const WORDS: usize = 900;

/// The `http` handler.
#[derive(Clone, Debug)]
pub struct Http {
    /// On connections that are kept.
    client: Client<Connector, Sending>,
    /// On a new connection for each request.
    afresh: Client<Connector, Sending>,
    protocol: HttpProtocol,
    place: Place,
    uri: Uri,
    controls: Controls,
    fault: Fault,
    door: Arc<Door>,
}

/// What an attempt came to, if not to an answer.
enum Broken {
    /// Nobody takes connections.
    Unsent(String),
    /// The server did not begin to process the request, again and again.
    Unprocessed(String),
    /// It was, and no whole answer came.
    Unanswered(String),
}

impl Http {
    /// A handler at the place that the configuration names.
    pub(crate) fn new(config: &HttpHandler, controls: Controls, fault: Fault) -> Self {
        let place = match &config.socket {
            Some(socket) => Place::Socket(socket.into()),
            None => Place::Port(config.port()),
        };
        let host = match &place {
            Place::Port(port) => format!("localhost:{port}"),
            Place::Socket(_) => "localhost".to_owned(),
        };
        let uri = Uri::builder()
            .scheme("http")
            .authority(host)
            .path_and_query(config.path.as_str());
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .http2_only(config.protocol == HttpProtocol::H2c);
        Self {
            client: builder.build(Connector(place.clone())),
            afresh: builder
                .pool_max_idle_per_host(0)
                .build(Connector(place.clone())),
            protocol: config.protocol,
            place,
            // The path was checked with the configuration.
            uri: uri.build().unwrap_or_default(),
            controls,
            fault,
            door: Arc::default(),
        }
    }

    /// Whether the server takes tasks, as far as is known.
    pub(crate) fn takes_tasks(&self) -> bool {
        self.door.is_open() && !self.door.is_doubted()
    }

    /// Looks whether the server answers, for as long as this future is polled.
    pub(crate) async fn watch(&self) {
        let began = Instant::now();
        let mut starting = true;
        loop {
            // One that works on tasks may be too busy to answer; that it takes connections is enough then, unless it let
            // the time of a task run out.
            let doubted = self.door.is_doubted();
            let knocked = if self.door.is_open() && !doubted {
                let dialled = self.place.dial().await;
                dialled
                    .map(drop)
                    .map_err(|error| self.silent(&error.to_string()))
            } else {
                self.knock().await
            };
            match knocked {
                Ok(()) => {
                    starting = false;
                    self.door.open();
                    self.fault.clear();
                }
                Err(_) if starting && began.elapsed() < STARTING => {}
                // It has answered to a task meanwhile.
                Err(_) if doubted && self.door.is_open() && !self.door.is_doubted() => {}
                Err(fault) => self.close(fault),
            }
            let pause = if self.door.is_open() {
                KNOCK_LATER
            } else {
                KNOCK_AGAIN
            };
            let _ = tokio::time::timeout(pause, self.door.doubted()).await;
        }
    }

    /// Asks for any answer at all.
    async fn knock(&self) -> Result<(), String> {
        let mut request = Request::new(Sending::default());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = self.uri.clone();
        match tokio::time::timeout(KNOCK_BOUND, self.afresh.request(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_foreign(&error) => Err(self.foreign(&cause(&error))),
            Ok(Err(error)) => Err(self.silent(&cause(&error))),
            Err(_) => Err(self.silent(&format!("no answer within {} s", KNOCK_BOUND.as_secs()))),
        }
    }

    fn silent(&self, reason: &str) -> String {
        let place = &self.place;
        format!(
            "nothing answers on {place} of the pod, where handler.http says that the server listens: {reason}"
        )
    }

    fn foreign(&self, reason: &str) -> String {
        let place = &self.place;
        let protocol = match self.protocol {
            HttpProtocol::Http1 => "HTTP/1.1",
            HttpProtocol::H2c => "HTTP/2 without TLS",
        };
        format!(
            "what listens on {place} of the pod does not speak {protocol}, as handler.http.protocol says that it does: {reason}"
        )
    }

    /// No task is taken until it answers.
    fn close(&self, fault: String) {
        self.door.close();
        self.fault.set(fault);
    }

    /// Sends a request, again where it certainly was not processed, until an answer begins.
    async fn ask(
        &self,
        request: impl Fn() -> Request<Sending>,
        sent: &Sent,
    ) -> Result<Response<Incoming>, Broken> {
        let mut waits = SEND_AGAIN.iter();
        // How the connection ended on which the request may not have been seen.
        let mut unseen: Option<String> = None;
        loop {
            let client = if unseen.is_some() {
                &self.afresh
            } else {
                &self.client
            };
            let asked = self.door.ask();
            let error = match client.request(request()).await {
                Ok(answer) => {
                    asked.answered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            asked.failed();
            let reason = cause(&error);
            if error.is_connect() {
                // It went away with the request, and may have seen it.
                return Err(unseen.map_or(Broken::Unsent(reason), Broken::Unanswered));
            }
            if is_unprocessed(&error) {
                sent.was_not();
                // On another connection, if this one is about to close.
                match waits.next() {
                    Some(wait) => tokio::time::sleep(*wait).await,
                    None => return Err(Broken::Unprocessed(reason)),
                }
            } else if unseen.is_none() && self.may_be_unseen(&error) {
                unseen = Some(reason);
            } else {
                return Err(Broken::Unanswered(reason));
            }
        }
    }

    /// Whether the server may have closed the connection before it saw the request.
    fn may_be_unseen(&self, error: &Error) -> bool {
        let mut known = Extensions::new();
        if let Some(connection) = error.connect_info() {
            connection.get_extras(&mut known);
        }
        let traffic = known.get::<Traffic>();
        // A server of HTTP/2 says what it did not process.
        self.protocol == HttpProtocol::Http1 && traffic.is_some_and(Traffic::may_be_unseen)
    }

    /// Why there is no answer decides whose fault it is: one task's, or that of a server that is gone.
    async fn broken(&self, task: &LeasedTask, broken: Broken) -> Outcome {
        match broken {
            Broken::Unsent(reason) => {
                tracing::warn!(id = %task.id, r#type = task.kind, reason, "nobody takes the task: handing it back");
                self.close(self.silent(&reason));
                Outcome::Released
            }
            Broken::Unprocessed(reason) => {
                tracing::warn!(id = %task.id, r#type = task.kind, reason, "the server refuses the task unseen: handing it back");
                match self.knock().await {
                    Ok(()) => tokio::time::sleep(PAUSE).await,
                    Err(fault) => self.close(fault),
                }
                Outcome::Released
            }
            Broken::Unanswered(reason) => match self.place.stands().await {
                Ok(()) => Outcome::Retry {
                    error: format!(
                        "the handler closed the connection without a whole answer: {reason}"
                    ),
                    after: None,
                },
                Err(gone) => {
                    self.close(self.silent(&gone.to_string()));
                    Outcome::Lost {
                        error: format!("the server went away while it ran the task: {reason}"),
                    }
                }
            },
        }
    }
}

impl Handler for Http {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        let control = self.controls.open(&task);
        let sent = Sent::default();
        let url = control.url();
        let request = || event::request(&task, &self.uri, &url, Timestamp::now(), sent.clone());
        let answered = async {
            let answer = self.ask(request, &sent).await?;
            Answer::read(answer).await
        };
        let answered = tokio::select! {
            answered = answered => answered,
            () = unsent(task.timeout, &sent, || pending::put_off(&task)) => {
                tracing::warn!(id = %task.id, r#type = task.kind, "the task waits for a connection as long as it may run: handing it back");
                return Outcome::Released;
            }
            // The task may be running elsewhere by now.
            () = task.lease_lost() => return Outcome::Released,
        };
        match answered {
            Ok(answer) => control.outcome(answer.conclude(&task)),
            Err(broken) => self.broken(&task, broken).await,
        }
    }

    fn available(&self) -> bool {
        self.takes_tasks()
    }
}

/// Keeps the time of attempts from running, by `put_off`, while their request is not sent; until that has lasted for as long
/// as the shortest of them may run.
async fn unsent(timeout: Duration, sent: &Sent, put_off: impl Fn()) {
    let mut since = Instant::now();
    while since.elapsed() < timeout {
        tokio::time::sleep(pending::pace(timeout)).await;
        if sent.is_sent() {
            since = Instant::now();
        } else {
            put_off();
        }
    }
}

/// An answer, with as much of its body as is of use.
struct Answer {
    status: StatusCode,
    retry_after: Option<HeaderValue>,
    body: Output,
}

impl Answer {
    async fn read(answer: Response<Incoming>) -> Result<Self, Broken> {
        let (head, mut rest) = answer.into_parts();
        let mut body = Output::default();
        while let Some(frame) = rest.frame().await {
            let frame = frame.map_err(|error| Broken::Unanswered(error.to_string()))?;
            if let Some(piece) = frame.data_ref() {
                body.push(piece);
            }
        }
        Ok(Self {
            status: head.status,
            retry_after: head.headers.get(RETRY_AFTER).cloned(),
            body,
        })
    }

    fn conclude(self, task: &LeasedTask) -> Outcome {
        let words = self.body.beginning(WORDS);
        match judge(self.status, &words) {
            Verdict::Retry { error } => {
                let after = self.retry_after.as_ref().and_then(|value| {
                    let after = retry_after(value.as_bytes(), SystemTime::now());
                    if after.is_none() {
                        tracing::warn!(id = %task.id, r#type = task.kind, retry_after = ?value, "Retry-After is neither seconds, such as 90, nor a date: waiting as the policy says");
                    }
                    after
                });
                Outcome::Retry { error, after }
            }
            Verdict::Dead { error } => Outcome::Dead { error },
            Verdict::Done => output::completed(self.body, task),
        }
    }
}

/// The last of an error's causes, which is the one that a user can do something about.
fn cause(error: &Error) -> String {
    let mut told: &dyn std::error::Error = error;
    while let Some(inner) = told.source() {
        told = inner;
    }
    told.to_string()
}
