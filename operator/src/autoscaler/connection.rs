//! The connection to one Redis: made when it is first needed, and tried less and less often where none
//! was ever had. After that the client makes it anew by itself.

use std::time::Duration;

use futures::future;
use taskqueue_queue::{Announcement, Announcements, Bounds, Client, Error};
use tokio::time::Instant;

use crate::endpoint::EndpointUrl;

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Such a connection, or the want of one.
pub(super) struct Connection {
    url: EndpointUrl,
    bounds: Bounds,
    /// Whether pauses grow: not for the Redis of the administrator.
    pauses: bool,
    made: Option<Made>,
    failed: Option<Failed>,
}

struct Made {
    client: Client,
    announcements: Announcements,
}

/// The attempts in vain so far.
struct Failed {
    error: Error,
    times: u32,
    again: Instant,
}

impl Connection {
    pub(super) fn new(url: EndpointUrl, bounds: Bounds, pauses: bool) -> Self {
        Self {
            url,
            bounds,
            pauses,
            made: None,
            failed: None,
        }
    }

    /// The client, if there was ever a connection.
    pub(super) fn client(&self) -> Option<&Client> {
        self.made.as_ref().map(|made| &made.client)
    }

    /// The next announcements; several that are there already come together. Waits for ever while there is
    /// no connection.
    pub(super) async fn announced(&mut self) -> Vec<Announcement> {
        let Some(made) = &mut self.made else {
            return future::pending().await;
        };
        let mut all = vec![made.announcements.next().await];
        while let Some(next) = future::FutureExt::now_or_never(made.announcements.next()) {
            all.push(next);
        }
        all
    }

    /// Connects unless there is a connection. During a pause the last failure stands. The client bounds the
    /// time that this takes.
    pub(super) async fn make(&mut self) -> Result<(), Error> {
        if self.made.is_some() {
            return Ok(());
        }
        if let Some(failed) = &self.failed
            && Instant::now() < failed.again
        {
            return Err(failed.error.clone());
        }
        match self.connect().await {
            Ok(made) => {
                tracing::info!(redis = %self.url, "connected");
                self.made = Some(made);
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                let times = self.failed.as_ref().map_or(0, |failed| failed.times);
                let times = times.saturating_add(1);
                let pause = if self.pauses {
                    pause(times)
                } else {
                    Duration::ZERO
                };
                self.failed = Some(Failed {
                    error: error.clone(),
                    times,
                    again: Instant::now() + pause,
                });
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Made, Error> {
        let endpoint = self.url.endpoint()?.with_bounds(self.bounds.clone());
        let client = match Client::connect(&endpoint).await {
            // Sources are only read, which an old server can do. Queues are told by every call.
            Err(Error::TooOld { .. }) => Client::lazy(&endpoint),
            connected => connected?,
        };
        Ok(Made {
            announcements: client.announcements(),
            client,
        })
    }
}

/// How long to wait after so many attempts in vain: a second, then twice as long each time.
fn pause(times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(5);
    Duration::from_secs(1 << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute() {
        let pauses: Vec<_> = (1..8).map(|times| pause(times).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }
}
