//! The connections that are open, and how one of them is served.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, Id};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::Limits;
use crate::crowd::{Standing, gives_way};

/// The largest head of a request.
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// The most bytes that a connection buffers of what it is sent.
const BUFFER_BYTES: usize = 32 * 1024;
/// The place of a connection whose request is being answered.
const ANSWERED: u64 = u64::MAX;

/// Orders the beginnings of waits.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Since when a connection has waited for a request. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Waiting(Arc<AtomicU64>);

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(next())))
    }
}

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Waiting {
    fn begins(&self) {
        self.0.store(next(), Ordering::Relaxed);
    }

    fn ends(&self) {
        self.0.store(ANSWERED, Ordering::Relaxed);
    }

    fn since(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|since| *since != ANSWERED)
    }
}

/// The connections that are open.
pub(crate) struct Connections {
    most: usize,
    open: HashMap<Id, Connection>,
}

struct Connection {
    peer: IpAddr,
    waiting: Waiting,
    task: AbortHandle,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: HashMap::new(),
        }
    }

    /// Makes room for one from this address. Returns whether there is.
    pub(crate) fn make_room(&mut self, newcomer: IpAddr) -> bool {
        if self.open.len() < self.most {
            return true;
        }
        let (ids, open): (Vec<Id>, Vec<Standing>) = self
            .open
            .iter()
            .map(|(id, one)| (*id, one.standing()))
            .unzip();
        let Some(place) = gives_way(&open, newcomer) else {
            return false;
        };
        if let Some(one) = self.open.remove(&ids[place]) {
            one.task.abort();
        }
        true
    }

    pub(crate) fn opened(&mut self, peer: IpAddr, waiting: Waiting, task: AbortHandle) {
        let one = Connection {
            peer,
            waiting,
            task,
        };
        self.open.insert(one.task.id(), one);
    }

    pub(crate) fn ended(&mut self, id: Id) {
        self.open.remove(&id);
    }
}

impl Connection {
    fn standing(&self) -> Standing {
        Standing {
            peer: self.peer,
            waits_since: self.waiting.since(),
        }
    }
}

/// Answers the requests of one connection, until it is closed or, once all are `stopping`, no request is left.
pub(crate) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    waiting: Waiting,
    stopping: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, waiting) = (router.clone(), waiting.clone());
        async move {
            let answer = match whole(request, limits).await {
                Ok(request) => {
                    waiting.ends();
                    let Ok(answer) = router.oneshot(request).await;
                    answer
                }
                Err(refusal) => refusal,
            };
            waiting.begins();
            Ok::<_, Infallible>(answer)
        }
    });
    // An answer that nobody reads on is given up as a request that does not come is.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.patience));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.patience)
        .max_header_size(MOST_HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    // How a connection ended concerns the other side alone.
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended");
    }
}

/// The request with all of its body, or what is answered to one that is too large or too slow.
async fn whole(request: Request<Incoming>, limits: Limits) -> Result<Request<Body>, Response> {
    let (head, body) = request.into_parts();
    let limit = u64::try_from(limits.body_bytes).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    let body = axum::body::to_bytes(Body::new(body), limits.body_bytes);
    match tokio::time::timeout(limits.patience, body).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, Body::from(body))),
        // Or it broke off, and nobody hears this.
        Ok(Err(_)) => Err(too_large(limit)),
        Err(_) => {
            let message = format!("the body did not come within {:?}\n", limits.patience);
            Err(refuse(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

fn too_large(limit: u64) -> Response {
    let message = format!("a body has at most {limit} bytes here\n");
    refuse(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// A refusal after which the connection is closed: the rest of the request is not read.
fn refuse(status: StatusCode, message: String) -> Response {
    (status, [(header::CONNECTION, "close")], message).into_response()
}
