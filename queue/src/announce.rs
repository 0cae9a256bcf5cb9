//! Announcements of queues that have become non-empty, over a subscription that is made anew when
//! it breaks.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::keys::channel;
use crate::link::Link;
use crate::{Error, QueueName};

/// Announcements that may wait for a slow listener; beyond, it is told to look at every queue.
const WAITING: usize = 1_024;
/// How often the subscription is checked: a connection that died silently would announce nothing
/// for ever.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for the server when checking.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// The wait between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(250);

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// Subscribed, subscribed again after a lost connection, or too slow a listener: announcements
    /// may have been missed, so look at every queue.
    Resync,
    /// A level of this queue went from empty to not empty.
    Ready(QueueName),
}

/// Announcements, for as long as it is not dropped. Never ends by itself.
#[derive(Debug)]
pub struct Announcements {
    arriving: mpsc::Receiver<Announcement>,
    listener: AbortHandle,
}

impl Announcements {
    pub(crate) fn start(link: Link) -> Self {
        let (sender, arriving) = mpsc::channel(WAITING);
        let listener = tokio::spawn(listen(link, sender)).abort_handle();
        Self { arriving, listener }
    }

    /// The next announcement. May be dropped and called again without losing one.
    pub async fn next(&mut self) -> Announcement {
        match self.arriving.recv().await {
            Some(announcement) => announcement,
            // The listener ends only with this value, or with the runtime, which then polls no
            // more.
            None => std::future::pending().await,
        }
    }
}

impl Stream for Announcements {
    type Item = Announcement;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Announcement>> {
        self.arriving.poll_recv(context)
    }
}

impl Drop for Announcements {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(link: Link, sender: mpsc::Sender<Announcement>) {
    loop {
        if let Err(fault) = subscription(&link, &sender).await {
            tracing::debug!(endpoint = %link.endpoint(), %fault, "subscription to announcements broke");
        }
        if sender.is_closed() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Subscribes and passes on what arrives, until the connection breaks.
async fn subscription(link: &Link, sender: &mpsc::Sender<Announcement>) -> Result<(), Error> {
    let faults = link.faults();
    let subscription = link.subscribe(&channel(link.endpoint().prefix())).await?;
    let (mut sink, mut messages) = subscription.split();
    let mut missed = sender.send(Announcement::Resync).await.is_err();
    loop {
        let message = match tokio::time::timeout(CHECK_EVERY, messages.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(_) => {
                missed = missed && sender.try_send(Announcement::Resync).is_err();
                let pong = tokio::time::timeout(PATIENCE, sink.ping::<redis::Value>());
                let answered = pong.await.map_err(|_| faults.timed_out_after(PATIENCE))?;
                answered.map_err(|fault| faults.of_call(&fault, "PING"))?;
                continue;
            }
        };
        // A name that is none of ours was not announced by us.
        let Ok(queue) = String::from_utf8_lossy(message.get_payload_bytes()).parse() else {
            continue;
        };
        if missed {
            missed = sender.try_send(Announcement::Resync).is_err();
        }
        match sender.try_send(Announcement::Ready(queue)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => missed = true,
            Err(mpsc::error::TrySendError::Closed(_)) => return Ok(()),
        }
    }
}
