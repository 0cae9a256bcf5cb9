//! Connections to the handler: TCP on loopback, or a Unix socket.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::pin::Pin;
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
                Ok(Stream::Tcp(stream))
            }
            Self::Socket(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
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

/// A connection of either kind.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
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
