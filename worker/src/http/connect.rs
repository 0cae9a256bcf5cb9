//! Connections to the handler: TCP on loopback, or a Unix socket; and what is known of the traffic on each.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tower::Service;

/// How long a process that was killed may take to close all that it had open.
const GOING: Duration = Duration::from_millis(200);

/// Where the handler listens, in this pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A port of loopback, of IPv4 or else of IPv6.
    Port(u16),
    /// A Unix socket.
    Socket(PathBuf),
}

impl Place {
    /// Connects.
    pub(super) async fn dial(&self) -> io::Result<Stream> {
        match self {
            Self::Port(port) => {
                let stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await {
                    Ok(stream) => stream,
                    // What it says of IPv4 is what is told: most apps listen there.
                    Err(error) => TcpStream::connect((Ipv6Addr::LOCALHOST, *port))
                        .await
                        .map_err(|_| error)?,
                };
                stream.set_nodelay(true)?;
                Ok(Channel::Tcp(stream).into())
            }
            Self::Socket(path) => Ok(Channel::Unix(UnixStream::connect(path).await?).into()),
        }
    }

    /// Looks whether somebody listens who is not about to go. The kernel may close the connections of a
    /// killed process before what it listens on: a connection made in between ends a moment later.
    pub(super) async fn stands(&self) -> io::Result<()> {
        let mut stream = self.dial().await?;
        let ends = stream.read_u8();
        match tokio::time::timeout(GOING, ends).await {
            Err(_) | Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => self.dial().await.map(drop),
        }
    }
}

/// As a person would name it.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Socket(path) => write!(f, "the socket {}", path.display()),
        }
    }
}

/// What went over a connection of HTTP/1.1, where a request follows the answer to the one before. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    /// Something was ever read.
    ever: AtomicBool,
    /// Something had been read when the last request was written.
    before: AtomicBool,
    /// Nothing was read since then.
    silent: AtomicBool,
}

impl Traffic {
    /// Whether the last request may have met a server that was closing the connection: it had answered another on it
    /// before, and nothing of an answer came.
    pub(super) fn may_be_unseen(&self) -> bool {
        self.0.before.load(Ordering::Relaxed) && self.0.silent.load(Ordering::Relaxed)
    }

    /// A request, or a piece of one, is to be written.
    fn write(&self) {
        let before = self.0.ever.load(Ordering::Relaxed);
        self.0.before.store(before, Ordering::Relaxed);
        self.0.silent.store(true, Ordering::Relaxed);
    }

    fn read(&self) {
        self.0.ever.store(true, Ordering::Relaxed);
        self.0.silent.store(false, Ordering::Relaxed);
    }
}

/// A connection.
pub(super) struct Stream {
    channel: Channel,
    traffic: Traffic,
}

/// A connection of either kind.
enum Channel {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<Channel> for Stream {
    fn from(channel: Channel) -> Self {
        Self {
            channel,
            traffic: Traffic::default(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { channel, traffic } = self.get_mut();
        let before = buffer.filled().len();
        let polled = match channel {
            Channel::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Channel::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if buffer.filled().len() > before {
            traffic.read();
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { channel, traffic } = self.get_mut();
        // Also if it fails: it does where the server has closed the connection.
        traffic.write();
        match channel {
            Channel::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Channel::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().channel {
            Channel::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Channel::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().channel {
            Channel::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Channel::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.traffic.clone())
    }
}

/// Makes the client's connections, whatever the URI says of the host.
#[derive(Clone, Debug)]
pub(super) struct Connector(pub(super) Place);

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let place = self.0.clone();
        Box::pin(async move { place.dial().await.map(TokioIo::new) })
    }
}
