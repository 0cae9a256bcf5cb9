//! HTTP/1.1 for probes, metrics and small requests, on a port that anybody may reach: whoever opens connections, and sends
//! slowly, too much or nothing, costs memory up to a bound and keeps nobody else from an answer.
//!
//! A request has to arrive whole, head and body, within [`Limits::patience`], and a connection may rest for as long between
//! two. When there are as many connections as may be, a new one is let in all the same, and another gives way to it: of the
//! address with the most connections, the one that has waited longest for a request (`crowd`). To refuse the new one would
//! be simpler, but then who holds all of them open shuts out the kubelet, and a probe that fails restarts the program. As it
//! is, a flood from one address costs its own connections alone, and one from many addresses has to open as many as there
//! may be within the moment that a probe takes to send its request. A connection whose request is being answered never
//! gives way: it may be a `preStop` hook, which waits for the last task.

mod connection;
mod crowd;
#[cfg(feature = "testing")]
pub mod testing;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use connection::{Connections, Waiting};

/// How long no connection is taken after the system could give none, for want of file descriptors for example.
const PAUSE: Duration = Duration::from_secs(1);

/// What one listener takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time, at least 1.
    pub connections: usize,
    /// How long a request may take to arrive, and how long a connection may rest before it.
    pub patience: Duration,
    /// Bytes in the body of a request.
    pub body_bytes: usize,
}

impl Limits {
    /// For probes and metrics, whose requests have no bodies.
    pub const PROBES: Self = Self {
        connections: 64,
        patience: Duration::from_secs(5),
        body_bytes: 1024,
    };
}

/// Serves until `stop`, and then until the requests that have begun are answered. What is still open when this future is
/// dropped is cut off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let stopping = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let mut connections = Connections::new(limits.connections);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            Some(ended) = tasks.join_next_with_id() => {
                connections.ended(id_of(&ended));
                continue;
            }
            taken = take(&listener) => taken,
        };
        if !connections.make_room(peer) {
            // All of them are being answered: this one is closed.
            continue;
        }
        let waiting = Waiting::default();
        let serving = connection::serve(
            stream,
            router.clone(),
            limits,
            waiting.clone(),
            stopping.clone(),
        );
        connections.opened(peer, waiting, tasks.spawn(serving));
    }
    stopping.cancel();
    while tasks.join_next().await.is_some() {}
}

/// The next connection, and the address that it comes from.
async fn take(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip().to_canonical()),
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether a connection was gone before it could be taken.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn id_of(ended: &Result<(Id, ()), tokio::task::JoinError>) -> Id {
    match ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}
