//! The one redis-server: emptied before each part, and asked what a part has cost it.

use std::time::{Duration, Instant};

use redis::InfoDict;
use redis::aio::MultiplexedConnection;
use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::{Client, EventLog, Policy, Queue, QueueName, Snapshot};

use super::Fault;
use super::figures::Mode;
use super::peer::Peer;

/// Longest wait for the server to settle.
const SETTLE: Duration = Duration::from_secs(30);
/// Celery's own keys, which are no results.
const CELERY_KEYS: u64 = 10;

/// The server with a connection of the harness's own.
pub(crate) struct Server {
    process: RedisServer,
    raw: MultiplexedConnection,
    client: Client,
    queue: Queue,
    /// Connections when no peer runs.
    quiet: u64,
}

impl Server {
    /// Starts it.
    pub(crate) async fn start() -> Result<Self, Fault> {
        let server = RedisServer::start_with(&[
            "--save",
            "",
            "--appendonly",
            "no",
            "--auto-aof-rewrite-percentage",
            "0",
        ])
        .await;
        let raw = server.connection().await;
        let client = server.client().await;
        let queue = client.queue(QueueName::new("bench", "jobs")?);
        let mut server = Self {
            process: server,
            raw,
            client,
            queue,
            quiet: 0,
        };
        server.snapshot().await?;
        server.quiet = server.number("clients", "connected_clients").await?;
        Ok(server)
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.process.url()
    }

    /// Its make and version, such as `Valkey 9.1.2`.
    pub(crate) async fn name(&self) -> Result<String, Fault> {
        let mut reports = self.client.server_reports().await?;
        let report = reports.pop().ok_or("the server tells nothing of itself")?;
        Ok(report.name())
    }

    /// Empties it, and starts its log anew if it is to keep one.
    pub(crate) async fn empty(&mut self, mode: Mode) -> Result<(), Fault> {
        self.command::<()>(&["CONFIG", "SET", "appendonly", "no"])
            .await?;
        self.command::<()>(&["FLUSHALL", "SYNC"]).await?;
        if mode == Mode::Log {
            self.command::<()>(&["CONFIG", "SET", "appendfsync", "everysec"])
                .await?;
            self.command::<()>(&["CONFIG", "SET", "appendonly", "yes"])
                .await?;
            let deadline = Instant::now() + SETTLE;
            while self
                .number("persistence", "aof_rewrite_in_progress")
                .await?
                != 0
                || self.number("persistence", "aof_rewrite_scheduled").await? != 0
            {
                wait(deadline, "the append-only file is not ready").await?;
            }
        }
        self.alone().await
    }

    /// The queue of ours.
    pub(crate) fn queue(&self) -> &QueueName {
        self.queue.name()
    }

    /// Has the queue of ours log each end.
    pub(crate) async fn log_ends(&mut self) -> Result<(), Fault> {
        let policy = Policy {
            events: Some(EventLog::default()),
            ..Policy::default()
        };
        self.queue.configure(&policy).await?;
        Ok(())
    }

    /// Waits until no peer is connected any more.
    pub(crate) async fn alone(&mut self) -> Result<(), Fault> {
        let deadline = Instant::now() + SETTLE;
        while self.number("clients", "connected_clients").await? > self.quiet {
            wait(deadline, "a peer has not closed its connections").await?;
        }
        Ok(())
    }

    /// CPU time that it has used, in µs.
    pub(crate) async fn cpu(&mut self) -> Result<f64, Fault> {
        let info = self.info("cpu").await?;
        let of = |name| {
            info.get::<f64>(name)
                .ok_or_else(|| format!("INFO has no {name}"))
        };
        Ok((of("used_cpu_user")? + of("used_cpu_sys")?) * 1e6)
    }

    /// Bytes that it has allocated.
    pub(crate) async fn memory(&mut self) -> Result<u64, Fault> {
        self.number("memory", "used_memory").await
    }

    /// Tasks that wait.
    pub(crate) async fn waiting(&mut self, peer: Peer) -> Result<u64, Fault> {
        match peer {
            Peer::Ours | Peer::Before => Ok(self.snapshot().await?.backlog()),
            other => self.command(other.waiting()).await,
        }
    }

    /// Tasks that are completed, of `tasks` that were enqueued.
    pub(crate) async fn completed(&mut self, peer: Peer, tasks: u64) -> Result<u64, Fault> {
        match peer {
            Peer::Ours | Peer::Before => Ok(self.snapshot().await?.counters.completed),
            Peer::Bare => Ok(tasks.saturating_sub(self.command(peer.completed()).await?)),
            Peer::Celery => {
                let keys = self.command(peer.completed()).await?;
                Ok(if keys > CELERY_KEYS { keys } else { 0 })
            }
            other => self.command(other.completed()).await,
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, Fault> {
        let asked = std::slice::from_ref(&self.queue);
        let mut answers = self.client.snapshot(asked).await;
        Ok(answers.pop().ok_or("a snapshot is missing")??)
    }

    async fn command<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> Result<T, Fault> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        Ok(command.query_async(&mut self.raw).await?)
    }

    async fn info(&mut self, section: &str) -> Result<InfoDict, Fault> {
        self.command(&["INFO", section]).await
    }

    async fn number(&mut self, section: &str, name: &str) -> Result<u64, Fault> {
        let info = self.info(section).await?;
        info.get(name)
            .ok_or_else(|| format!("INFO has no {name}").into())
    }
}

async fn wait(deadline: Instant, otherwise: &str) -> Result<(), Fault> {
    if Instant::now() > deadline {
        return Err(otherwise.into());
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(())
}
