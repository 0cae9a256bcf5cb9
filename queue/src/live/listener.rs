//! Listening to live events: blocking for them, on a connection of its own, and saying again and again that
//! somebody does.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::future::{join_all, select_all};
use redis::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::event::{EntryId, LiveBatch, LiveId};
use super::track::Track;
use crate::client::Client;
use crate::fault::Fault;
use crate::keys::Key;
use crate::lease::millis;
use crate::link::Link;
use crate::queue::Queue;
use crate::script::{Script, args};
use crate::value::{Unfit, read, read_pairs};
use crate::{Error, QueueName};

/// How long events are written after a listener said that it listens. `live.lua` knows it too.
const LEASE: Duration = Duration::from_secs(15);
/// How often it says so.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How soon again after that failed.
const RENEW_AGAIN: Duration = Duration::from_secs(1);
/// How long events are kept when nobody listens any more.
const KEPT: Duration = Duration::from_mins(1);
/// Longest time of one call that blocks.
const BLOCK: Duration = Duration::from_secs(2);
/// How much longer such a call may take before its connection counts as dead.
const GRACE: Duration = Duration::from_secs(3);
/// The wait after a call that failed.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest patience of one call.
const LONGEST: Duration = Duration::from_hours(24);
/// Most queues of one listener.
const MOST_QUEUES: usize = 1_000;
/// Most entries, of up to about 5 KiB each, that one answer has of all queues together, but for the least
/// number of each.
const MOST_ENTRIES: usize = 400;
const ENTRIES_OF_ONE: std::ops::RangeInclusive<usize> = 4..=100;

type Wait = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>;
/// Names of streams, each with its entries.
type Streams = Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>;

/// Listens to what happens in queues. While there is such a listener the scripts write events, for 15 s after it
/// was asked last at most; so ask it again and again. Any number of listeners are each told all.
///
/// It has one connection of its own, however many queues it listens to; in a cluster one for each queue.
pub struct Listener {
    ears: Vec<Ear>,
    renew_at: Instant,
    /// The last call failed.
    failed: bool,
}

/// Queues that are listened to over one connection.
struct Ear {
    link: Link,
    heard: Vec<Heard>,
    /// The call that blocks. It goes on while nobody looks at it.
    wait: Option<Wait>,
}

struct Heard {
    queue: Queue,
    track: Track,
}

impl Queue {
    /// Listens to the live events of the queue: to what happens from now on, or to what happened after the event
    /// `behind`, as far as it is kept: until nobody has listened for a minute, and about the last 4 MiB.
    pub async fn listen(&self, behind: Option<LiveId>) -> Result<Listener, Error> {
        Listener::begin(vec![(self.clone(), behind)]).await
    }

    /// Says that somebody listens. The last entry of the stream, and the number of the last event.
    async fn say_listening(&self) -> Result<(EntryId, u64), Error> {
        let asked = args::Listen {
            lease: LEASE.into(),
            kept: KEPT.into(),
        };
        let call = Script::call(self.keys(), &[], &[], "", &asked);
        let (_, mut reply) = self.answer(&call).await?;
        let last: String = reply.next()?;
        Ok((EntryId::parse(&last).unwrap_or_default(), reply.next()?))
    }
}

impl Client {
    /// Listens to the live events of up to 1,000 queues, each named once: see [`Queue::listen`].
    pub async fn listen(
        &self,
        queues: impl IntoIterator<Item = (QueueName, Option<LiveId>)>,
    ) -> Result<Listener, Error> {
        let queues = queues.into_iter();
        let queues: Vec<_> = queues
            .map(|(name, behind)| (self.queue(name), behind))
            .collect();
        let count = queues.len();
        if !(1..=MOST_QUEUES).contains(&count) {
            let rule = format!("1 to {MOST_QUEUES} to listen to");
            return Err(Error::invalid("queues", &count.to_string(), rule));
        }
        Listener::begin(queues).await
    }
}

impl Listener {
    async fn begin(queues: Vec<(Queue, Option<LiveId>)>) -> Result<Self, Error> {
        let renew_at = Instant::now() + RENEW_EVERY;
        let said = join_all(queues.iter().map(|(queue, _)| queue.say_listening())).await;
        let mut ears: Vec<Ear> = Vec::new();
        for ((queue, behind), said) in queues.into_iter().zip(said) {
            let (last, told) = said?;
            let track = match behind {
                None => Track::from_now(last, told),
                Some(id) => {
                    let mut track = Track::behind(id);
                    track.heard(last, told);
                    track
                }
            };
            let link = queue.link().another(BLOCK + GRACE);
            let heard = Heard { queue, track };
            // One command reads streams of one slot alone.
            match ears.first_mut().filter(|_| link.slot().is_none()) {
                Some(ear) => ear.heard.push(heard),
                None => ears.push(Ear {
                    link,
                    heard: vec![heard],
                    wait: None,
                }),
            }
        }
        Ok(Self {
            ears,
            renew_at,
            failed: false,
        })
    }

    /// The next events, as soon as there are some; none when `patience` is over. May be dropped and called again
    /// without losing one. After an error, call it again: it goes on where it was, and says if something is
    /// missing.
    pub async fn next(&mut self, patience: Duration) -> Result<LiveBatch, Error> {
        let until = Instant::now() + patience.min(LONGEST);
        if self.failed {
            sleep(PAUSE.min(patience)).await;
        }
        let heard = self.hear(until).await;
        self.failed = heard.is_err();
        heard
    }

    async fn hear(&mut self, until: Instant) -> Result<LiveBatch, Error> {
        loop {
            if self.renew_at <= Instant::now() {
                self.renew().await?;
            }
            let mut batch = LiveBatch::default();
            for heard in self.ears.iter_mut().flat_map(|ear| &mut ear.heard) {
                if heard.track.take_lost() {
                    batch.miss(heard.queue.name());
                }
            }
            if !batch.is_empty() {
                return Ok(batch);
            }
            if let Some((answer, place)) = self.first_answer(until.min(self.renew_at)).await {
                let ear = &mut self.ears[place];
                ear.wait = None;
                ear.take(answer?, &mut batch)?;
            }
            if !batch.is_empty() || Instant::now() >= until {
                return Ok(batch);
            }
        }
    }

    /// The first answer of a call that blocks, and whose it is; `None` when the time has come.
    async fn first_answer(&mut self, until: Instant) -> Option<(Result<Value, Fault>, usize)> {
        let waits = self.ears.iter_mut().map(Ear::wait);
        let first = timeout_at(until, select_all(waits)).await.ok();
        first.map(|(answer, place, _)| (answer, place))
    }

    /// Says again that somebody listens. Where one queue cannot be told so, the others go on.
    async fn renew(&mut self) -> Result<(), Error> {
        let mut failure = None;
        let mut heard: Vec<&mut Heard> = self
            .ears
            .iter_mut()
            .flat_map(|ear| &mut ear.heard)
            .collect();
        let said = join_all(heard.iter().map(|heard| heard.queue.say_listening())).await;
        for (heard, said) in heard.iter_mut().zip(said) {
            match said {
                Ok((last, told)) => heard.track.heard(last, told),
                Err(error) => failure = Some(error),
            }
        }
        let wait = if failure.is_some() {
            RENEW_AGAIN
        } else {
            RENEW_EVERY
        };
        self.renew_at = Instant::now() + wait;
        failure.map_or(Ok(()), Err)
    }
}

impl Ear {
    /// The call that blocks, which begins now unless it is under way.
    fn wait(&mut self) -> &mut Wait {
        let (link, heard) = (&self.link, &self.heard);
        self.wait.get_or_insert_with(|| {
            let entries = (MOST_ENTRIES / heard.len().max(1))
                .clamp(*ENTRIES_OF_ONE.start(), *ENTRIES_OF_ONE.end());
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(entries);
            command.arg("BLOCK").arg(millis(BLOCK)).arg("STREAMS");
            for heard in heard {
                command.arg(heard.key());
            }
            for heard in heard {
                command.arg(heard.track.at.to_string());
            }
            let link = link.clone();
            Box::pin(async move { link.send(&command, "XREAD").await })
        })
    }

    fn take(&mut self, answer: Value, batch: &mut LiveBatch) -> Result<(), Error> {
        let unfit = |fault: Unfit| self.link.faults().script("XREAD", fault.to_string());
        for (key, entries) in streams(answer).map_err(unfit)? {
            let Some(heard) = self.heard.iter_mut().find(|heard| heard.key() == key) else {
                continue;
            };
            for (entry, fields) in &entries {
                let Heard { queue, track } = &mut *heard;
                track.take(queue.name(), entry, fields, batch);
            }
        }
        Ok(())
    }
}

impl Heard {
    fn key(&self) -> &str {
        self.queue.keys().get(Key::Live)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heard = self.ears.iter().flat_map(|ear| &ear.heard);
        let names = heard.map(|heard| heard.queue.name().to_string());
        f.debug_list().entries(names).finish()
    }
}

/// What `XREAD` answers in either version of the protocol; nothing when its time was over.
fn streams(answer: Value) -> Result<Streams, Unfit> {
    match answer {
        Value::Nil => Ok(Vec::new()),
        Value::Map(_) => read_pairs(answer),
        answer => read(answer),
    }
}
