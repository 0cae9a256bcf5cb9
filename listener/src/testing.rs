//! A flood of requests that never end, for tests of programs that listen.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// How many connections are opened side by side.
const SIDE_BY_SIDE: usize = 4;
/// Descriptors that a test needs beside the flood.
const SPARE_FILES: usize = 256;

/// Opens so many connections from this address of the loopback, each with the beginning of a request, and returns those that
/// could be opened. They stay open on this side until they are dropped.
pub async fn flood(server: SocketAddr, from: Ipv4Addr, connections: usize) -> Vec<TcpStream> {
    let mut opening = JoinSet::new();
    for _ in 0..SIDE_BY_SIDE {
        opening.spawn(async move {
            let mut open = Vec::new();
            for _ in 0..connections / SIDE_BY_SIDE {
                open.extend(begin(server, from).await);
            }
            open
        });
    }
    opening.join_all().await.into_iter().flatten().collect()
}

/// Opens one connection with the beginning of a request.
pub async fn begin(server: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(server).await?;
    // The other side may have closed it already.
    let _ = stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        .await;
    Ok(stream)
}

/// Whether the server has closed a connection on which it has sent nothing.
pub fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = [0];
    !matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// As many connections as the limit of open files lets a test have, at most so many.
pub fn at_most(connections: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.map_or(connections, |soft: usize| {
        connections.min(soft.saturating_sub(SPARE_FILES))
    })
}
