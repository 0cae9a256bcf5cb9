//! One connection to the server of one place, made anew when it breaks. Every call passes here:
//! typed errors, the loading of scripts, the server's clock. Which line a call takes is decided in
//! `link`; many questions at once are in `many`.
//!
//! Not the client library's own connection manager: that one reconnects only after an I/O error,
//! and so stays broken after a server that was still loading, or a password that has been put right
//! since.

mod many;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::PubSub;
use redis::{Cmd, ServerError, ServerErrorKind, Value};

use crate::busy_poll::BusyPoll;
use crate::clock::Clock;
use crate::dial::{Address, Opened, Way, Wire};
use crate::fault::{Fault, Faults};
use crate::question::{Ask, Question};
use crate::script::Call;
use crate::shared::Shared;
use crate::slots::read_moved;
use crate::value::read;
use crate::{Endpoint, Error, diagnose, rights, sentinel};

/// Longest time for making a connection, so that a worker is back within two seconds of the server.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Answers that come sooner are looked for (see `busy_poll`): those of a server on the same machine,
/// not those that come over a network.
const QUICK: Duration = Duration::from_micros(150);

/// Where the server of a line is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Always here.
    At(Address),
    /// Where the sentinels say, whenever a connection is made.
    Primary(String),
}

/// A connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Line(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    place: Place,
    faults: Faults,
    timeout: Duration,
    clock: Arc<Clock>,
    live: Shared<Arc<Live>>,
    /// Further connections to the same place, made when they were first needed.
    others: Mutex<Vec<Line>>,
}

/// A connection that stands, or did a moment ago.
struct Live {
    wire: Wire,
    address: Address,
    faults: Faults,
    busy_poll: BusyPoll,
    /// Why it can hold no queues, though it answers plain commands.
    unfit: Option<Error>,
}

impl Live {
    fn fit(&self) -> Result<(), Fault> {
        match &self.unfit {
            Some(error) => Err(Fault::not_done(error.clone())),
            None => Ok(()),
        }
    }
}

impl Line {
    /// A line that connects on its first call. `timeout` bounds each call.
    pub(crate) fn new(
        endpoint: &Endpoint,
        place: Place,
        timeout: Duration,
        clock: Arc<Clock>,
    ) -> Self {
        Self(Arc::new(Inner {
            endpoint: endpoint.clone(),
            place,
            faults: Faults::new(endpoint, timeout),
            timeout,
            clock,
            live: Shared::new(),
            others: Mutex::default(),
        }))
    }

    /// A second connection to the same place, for calls that block.
    pub(crate) fn another(&self, timeout: Duration) -> Self {
        let inner = &self.0;
        let place = inner.place.clone();
        Self::new(&inner.endpoint, place, timeout, Arc::clone(&inner.clock))
    }

    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.0.clock
    }

    /// Where it is connected to; it connects if it is not.
    pub(crate) async fn address(&self) -> Result<Address, Error> {
        Ok(self.live().await?.address.clone())
    }

    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Value, Fault> {
        match ask {
            Ask::Connection => match self.live().await {
                Ok(live) => live.fit().map(|()| Value::Okay),
                Err(error) => Err(Fault::not_done(error)),
            },
            Ask::Question(Question::Plain(command, name)) => self.send(command, name).await,
            Ask::Question(Question::Script(call)) => {
                let question = Question::Script(call);
                match self.once(question).await {
                    Err(Refused::NoScript) => {
                        self.send(&call.script.load(), call.script.name).await?;
                        let again = self.once(question).await;
                        again.map_err(|refused| self.explain_script(refused, call))
                    }
                    result => result.map_err(|refused| self.explain_script(refused, call)),
                }
            }
        }
    }

    /// Subscribes to a channel, over a connection to the same server that is made for it.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<PubSub, Error> {
        let live = self.live().await?;
        let subscribing = async {
            let way = Way::to(&live.address, &self.0.endpoint, &live.faults);
            let mut subscription = way.listen().await?;
            let subscribed = subscription.subscribe(channel).await;
            subscribed.map_err(|fault| live.faults.of_connecting(&fault))?;
            Ok(subscription)
        };
        let subscribed = tokio::time::timeout(CONNECT_TIMEOUT, subscribing).await;
        let subscribed =
            subscribed.unwrap_or_else(|_| Err(live.faults.timed_out_after(CONNECT_TIMEOUT)));
        if subscribed.is_err() {
            self.forget(&live);
        }
        subscribed
    }

    async fn send(&self, command: &Cmd, name: &'static str) -> Result<Value, Fault> {
        self.once(Question::Plain(command, name))
            .await
            .map_err(|refused| match refused {
                Refused::Fault(fault) => fault,
                Refused::NoScript => self.flushed(name),
            })
    }

    async fn once(&self, question: Question<'_>) -> Result<Value, Refused> {
        let live = self.live_for(&[question]).await?;
        let name = question.name();
        let mut connection = live.wire.connection.clone();
        let answer = connection.send_packed_command(question.command());
        match live.busy_poll.answer(answer).await {
            Ok(value) if is_missing_script(&value) => Err(Refused::NoScript),
            Ok(Value::ServerError(refusal)) => Err(self.refused(&live, &refusal, name).into()),
            Ok(value) => Ok(value),
            Err(fault) => Err(self.broken(&live, &fault, name).into()),
        }
    }

    /// The server answered, with a refusal.
    fn refused(&self, live: &Arc<Live>, refusal: &ServerError, name: &'static str) -> Fault {
        let error = live.faults.of_reply(refusal, name);
        // Another server may have taken over, under the same name or another.
        if matches!(error, Error::ReadOnly { .. } | Error::Unreachable { .. }) {
            self.forget(live);
        }
        let moved = refusal.kind() == Some(ServerErrorKind::Moved);
        let detail = refusal.details().filter(|_| moved);
        Fault {
            moved_to: detail.and_then(|detail| read_moved(detail, &live.address)),
            ..Fault::not_done(error)
        }
    }

    /// A call that got no answer takes its connection down: what else is on its way there is as
    /// lost.
    fn broken(&self, live: &Arc<Live>, fault: &redis::RedisError, name: &'static str) -> Fault {
        self.forget(live);
        Fault::from(live.faults.of_call(fault, name))
    }

    fn forget(&self, useless: &Arc<Live>) {
        self.0.live.drop_if(|live| Arc::ptr_eq(live, useless));
    }

    /// The server says only where in a script a right was missing, not which.
    fn explain_script(&self, refused: Refused, call: &Call) -> Fault {
        match refused {
            Refused::Fault(mut fault) => {
                if let Error::AuthFailed { reason, .. } = &mut fault.error {
                    rights::name_missing(reason, call.script);
                }
                fault
            }
            Refused::NoScript => self.flushed(call.script.name),
        }
    }

    /// Loaded a moment ago and gone again: someone flushes scripts all the time.
    fn flushed(&self, name: &'static str) -> Fault {
        let reason = "NOSCRIPT right after it was loaded".to_owned();
        Fault::not_done(self.0.faults.script(name, reason))
    }

    /// A connection that these may be asked on: scripts only where they can run.
    async fn live_for(&self, questions: &[Question<'_>]) -> Result<Arc<Live>, Fault> {
        let live = self.live().await.map_err(Fault::not_done)?;
        if questions
            .iter()
            .any(|asked| matches!(asked, Question::Script(_)))
        {
            live.fit()?;
        }
        Ok(live)
    }

    async fn live(&self) -> Result<Arc<Live>, Error> {
        match self.0.live.peek() {
            Some(live) => Ok(live),
            // Boxed, so that a call on a standing connection carries none of it about.
            None => Box::pin(self.0.live.get(self.open())).await,
        }
    }

    async fn open(&self) -> Result<Arc<Live>, Error> {
        let name = match &self.0.place {
            Place::At(address) => return self.open_at(address.clone(), false).await,
            Place::Primary(name) => name,
        };
        let mut failure = None;
        for address in sentinel::find(&self.0.endpoint, name, &self.0.faults).await? {
            match self.open_at(address, true).await {
                Ok(live) => return Ok(live),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| self.0.faults.unreachable("no address".to_owned())))
    }

    /// Opens a connection and asks the server's time, which also shows whether it lets us in.
    async fn open_at(&self, address: Address, must_be_primary: bool) -> Result<Arc<Live>, Error> {
        let faults = self.0.faults.at(&address);
        let way = Way::to(&address, &self.0.endpoint, &faults);
        let mut questions = vec![(redis::cmd("TIME"), "TIME")];
        if must_be_primary {
            questions.push((redis::cmd("ROLE"), "ROLE"));
        }
        let Opened {
            wire,
            sent,
            answers,
            hello,
        } = diagnose::open(&way, &questions, self.0.timeout, CONNECT_TIMEOUT).await?;
        let mut answers = answers.into_iter();
        let time = answers.next().map(read::<(u64, u64)>);
        if let Some(Ok((seconds, micros))) = time {
            let millis = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
            self.0.clock.hear(sent, millis);
        }
        if let Some(role) = answers.next()
            && !is_primary(&role)
        {
            let reason = "the sentinels name it as the primary, and it is none (yet)".to_owned();
            return Err(faults.read_only(reason));
        }
        let unfit = faults.of_age(&hello);
        Ok(Arc::new(Live {
            wire,
            address,
            faults,
            unfit,
            busy_poll: BusyPoll::new(QUICK),
        }))
    }
}

/// A failed call, or one whose script the server does not know.
enum Refused {
    NoScript,
    Fault(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn is_missing_script(value: &Value) -> bool {
    matches!(value, Value::ServerError(refusal) if refusal.kind() == Some(ServerErrorKind::NoScript))
}

/// What a primary says to `ROLE` begins with `master`.
fn is_primary(role: &Value) -> bool {
    let Value::Array(parts) = role else {
        return false;
    };
    let first = parts.first().cloned().map(read::<String>);
    matches!(first, Some(Ok(role)) if role == "master")
}
