//! What Redis is still to be told: kept here until it has said that it knows. Pure.

use super::attempt::Message;
use crate::TaskId;
use crate::batch::next_slice;
use crate::lease::{Ack, End, Settlement};

/// Undelivered acks and settlements.
#[derive(Default)]
pub(super) struct Outbox {
    acks: Vec<Ack>,
    settlements: Vec<Settlement>,
}

impl Outbox {
    pub(super) fn put(&mut self, message: Message) {
        match message {
            Message::Done(ack) => self.acks.push(ack),
            Message::Other(settlement) => self.settlements.push(settlement),
        }
    }

    pub(super) fn release(&mut self, id: TaskId) {
        self.settlements.push(Settlement {
            id,
            end: End::Release,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.acks.len() + self.settlements.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> {
        let acks = self.acks.iter().map(|ack| ack.id);
        acks.chain(self.settlements.iter().map(|settlement| settlement.id))
    }

    /// What goes into the next call: acks sorted by id, and settlements, each as many as a call
    /// takes.
    pub(super) fn next(&mut self) -> (&[Ack], &[Settlement]) {
        self.acks.sort_unstable_by_key(|ack| ack.id);
        let acks = next_slice(self.acks.iter().map(|ack| ack.done.len()));
        let settlements = next_slice(self.settlements.iter().map(
            |settlement| match &settlement.end {
                End::Retry { record, .. } | End::Dead { record } => record.len(),
                End::Release => 0,
            },
        ));
        (&self.acks[..acks], &self.settlements[..settlements])
    }

    /// The first `count` acks are known to Redis.
    pub(super) fn acked(&mut self, count: usize) {
        self.acks.drain(..count);
    }

    /// The first `count` settlements are known to Redis; returns them.
    pub(super) fn settled(&mut self, count: usize) -> impl Iterator<Item = Settlement> {
        self.settlements.drain(..count)
    }

    /// The lease is lost: nobody wants to know any of it.
    pub(super) fn clear(&mut self) {
        self.acks.clear();
        self.settlements.clear();
    }
}
