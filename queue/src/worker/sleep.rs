//! Blocking for work on a connection of its own, so that nothing else waits behind it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use redis::Value;

use crate::fault::Fault;
use crate::keys::Key;
use crate::link::Link;
use crate::{Error, Queue};

/// Longest sleep. It heals whatever a lost token would leave undone.
pub(super) const LONGEST: Duration = Duration::from_secs(2);
/// Shortest one. Redis takes 0 for no end, and 6.2 rounds a millisecond, which it reads as a fraction of
/// a second, down to that.
const SHORTEST: Duration = Duration::from_millis(2);
/// How much longer than its sleep a call may take before the connection counts as dead.
const GRACE: Duration = Duration::from_secs(3);

type Wait = Pin<Box<dyn Future<Output = Result<Option<String>, Fault>> + Send>>;

/// Blocks for tokens, one call at a time. A call goes on while nobody looks at it.
pub(super) struct Sleeper {
    link: Link,
    queue: Queue,
    wait: Option<Wait>,
}

impl Sleeper {
    pub(super) fn new(queue: &Queue) -> Self {
        Self {
            link: queue.link().another(LONGEST + GRACE),
            queue: queue.clone(),
            wait: None,
        }
    }

    /// Begins to block, for `span` at most, unless it does so already.
    pub(super) fn begin(&mut self, span: Duration) {
        if self.wait.is_some() {
            return;
        }
        let link = self.link.clone();
        let mut command = redis::cmd("BLPOP");
        command
            .arg(self.queue.keys().get(Key::Wake))
            .arg(timeout(span));
        self.wait = Some(Box::pin(async move {
            let value = link.send(&command, "BLPOP").await?;
            let popped: Option<(String, String)> = match value {
                Value::Nil => None,
                value => crate::value::read(value).map_err(|fault| {
                    Fault::not_done(link.faults().script("BLPOP", fault.to_string()))
                })?,
            };
            Ok(popped.map(|(_, token)| token))
        }));
    }

    /// The end of the call that was begun: a token, or none in time. Pending if none was begun. May
    /// be dropped and called again.
    pub(super) async fn woken(&mut self) -> Result<Option<String>, Error> {
        let Some(wait) = self.wait.as_mut() else {
            return std::future::pending().await;
        };
        let woken = wait.await;
        self.wait = None;
        woken.map_err(Error::from)
    }
}

/// A sleep of that length, within the bounds, as the server reads it: in seconds.
fn timeout(span: Duration) -> String {
    format!("{:.3}", span.clamp(SHORTEST, LONGEST).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sleep_is_so_short_that_a_server_takes_it_for_one_without_end() {
        for (millis, wanted) in [
            (0, "0.002"),
            (1, "0.002"),
            (2, "0.002"),
            (3, "0.003"),
            (1_999, "1.999"),
            (60_000, "2.000"),
        ] {
            assert_eq!(timeout(Duration::from_millis(millis)), wanted);
        }
    }
}
