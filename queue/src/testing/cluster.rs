//! A Redis Cluster of three primaries, and a replica of the first if wanted.

use std::time::Duration;

use super::server::free_port;
use super::{RedisServer, eventually};
use crate::slots::{SLOTS, slot_of};
use crate::{Endpoint, QueueName};

/// Longest time until all nodes agree.
const START: Duration = Duration::from_secs(20);
const PRIMARIES: u16 = 3;

/// Such a cluster. All its processes are killed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Three primaries, then the replica if there is one.
    pub nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Three primaries.
    pub async fn start() -> Self {
        Self::start_with(0, &[]).await
    }

    /// Three primaries and a replica of the first.
    pub async fn with_replica() -> Self {
        Self::start_with(1, &[]).await
    }

    /// With so many replicas of the first primary and further arguments for all nodes.
    pub async fn start_with(replicas: usize, arguments: &[&str]) -> Self {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..usize::from(PRIMARIES) + replicas {
            // Not the port that is 10000 above, which need not be free, nor a port at all.
            let bus = free_port().to_string();
            let own = [
                "--save",
                "",
                "--appendonly",
                "no",
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "2500",
                "--repl-diskless-sync-delay",
                "0",
                "--cluster-port",
                &bus,
            ];
            nodes.push(RedisServer::start_with(&[&own, arguments].concat()).await);
            buses.push(bus);
        }
        let cluster = Self { nodes };
        let all = cluster.nodes.iter().zip(&buses);
        for (place, (node, bus)) in (0..).zip(all) {
            if place < PRIMARIES {
                let (first, last) = slots_of(place);
                let _: () = node
                    .command(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"))
                    .await;
                let epoch = format!("CLUSTER SET-CONFIG-EPOCH {}", place + 1);
                let _: () = node.command(&epoch).await;
            }
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.safest_port());
            let _: () = cluster.nodes[0].command(&meet).await;
        }
        cluster.until_agreed().await;
        let origin: String = cluster.nodes[0].command("CLUSTER MYID").await;
        for replica in &cluster.nodes[usize::from(PRIMARIES)..] {
            let _: () = replica
                .command(&format!("CLUSTER REPLICATE {origin}"))
                .await;
            eventually(START, "the replica follows", async || {
                let info: redis::InfoDict = replica.try_command("INFO replication").await?;
                (info.get::<String>("master_link_status")? == "up").then_some(())
            })
            .await;
        }
        cluster
    }

    /// `redis+cluster://` with the first node alone: the others are found by it.
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.nodes[0].port())
    }

    /// The endpoint, with all nodes, and over TLS if they were given a certificate.
    pub fn endpoint(&self) -> Endpoint {
        let hosts: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.safest_port()))
            .collect();
        let url = self.nodes[0].safest_url();
        let scheme = url.split(':').next().unwrap();
        Endpoint::parse(&format!("{scheme}+cluster://{}", hosts.join(","))).unwrap()
    }

    /// The name of a queue that lives on the primary of this place, before anything is moved.
    pub fn queue_on(&self, place: u16) -> QueueName {
        let (first, last) = slots_of(place);
        (0..1_000)
            .map(|n| QueueName::new("test", &format!("q{n}")).unwrap())
            .find(|name| (first..=last).contains(&slot_of(name)))
            .unwrap()
    }

    /// The slot of a queue.
    pub fn slot(&self, queue: &QueueName) -> u16 {
        slot_of(queue)
    }

    /// Waits until every node that runs knows that the one of this place does not.
    pub async fn until_missed(&self, place: usize) {
        let port = self.nodes[place].port();
        eventually(START, "the node is missed", async || {
            for node in self.nodes.iter().filter(|node| node.runs()) {
                let nodes: String = node.try_command("CLUSTER NODES").await?;
                let missed = |line: &str| {
                    line.contains(&format!(":{port}@")) && line.contains(" master,fail ")
                };
                if !nodes.lines().any(missed) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Waits until every node that runs says that all is well.
    pub async fn until_agreed(&self) {
        eventually(START, "the nodes agree", async || {
            for node in self.nodes.iter().filter(|node| node.runs()) {
                let info: String = node.try_command("CLUSTER INFO").await?;
                let known = format!("cluster_known_nodes:{}", self.nodes.len());
                if !info.contains("cluster_state:ok") || !info.contains(&known) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

/// The slots that a primary is given at the start.
fn slots_of(place: u16) -> (u16, u16) {
    let bound = |place: u16| u32::from(SLOTS) * u32::from(place) / u32::from(PRIMARIES);
    let bound = |place| u16::try_from(bound(place)).unwrap();
    (bound(place), bound(place + 1) - 1)
}
