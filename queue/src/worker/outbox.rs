//! What Redis is still to be told: kept here until it has said that it knows. Pure.

use super::attempt::Message;
use crate::TaskId;
use crate::batch::next_slice;
use crate::lease::{Ack, End, Ran, Settlement};

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
            ran: Ran::default(),
            failure: None,
        });
    }

    /// How many attempts it tells of.
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

    /// Takes what goes into the next call: acks sorted by id, and settlements, each as many as a
    /// call takes.
    pub(super) fn take(&mut self) -> (Vec<Ack>, Vec<Settlement>) {
        self.acks.sort_unstable_by_key(|ack| ack.id);
        let acks = next_slice(self.acks.iter().map(|ack| ack.done.len()));
        let sizes = self
            .settlements
            .iter()
            .map(|settlement| settlement.end.record().len());
        let settlements = next_slice(sizes);
        (
            take_first(&mut self.acks, acks),
            take_first(&mut self.settlements, settlements),
        )
    }

    /// What could not be delivered comes back, to go with the next call.
    pub(super) fn put_back_acks(&mut self, acks: Vec<Ack>) {
        self.acks.extend(acks);
    }

    /// The same for settlements.
    pub(super) fn put_back_settlements(&mut self, settlements: Vec<Settlement>) {
        self.settlements.splice(0..0, settlements);
    }

    /// The lease is lost: nobody wants to know any of it.
    pub(super) fn clear(&mut self) {
        self.acks.clear();
        self.settlements.clear();
    }
}

/// The first `count`; most of the time that is all, and then nothing is moved.
fn take_first<T>(from: &mut Vec<T>, count: usize) -> Vec<T> {
    let rest = from.split_off(count);
    std::mem::replace(from, rest)
}
