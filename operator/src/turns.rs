//! Places that namespaces share: each in its turn, and none takes all of them.
//!
//! A namespace may have thousands of TaskQueues, and make as many of them fail or change as it likes. In one line for all,
//! everybody else would wait behind them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Places, and who waits for one.
pub struct Turns(Mutex<Line<oneshot::Sender<Turn>>>);

/// A place, until it is dropped.
pub struct Turn {
    turns: Arc<Turns>,
    namespace: String,
}

impl Turns {
    /// So many places, of which one namespace has no more than its `share`, so that what takes long for one leaves room for
    /// the others. The share is at least 1 and less than all of them.
    pub fn new(places: usize, share: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Line::new(places, share))))
    }

    /// Waits for a place. Who stops to wait loses nothing but the turn.
    pub async fn take(self: &Arc<Self>, namespace: &str) -> Turn {
        loop {
            let (sender, receiver) = oneshot::channel();
            self.lock().join(namespace, sender);
            self.grant();
            if let Ok(turn) = receiver.await {
                return turn;
            }
            // Nobody drops a sender unsent but in a panic: the line is joined again.
        }
    }

    /// Takes a place if there is one now; waits for none.
    pub fn try_take(self: &Arc<Self>, namespace: &str) -> Option<Turn> {
        self.lock()
            .enter(namespace)
            .then(|| self.turn(namespace.to_owned()))
    }

    fn grant(self: &Arc<Self>) {
        loop {
            let Some((namespace, sender)) = self.lock().next() else {
                return;
            };
            if sender.is_closed() {
                self.lock().leave(&namespace);
                continue;
            }
            // One that nobody waits for any more is dropped here, and so is free again.
            drop(sender.send(self.turn(namespace)));
        }
    }

    fn turn(self: &Arc<Self>, namespace: String) -> Turn {
        Turn {
            turns: Arc::clone(self),
            namespace,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line<oneshot::Sender<Turn>>> {
        // It is consistent after every statement, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().leave(&self.namespace);
        self.turns.grant();
    }
}

/// Who has places and who waits, by namespace. Pure.
struct Line<T> {
    free: usize,
    /// Places that one namespace may have.
    share: usize,
    held: HashMap<String, usize>,
    waiting: BTreeMap<String, VecDeque<T>>,
    /// Whose turn was the last.
    last: String,
}

impl<T> Line<T> {
    fn new(places: usize, share: usize) -> Self {
        Self {
            free: places,
            share,
            held: HashMap::new(),
            waiting: BTreeMap::new(),
            last: String::new(),
        }
    }

    fn join(&mut self, namespace: &str, waiter: T) {
        let line = self.waiting.entry(namespace.to_owned()).or_default();
        line.push_back(waiter);
    }

    /// The next one that has a place now, and its namespace.
    fn next(&mut self) -> Option<(String, T)> {
        let behind = (Excluded(self.last.as_str()), Unbounded);
        let behind = self.waiting.range::<str, _>(behind);
        let mut namespaces = behind.chain(&self.waiting).map(|(namespace, _)| namespace);
        let namespace = namespaces.find(|namespace| self.may(namespace))?.clone();
        let line = self.waiting.get_mut(&namespace)?;
        let waiter = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&namespace);
        }
        self.hold(&namespace);
        self.last.clone_from(&namespace);
        Some((namespace, waiter))
    }

    /// Takes a place past the line, if there is one for this namespace. Returns whether there was.
    fn enter(&mut self, namespace: &str) -> bool {
        let may = self.may(namespace);
        if may {
            self.hold(namespace);
        }
        may
    }

    fn may(&self, namespace: &str) -> bool {
        let held = self.held.get(namespace).copied().unwrap_or_default();
        self.free > 0 && held < self.share
    }

    fn hold(&mut self, namespace: &str) {
        self.free -= 1;
        *self.held.entry(namespace.to_owned()).or_default() += 1;
    }

    /// A place of this namespace is free again.
    fn leave(&mut self, namespace: &str) {
        self.free += 1;
        if let Some(held) = self.held.get_mut(namespace) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has the next turns while everybody who has had one leaves at once.
    fn turns(line: &mut Line<u32>, number: usize) -> Vec<(String, u32)> {
        let turns = std::iter::from_fn(|| {
            let (namespace, waiter) = line.next()?;
            line.leave(&namespace);
            Some((namespace, waiter))
        });
        turns.take(number).collect()
    }

    #[test]
    fn a_namespace_with_thousands_that_wait_delays_another_by_one_turn() {
        let mut line = Line::new(4, 3);
        (0..2500).for_each(|one| line.join("flood", one));
        turns(&mut line, 10);
        line.join("shop", 7);
        line.join("shop", 8);
        let next: Vec<_> = turns(&mut line, 4);
        let of = |namespace: &str, waiter| (namespace.to_owned(), waiter);
        assert_eq!(
            next,
            [
                of("shop", 7),
                of("flood", 10),
                of("shop", 8),
                of("flood", 11)
            ]
        );
    }

    #[test]
    fn no_namespace_has_all_places_however_long_it_keeps_them() {
        let mut line = Line::new(4, 3);
        (0..10).for_each(|one| line.join("slow", one));
        let held: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(held.len(), 3);
        line.join("shop", 0);
        assert_eq!(line.next(), Some(("shop".to_owned(), 0)));
        line.join("other", 0);
        assert_eq!(line.next(), None, "no place is left");
        line.leave("slow");
        assert_eq!(line.next(), Some(("slow".to_owned(), 3)), "it came first");
        line.leave("slow");
        assert_eq!(line.next(), Some(("other".to_owned(), 0)));
    }

    #[test]
    fn who_does_not_wait_has_a_place_or_none() {
        let mut line = Line::<()>::new(4, 3);
        let entered: Vec<bool> = (0..5).map(|_| line.enter("flood")).collect();
        assert_eq!(entered, [true, true, true, false, false]);
        assert!(line.enter("shop"));
        assert!(!line.enter("other"), "no place is left");
        line.leave("flood");
        assert!(line.enter("flood"));
    }

    #[test]
    fn what_is_over_leaves_nothing_behind() {
        let mut line = Line::new(2, 1);
        line.join("a", 1);
        turns(&mut line, 1);
        assert!(line.held.is_empty() && line.waiting.is_empty());
        assert_eq!(line.free, 2);
    }

    #[tokio::test]
    async fn who_stops_to_wait_keeps_nobody_from_the_place() {
        let turns = Turns::new(2, 1);
        let (first, second) = (turns.take("a").await, turns.take("b").await);
        let impatient = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take("a").await }
        });
        let patient = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take("c").await }
        });
        tokio::task::yield_now().await;
        impatient.abort();
        assert!(impatient.await.is_err());
        drop((first, second));
        drop(patient.await.expect("no panic"));
        let line = turns.lock();
        assert!(line.held.is_empty() && line.waiting.is_empty());
        assert_eq!(line.free, 2);
    }
}
