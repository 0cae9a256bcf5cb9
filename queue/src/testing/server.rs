//! A redis-server on a free loopback port, with a directory of its own, that dies with its value.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::{Client, Endpoint};

/// Longest time a server may take to start.
const START: Duration = Duration::from_secs(10);
/// Another test may take the port between its choice and the server's start.
const TRIES: usize = 5;

/// A redis-server of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that keeps nothing on disk.
    pub async fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"]).await
    }

    /// Starts one with these arguments besides its port, address and directory.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut server = Self {
            port: 0,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            directory,
            child: None,
        };
        for _ in 0..TRIES {
            server.port = free_port();
            if server.launch().await {
                return server;
            }
        }
        panic!(
            "redis-server did not start with {arguments:?}: {}",
            server.log()
        );
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// A client of this crate.
    pub async fn client(&self) -> Client {
        Client::connect(&Endpoint::parse(&self.url()).unwrap())
            .await
            .unwrap()
    }

    /// A connection for commands of the test's own.
    pub async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Stops it as an administrator would: it writes what it was told to keep, then ends.
    pub async fn stop(&mut self) {
        self.signal("-TERM");
        let deadline = Instant::now() + START;
        while let Some(child) = &mut self.child {
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return;
            }
            assert!(Instant::now() < deadline, "redis-server did not stop");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after [`RedisServer::freeze`].
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Starts it again, after a stop or a kill, on the same port and directory.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(
            self.launch().await,
            "redis-server did not restart: {}",
            self.log()
        );
    }

    /// Whether it runs and answers; `false` if another process has the port.
    async fn launch(&mut self) -> bool {
        let directory = self.directory.path().display().to_string();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--dir",
                &directory,
            ])
            .args(["--logfile", &format!("{directory}/log")])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|fault| {
                panic!(
                    "redis-server cannot be run ({fault}): install the Debian package redis-server"
                )
            });
        let pid = child.id();
        self.child = Some(child);
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if self
                .child
                .as_mut()
                .is_none_or(|child| child.try_wait().unwrap().is_some())
            {
                self.child = None;
                return false;
            }
            // It also counts as up when it answers that it wants a password, or speaks only TLS.
            if self.log().contains("Ready to accept connections")
                && self.log().contains(&format!("{pid}:M"))
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let sent = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(sent.unwrap().success());
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
