//! A primary, a replica, and three sentinels that watch them.

use std::time::Duration;

use super::{RedisServer, eventually};
use crate::Endpoint;

/// The name under which the sentinels know the primary.
const PRIMARY: &str = "main";
/// Longest time until all of them know each other.
const START: Duration = Duration::from_secs(20);

/// Such a set. All its processes are killed when this is dropped.
#[derive(Debug)]
pub struct Sentinels {
    /// The first one is the primary until a failover.
    pub servers: Vec<RedisServer>,
    /// The sentinels.
    pub sentinels: Vec<RedisServer>,
}

impl Sentinels {
    /// Starts one and waits until every sentinel could begin a failover.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`Sentinels::start`], with further arguments for servers and sentinels.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let keeps_nothing = ["--save", "", "--appendonly", "no"];
        let all = [&keeps_nothing, arguments].concat();
        let primary = RedisServer::start_with(&all).await;
        let origin = format!("127.0.0.1 {}", primary.safest_port());
        let replica = RedisServer::start_with(
            &[
                &all[..],
                &["--replicaof", &origin, "--repl-diskless-sync-delay", "0"],
            ]
            .concat(),
        )
        .await;
        let config = format!(
            "sentinel monitor {PRIMARY} {origin} 2\n\
             sentinel down-after-milliseconds {PRIMARY} 2000\n\
             sentinel failover-timeout {PRIMARY} 5000\n"
        );
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let config = Some(config.clone());
            let arguments = [&["--sentinel"], arguments].concat();
            sentinels.push(RedisServer::start_configured(config, &arguments).await);
        }
        let set = Self {
            servers: vec![primary, replica],
            sentinels,
        };
        eventually(START, "the sentinels know each other", async || {
            for sentinel in &set.sentinels {
                let info: redis::InfoDict = sentinel.try_command("INFO sentinel").await?;
                let line: String = info.get("master0")?;
                if !line.contains("status=ok,") || !line.contains("slaves=1,sentinels=3") {
                    return None;
                }
            }
            let replication: redis::InfoDict =
                set.servers[1].try_command("INFO replication").await?;
            (replication.get::<String>("master_link_status")? == "up").then_some(())
        })
        .await;
        set
    }

    /// `redis+sentinel://…/main`, or the same over TLS if they were given a certificate.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.safest_port()))
            .collect();
        let url = self.sentinels[0].safest_url();
        let scheme = url.split(':').next().unwrap();
        format!("{scheme}+sentinel://{}/{PRIMARY}", hosts.join(","))
    }

    /// The endpoint.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.url()).unwrap()
    }

    /// Waits until a server has become the primary and a sentinel says so.
    pub async fn until_primary(&self, place: usize) {
        let server = &self.servers[place];
        let address = ("127.0.0.1".to_owned(), server.safest_port());
        eventually(START * 2, "a new primary", async || {
            let info: redis::InfoDict = server.try_command("INFO replication").await?;
            if info.get::<String>("role")? != "master" {
                return None;
            }
            for sentinel in &self.sentinels {
                let ask = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {PRIMARY}");
                let named: (String, u16) = sentinel.try_command(&ask).await?;
                if named == address {
                    return Some(());
                }
            }
            None
        })
        .await;
    }
}
