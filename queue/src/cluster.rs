//! Which node of a cluster to ask: the table of slots, read from any node when it is first needed
//! and read again when it turns out to be wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;

use crate::dial::{Address, Way};
use crate::fault::{Fault, Faults};
use crate::shared::{Shared, lock};
use crate::slots::Table;
use crate::{Endpoint, Error, diagnose};

/// Longest wait for one node's table.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nodes that are asked for it at the same time.
const AT_ONCE: usize = 4;

/// The table of slots as last read. One for all connections of a client.
pub(crate) struct Map {
    endpoint: Endpoint,
    faults: Faults,
    table: Shared<Arc<Table>>,
    /// The last one that there was, for whom else to ask than the hosts of the URL.
    last: Mutex<Option<Arc<Table>>>,
    /// Which node is "any".
    turn: AtomicUsize,
}

/// A node, and the table that named it.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) address: Address,
    pub(crate) table: Arc<Table>,
}

impl Map {
    pub(crate) fn new(endpoint: &Endpoint, faults: &Faults) -> Self {
        Self {
            endpoint: endpoint.clone(),
            faults: faults.clone(),
            table: Shared::new(),
            last: Mutex::new(None),
            turn: AtomicUsize::new(usize::from(rand::random::<u16>())),
        }
    }

    /// The node that serves a slot; for `None` any that serves one.
    pub(crate) async fn find(&self, slot: Option<u16>) -> Result<Found, Error> {
        let table = match self.table.peek() {
            Some(table) => table,
            None => Box::pin(self.table.get(self.read())).await?,
        };
        if let Some(address) = self.pick(&table, slot).cloned() {
            return Ok(Found { address, table });
        }
        self.doubt(&table);
        let slot = slot.unwrap_or_default();
        let reason = format!("CLUSTERDOWN no node serves slot {slot}");
        Err(self.faults.unreachable(reason))
    }

    /// The same without asking anyone.
    pub(crate) fn peek(&self, slot: Option<u16>) -> Option<Address> {
        self.pick(&*self.table.peek()?, slot).cloned()
    }

    /// Learns from a failed call whether the table is wrong. Whether it may be.
    pub(crate) fn learn(&self, slot: Option<u16>, asked: &Found, fault: &Fault) -> bool {
        if let (Some(slot), Some(to)) = (slot, &fault.moved_to) {
            self.table.change(|table| {
                let mut corrected = Table::clone(table);
                corrected.moved(slot, to.clone());
                *table = Arc::new(corrected);
            });
            return true;
        }
        // A replica may have taken over; one that does not answer, is loading or has become a
        // replica itself says nothing about that.
        let lost = matches!(
            fault.error,
            Error::Unreachable { .. }
                | Error::Timeout { .. }
                | Error::ReadOnly { .. }
                | Error::Loading { .. }
        );
        if lost {
            self.turn.fetch_add(1, Ordering::Relaxed);
            self.doubt(&asked.table);
        }
        lost
    }

    fn doubt(&self, doubted: &Arc<Table>) {
        self.table.drop_if(|table| Arc::ptr_eq(table, doubted));
    }

    fn pick<'a>(&self, table: &'a Table, slot: Option<u16>) -> Option<&'a Address> {
        let Some(slot) = slot else {
            let primaries = table.primaries();
            let turn = self.turn.load(Ordering::Relaxed);
            return primaries.get(turn.checked_rem(primaries.len())?);
        };
        table.owner(slot)
    }

    /// Asks nodes for the table, a few at a time, until one gives it.
    async fn read(&self) -> Result<Arc<Table>, Error> {
        let asked: Vec<_> = self
            .candidates()
            .into_iter()
            .map(|node| self.ask(node))
            .collect();
        let mut answers = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
        let mut failure: Option<Error> = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(table) => {
                    let table = Arc::new(table);
                    *lock(&self.last) = Some(Arc::clone(&table));
                    return Ok(table);
                }
                // A fault that waiting does not heal says more than one that it does.
                Err(error) if failure.as_ref().is_none_or(Error::is_transient) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| self.faults.unreachable("no node answered".to_owned())))
    }

    /// The nodes known from before, beginning with another one each time, and the URL's hosts.
    fn candidates(&self) -> Vec<Address> {
        let last = lock(&self.last).clone();
        let mut nodes: Vec<Address> = last
            .iter()
            .flat_map(|table| table.nodes())
            .cloned()
            .collect();
        if !nodes.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % nodes.len();
            nodes.rotate_left(turn);
        }
        for host in self.endpoint.hosts() {
            if !nodes.contains(host) {
                nodes.push(host.clone());
            }
        }
        nodes
    }

    async fn ask(&self, node: Address) -> Result<Table, Error> {
        let faults = self.faults.at(&node);
        let way = Way::to(&node, &self.endpoint, &faults);
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let questions = [(command, "CLUSTER SLOTS")];
        let mut opened = diagnose::open(&way, &questions, PATIENCE, PATIENCE).await?;
        let value = opened.answers.pop().unwrap_or(redis::Value::Nil);
        // A cluster that is being made serves nothing yet, so that waiting helps.
        Table::read(value, &node).map_err(|reason| faults.unreachable(reason))
    }
}
