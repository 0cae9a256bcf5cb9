//! A value that is made when it is first needed, and made anew after it was dropped. Many who need
//! it at once make it once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Such a value.
pub(crate) struct Shared<T> {
    value: Mutex<Option<T>>,
    /// Held while making it.
    making: tokio::sync::Mutex<()>,
    attempts: AtomicU64,
    /// Why the last attempt failed.
    failure: Mutex<Option<Error>>,
}

impl<T: Clone> Shared<T> {
    pub(crate) fn new() -> Self {
        Self {
            value: Mutex::new(None),
            making: tokio::sync::Mutex::new(()),
            attempts: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    /// The value, if there is one.
    pub(crate) fn peek(&self) -> Option<T> {
        lock(&self.value).clone()
    }

    /// Drops the value if it is the one that was found to be of no use.
    pub(crate) fn drop_if(&self, useless: impl FnOnce(&T) -> bool) {
        let mut value = lock(&self.value);
        if value.as_ref().is_some_and(useless) {
            *value = None;
        }
    }

    /// Changes the value if there is one.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        if let Some(value) = &mut *lock(&self.value) {
            change(value);
        }
    }

    /// The value, made by `make` if there is none.
    pub(crate) async fn get(
        &self,
        make: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if let Some(value) = self.peek() {
            return Ok(value);
        }
        let before = self.attempts.load(Ordering::Acquire);
        let _turn = self.making.lock().await;
        if let Some(value) = self.peek() {
            return Ok(value);
        }
        // Whoever waited for a failed attempt shares its failure instead of queueing one more.
        if self.attempts.load(Ordering::Acquire) != before
            && let Some(failure) = lock(&self.failure).clone()
        {
            return Err(failure);
        }
        let result = make.await;
        self.attempts.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok(value) => {
                *lock(&self.failure) = None;
                *lock(&self.value) = Some(value.clone());
                Ok(value)
            }
            Err(error) => {
                *lock(&self.failure) = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// A lock whose holder panicked still holds whole values: nothing done under one panics halfway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
