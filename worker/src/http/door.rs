//! Whether the server takes tasks, as far as is known: decided by whoever knocks, doubted by requests that came to no
//! answer.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// What is known of the server.
#[derive(Debug, Default)]
pub(super) struct Door {
    open: AtomicBool,
    /// A request was cut off before anything of its answer came, and nothing has come since.
    doubted: AtomicBool,
    doubt: Notify,
}

impl Door {
    /// It answers, or took a connection where no more is asked of it.
    pub(super) fn open(&self) {
        self.doubted.store(false, Ordering::Relaxed);
        self.open.store(true, Ordering::Relaxed);
    }

    /// It does not.
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// Whether it answers, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether it is to show that it still answers.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// Resolves when it is to show that.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// A request is sent.
    pub(super) fn ask(&self) -> Asked<'_> {
        Asked {
            door: self,
            over: false,
        }
    }
}

/// A request under way. Dropped before anything came of it, it makes the server doubted.
pub(super) struct Asked<'a> {
    door: &'a Door,
    over: bool,
}

impl Asked<'_> {
    /// An answer begins.
    pub(super) fn answered(mut self) {
        self.over = true;
        self.door.doubted.store(false, Ordering::Relaxed);
    }

    /// It ended without one, for a reason that is known.
    pub(super) fn failed(mut self) {
        self.over = true;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.door.doubted.store(true, Ordering::Relaxed);
            self.door.doubt.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_cut_off_makes_the_server_doubted_until_something_answers() {
        let door = Door::default();
        door.open();
        door.ask().answered();
        door.ask().failed();
        assert!(!door.is_doubted());
        drop(door.ask());
        assert!(door.is_doubted() && door.is_open());
        door.ask().failed();
        assert!(door.is_doubted());
        door.ask().answered();
        assert!(!door.is_doubted());
        drop(door.ask());
        door.close();
        door.open();
        assert!(!door.is_doubted() && door.is_open());
    }
}
