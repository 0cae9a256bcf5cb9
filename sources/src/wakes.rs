//! A push where a system offers one: BullMQ adds an event to a stream with each job.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, Value};
use taskqueue_queue::{BlockingLine, Client, Error};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::sleep,
};

use crate::{answers::text, source::Source};

/// Longest time that one command blocks.
const BLOCK: Duration = Duration::from_secs(30);
/// Least time between two commands, so that a producer in full swing costs little: who was woken
/// looks at the queue for a while anyway.
const SPACING: Duration = Duration::from_millis(50);
/// Time until the next try after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Entries that one command takes from a stream: what they hold, which may be much, is of no use here.
const ENTRIES: usize = 1;

impl Source {
    /// The stream that gets an entry whenever a task is added, if the system has such.
    pub fn events_key(&self) -> Option<String> {
        match self {
            Self::BullMq(of) => Some(of.events_key()),
            _ => None,
        }
    }
}

/// Waits for entries in a set of streams, over a connection of its own that exists only while there
/// is something to wait for. What it misses (an entry between two commands, a failing connection)
/// is for the caller's next look to find.
pub struct Wakes {
    streams: watch::Sender<Arc<[String]>>,
    woken: mpsc::UnboundedReceiver<String>,
    _running: Running,
}

impl Wakes {
    /// Begins to wait for nothing. Must be called inside a Tokio runtime.
    pub fn start(client: &Client) -> Self {
        let (streams, wanted) = watch::channel(Arc::from([]));
        let (tell, woken) = mpsc::unbounded_channel();
        let running = tokio::spawn(run(client.clone(), wanted, tell));
        Self {
            streams,
            woken,
            _running: Running(running.abort_handle()),
        }
    }

    /// From now on waits for entries in these streams that are added after this call.
    pub fn wait_for(&self, mut streams: Vec<String>) {
        streams.sort();
        streams.dedup();
        self.streams.send_if_modified(|waiting| {
            let changed = **waiting != *streams;
            if changed {
                *waiting = streams.into();
            }
            changed
        });
    }

    /// The next stream with an entry.
    pub async fn next(&mut self) -> String {
        match self.woken.recv().await {
            Some(stream) => stream,
            // The task ends with this value only.
            None => std::future::pending().await,
        }
    }
}

struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(
    client: Client,
    mut wanted: watch::Receiver<Arc<[String]>>,
    tell: mpsc::UnboundedSender<String>,
) {
    let mut line: Option<BlockingLine> = None;
    loop {
        let streams = Arc::clone(&wanted.borrow_and_update());
        if streams.is_empty() {
            line = None;
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        let line = line.get_or_insert_with(|| client.blocking_line(BLOCK));
        let outcome = tokio::select! {
            outcome = entries(line, &streams) => outcome,
            changed = wanted.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match outcome {
            Ok(woken) => {
                for stream in woken {
                    let _ = tell.send(stream);
                }
                sleep(SPACING).await;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot wait for events");
                sleep(RETRY).await;
            }
        }
    }
}

/// The streams that have got an entry; none if nothing came.
async fn entries(line: &mut BlockingLine, streams: &[String]) -> Result<Vec<String>, Error> {
    let mut command = Cmd::new();
    let block = BLOCK.as_millis().to_string();
    command.arg(&["XREAD", "COUNT"]).arg(ENTRIES);
    command.arg(&["BLOCK", &block, "STREAMS"]).arg(streams);
    for _ in streams {
        command.arg("$");
    }
    Ok(named(&line.send(&command).await?))
}

/// The names of the streams in an answer of `XREAD`.
fn named(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(streams) => streams
            .iter()
            .filter_map(|stream| match stream {
                Value::Array(named) => text(named.first()?),
                _ => None,
            })
            .collect(),
        Value::Map(streams) => streams.iter().filter_map(|(name, _)| text(name)).collect(),
        _ => Vec::new(),
    }
}
