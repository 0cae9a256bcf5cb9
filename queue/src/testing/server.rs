//! A redis-server on a free loopback port, with a directory of its own, that dies with its value.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::clock;
use crate::{Client, Endpoint};

/// Longest time a server may take to start.
const START: Duration = Duration::from_secs(10);
/// Longest time that a connection may take to be made.
const PATIENCE: Duration = Duration::from_mins(1);
/// The file of settings of those that have one.
const CONFIG: &str = "server.conf";
/// Another test may take the port between its choice and the server's start.
const TRIES: usize = 5;

/// A redis-server of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    /// One more port, for TLS, if it was given a certificate.
    tls_port: Option<u16>,
    config: Option<String>,
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
        Self::start_configured(None, arguments).await
    }

    /// Starts one that keeps nothing on disk, and whose clock can be moved. Needs a C compiler.
    pub async fn start_with_clock() -> Self {
        Self::start_with_clock_and(&["--save", "", "--appendonly", "no"]).await
    }

    /// Starts one with these arguments whose clock can be moved. Needs a C compiler.
    pub async fn start_with_clock_and(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        clock::make(directory.path());
        Self::start_in(directory, None, arguments).await
    }

    /// Moves the clock of one that was started with such a one: it is this many seconds ahead of the
    /// machine's, or behind if below 0. Returns when a server that runs goes by it, which Valkey
    /// 9 does not at once.
    pub fn move_clock(&self, seconds: i64) {
        clock::set(self.directory.path(), seconds);
        if self.runs() {
            clock::wait(self.port(), seconds);
        }
    }

    /// Starts one with a file of settings, which it may write.
    pub(super) async fn start_configured(config: Option<String>, arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config, arguments).await
    }

    async fn start_in(directory: TempDir, config: Option<String>, arguments: &[&str]) -> Self {
        let mut server = Self {
            port: 0,
            tls_port: None,
            config,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            directory,
            child: None,
        };
        for _ in 0..TRIES {
            server.port = free_port();
            server.tls_port = arguments.contains(&"--tls-cert-file").then(free_port);
            if let Some(config) = &server.config {
                std::fs::write(server.directory.path().join(CONFIG), config).unwrap();
            }
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

    /// `redis://127.0.0.1:port`, or the same over TLS if it was given a certificate.
    pub fn safest_url(&self) -> String {
        match self.tls_port {
            Some(port) => format!("rediss://127.0.0.1:{port}"),
            None => self.url(),
        }
    }

    /// The port in [`RedisServer::safest_url`].
    pub fn safest_port(&self) -> u16 {
        self.tls_port.unwrap_or(self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// A client of this crate; waits for as long as a busy machine needs to make the connection.
    pub async fn client(&self) -> Client {
        let endpoint = Endpoint::parse(&self.url()).unwrap();
        let begun = Instant::now();
        loop {
            match Client::connect(&endpoint).await {
                Err(error) if error.is_transient() && begun.elapsed() < PATIENCE => {}
                connected => return connected.unwrap(),
            }
        }
    }

    /// Sends a command of the test's own, in words.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &str) -> T {
        self.ask(words).await.unwrap()
    }

    /// The same of a server that may be down, or part with its clients since its role changes.
    pub async fn try_command<T: redis::FromRedisValue>(&self, words: &str) -> Option<T> {
        self.ask(words).await.ok()
    }

    async fn ask<T: redis::FromRedisValue>(&self, words: &str) -> redis::RedisResult<T> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.connect().await?).await
    }

    /// A connection for commands of the test's own.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.connect().await.unwrap()
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(START));
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        connection.await
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

    /// Whether it was started and not ended since.
    pub fn runs(&self) -> bool {
        self.child.is_some()
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

    /// Starts it again and does not wait until it has read its data.
    pub async fn restart_loading(&mut self) {
        self.kill();
        self.spawn();
        let deadline = Instant::now() + START;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "redis-server did not restart");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts it and returns its process id.
    fn spawn(&mut self) -> u32 {
        let directory = self.directory.path().display().to_string();
        let mut command = Command::new("redis-server");
        if self.config.is_some() {
            command.arg(self.directory.path().join(CONFIG));
        }
        if let Some(port) = self.tls_port {
            command.args(["--tls-port", &port.to_string()]);
        }
        let child = command
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
            .envs(clock::environment(self.directory.path()))
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
        pid
    }

    /// Whether it runs and answers; `false` if another process has the port.
    async fn launch(&mut self) -> bool {
        let begins = format!("{}:", self.spawn());
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
            let is_ready = |line: &str| {
                line.contains("Ready to accept connections") || line.contains("mode=sentinel")
            };
            if self
                .log()
                .lines()
                .any(|line| line.starts_with(&begins) && is_ready(line))
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

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
