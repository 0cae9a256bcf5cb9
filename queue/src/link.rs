//! The way of a call to the server that holds its queue: the only one, the primary, or the node of
//! a cluster that serves the queue's slot. What is asked, and what an answer means, is not decided
//! here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use redis::aio::PubSub;
use redis::{Cmd, Value};

use crate::clock::Clock;
use crate::cluster::{Found, Map};
use crate::dial::Address;
use crate::endpoint::Kind;
use crate::fault::{Fault, Faults};
use crate::line::{Line, Place};
use crate::question::{Ask, Question};
use crate::script::Call;
use crate::shared::lock;
use crate::slots::{slot_of, slot_of_key};
use crate::{Endpoint, Error, QueueName};

/// How many nodes of a cluster are asked for one call, each because the one before knew better or
/// was lost.
const MOST_NODES: usize = 4;

/// The way to the server of one queue, or to any. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Link {
    hub: Arc<Hub>,
    /// In a cluster, the slot of the queue; `None` for any node.
    slot: Option<u16>,
}

struct Hub {
    endpoint: Endpoint,
    faults: Faults,
    timeout: Duration,
    lines: Lines,
    /// For calls that belong to no node.
    clock: Arc<Clock>,
}

enum Lines {
    One(Line),
    /// One for each node that was called so far.
    Many(Arc<Map>, Mutex<HashMap<Address, Line>>),
}

impl Link {
    /// Connects on its first call. `timeout` bounds each call.
    pub(crate) fn new(endpoint: &Endpoint, timeout: Duration) -> Self {
        let faults = Faults::new(endpoint, timeout);
        let clock = Arc::new(Clock::new());
        let one = |place| Lines::One(Line::new(endpoint, place, timeout, Arc::clone(&clock)));
        let lines = match (endpoint.kind(), endpoint.hosts()) {
            (Kind::Sentinel { primary }, _) => one(Place::Primary(primary.clone())),
            (Kind::Standalone, [host, ..]) => one(Place::At(host.clone())),
            (Kind::Cluster, _) | (Kind::Standalone, []) => {
                Lines::Many(Arc::new(Map::new(endpoint, &faults)), Mutex::default())
            }
        };
        Self {
            hub: Arc::new(Hub {
                endpoint: endpoint.clone(),
                faults,
                timeout,
                lines,
                clock,
            }),
            slot: None,
        }
    }

    /// The way to a queue, over the same connections.
    pub(crate) fn to(&self, queue: &QueueName) -> Self {
        self.at(self.in_cluster().then(|| slot_of(queue)))
    }

    /// The way to a slot, over the same connections.
    pub(crate) fn at(&self, slot: Option<u16>) -> Self {
        Self {
            hub: Arc::clone(&self.hub),
            slot,
        }
    }

    /// In a cluster, the slot of a key.
    pub(crate) fn slot_for(&self, key: Option<&[u8]>) -> Option<u16> {
        key.filter(|_| self.in_cluster()).map(slot_of_key)
    }

    fn in_cluster(&self) -> bool {
        matches!(self.hub.lines, Lines::Many(..))
    }

    /// The same way over connections of its own, for calls that block.
    pub(crate) fn another(&self, timeout: Duration) -> Self {
        let lines = match &self.hub.lines {
            Lines::One(line) => Lines::One(line.another(timeout)),
            Lines::Many(map, _) => Lines::Many(Arc::clone(map), Mutex::default()),
        };
        Self {
            hub: Arc::new(Hub {
                endpoint: self.hub.endpoint.clone(),
                faults: Faults::new(&self.hub.endpoint, timeout),
                timeout,
                lines,
                clock: Arc::clone(&self.hub.clock),
            }),
            slot: self.slot,
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.hub.endpoint
    }

    pub(crate) fn slot(&self) -> Option<u16> {
        self.slot
    }

    /// The clock of the server that holds the queue.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        let clock = match &self.hub.lines {
            Lines::One(line) => Some(Arc::clone(line.clock())),
            Lines::Many(map, lines) => map.peek(self.slot).and_then(|address| {
                let lines = lock(lines);
                lines.get(&address).map(|line| Arc::clone(line.clock()))
            }),
        };
        clock.unwrap_or_else(|| Arc::clone(&self.hub.clock))
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.hub.faults
    }

    /// Connects if there is no connection.
    pub(crate) async fn connect(&self) -> Result<(), Error> {
        self.ask(Ask::Connection).await?;
        Ok(())
    }

    /// Sends a plain command.
    pub(crate) async fn send(&self, command: &Cmd, name: &'static str) -> Result<Value, Fault> {
        self.ask(Ask::Question(Question::Plain(command, name)))
            .await
    }

    /// Calls a script, after loading it if the server does not know it.
    pub(crate) async fn call(&self, call: &Call) -> Result<Value, Fault> {
        self.ask(Ask::Question(Question::Script(call))).await
    }

    /// Calls a script that only reads; once more if the connection turns out to have broken since
    /// the last call.
    pub(crate) async fn read(&self, call: &Call) -> Result<Value, Fault> {
        self.ask_twice(Ask::Question(Question::Script(call))).await
    }

    /// Sends a plain command that only reads; once more if the connection turns out to have broken.
    pub(crate) async fn read_plain(
        &self,
        command: &Cmd,
        name: &'static str,
    ) -> Result<Value, Fault> {
        self.ask_twice(Ask::Question(Question::Plain(command, name)))
            .await
    }

    /// What only reads, each with its [`Link::slot`]: one round trip to each server for each thousand
    /// that it is asked.
    pub(crate) async fn read_all(
        &self,
        questions: &[(Option<u16>, Question<'_>)],
    ) -> Vec<Result<Value, Error>> {
        match &self.hub.lines {
            Lines::One(line) => {
                let questions: Vec<_> = questions.iter().map(|(_, question)| *question).collect();
                let answers = line.ask_all(&questions).await;
                answers.into_iter().map(|answer| Ok(answer?)).collect()
            }
            Lines::Many(map, lines) => self.read_all_nodes(map, lines, questions).await,
        }
    }

    /// The lines to all servers that hold queues, with their addresses: the one that the URL names,
    /// the sentinels' primary, or the nodes of a cluster that serve slots.
    pub(crate) async fn servers(&self) -> Result<Vec<(String, Line)>, Error> {
        match &self.hub.lines {
            Lines::One(line) => {
                let address = self.hub.endpoint.address().to_owned();
                Ok(vec![(address, line.clone())])
            }
            Lines::Many(map, lines) => {
                let table = map.find(None).await?.table;
                let nodes = table.primaries().iter().map(|address| {
                    let found = Found {
                        address: address.clone(),
                        table: Arc::clone(&table),
                    };
                    (address.to_string(), self.line(lines, &found))
                });
                Ok(nodes.collect())
            }
        }
    }

    /// Subscribes to a channel. What is published anywhere in a cluster reaches all of its nodes.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<PubSub, Error> {
        match &self.hub.lines {
            Lines::One(line) => line.subscribe(channel).await,
            Lines::Many(map, lines) => {
                let found = map.find(None).await?;
                let subscribed = self.line(lines, &found).subscribe(channel).await;
                if let Err(error) = &subscribed {
                    map.learn(None, &found, &Fault::not_done(error.clone()));
                }
                subscribed
            }
        }
    }

    async fn ask_twice(&self, ask: Ask<'_>) -> Result<Value, Fault> {
        match self.ask(ask).await {
            Err(fault) if fault.is_broken_line() => self.ask(ask).await,
            result => result,
        }
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Value, Fault> {
        match &self.hub.lines {
            Lines::One(line) => line.ask(ask).await,
            Lines::Many(map, lines) => self.ask_nodes(map, lines, ask).await,
        }
    }

    /// Asks the node that serves the slot. If it does not do so any more, asks the one that does,
    /// unless the call may have been done.
    async fn ask_nodes(
        &self,
        map: &Map,
        lines: &Mutex<HashMap<Address, Line>>,
        ask: Ask<'_>,
    ) -> Result<Value, Fault> {
        let mut failure: Option<(Address, Fault)> = None;
        for _ in 0..MOST_NODES {
            let found = match (map.find(self.slot).await, failure.take()) {
                (Err(error), None) => return Err(Fault::not_done(error)),
                (Err(_), Some((_, fault))) => return Err(fault),
                // Nobody has taken over.
                (Ok(found), Some((asked, fault))) if asked == found.address => return Err(fault),
                (Ok(found), _) => found,
            };
            let fault = match self.line(lines, &found).ask(ask).await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            let may_help = map.learn(self.slot, &found, &fault);
            if fault.maybe_done || !may_help {
                return Err(fault);
            }
            failure = Some((found.address, fault));
        }
        Err(match failure {
            Some((_, fault)) => fault,
            None => Fault::not_done(self.hub.faults.unreachable("no node".to_owned())),
        })
    }

    async fn read_all_nodes(
        &self,
        map: &Map,
        lines: &Mutex<HashMap<Address, Line>>,
        questions: &[(Option<u16>, Question<'_>)],
    ) -> Vec<Result<Value, Error>> {
        let unasked = || Err(self.hub.faults.unreachable("not asked".to_owned()));
        let mut results: Vec<Result<Value, Error>> = questions.iter().map(|_| unasked()).collect();
        let mut open: Vec<usize> = (0..questions.len()).collect();
        for _ in 0..MOST_NODES {
            let mut nodes: HashMap<Address, (Found, Vec<usize>)> = HashMap::new();
            for place in std::mem::take(&mut open) {
                match map.find(questions[place].0).await {
                    Ok(found) => {
                        let node = nodes.entry(found.address.clone());
                        node.or_insert((found, Vec::new())).1.push(place);
                    }
                    Err(error) => results[place] = Err(error),
                }
            }
            let asked = nodes.into_values().map(|(found, places)| {
                let line = self.line(lines, &found);
                async move {
                    let asked = places.iter().map(|&place| questions[place].1);
                    let answers = line.ask_all(&asked.collect::<Vec<_>>()).await;
                    (found, places, answers)
                }
            });
            for (found, places, answers) in join_all(asked).await {
                for (place, answer) in places.into_iter().zip(answers) {
                    if let Err(fault) = &answer
                        && map.learn(questions[place].0, &found, fault)
                        // That one has taken its time already.
                        && !matches!(fault.error, Error::Timeout { .. })
                    {
                        open.push(place);
                    }
                    results[place] = answer.map_err(Error::from);
                }
            }
            if open.is_empty() {
                break;
            }
        }
        results
    }

    /// The line to a node.
    fn line(&self, lines: &Mutex<HashMap<Address, Line>>, found: &Found) -> Line {
        let mut lines = lock(lines);
        if let Some(line) = lines.get(&found.address) {
            return line.clone();
        }
        // A new node is the time to part with those that have left.
        lines.retain(|address, _| found.table.nodes().any(|node| node == address));
        let place = Place::At(found.address.clone());
        let clock = Arc::new(Clock::new());
        let line = Line::new(&self.hub.endpoint, place, self.hub.timeout, clock);
        lines.insert(found.address.clone(), line.clone());
        line
    }
}
