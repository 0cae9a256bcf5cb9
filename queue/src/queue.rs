//! A queue: its name, its keys, and the policy as last read. What can be done with it is in the
//! files named after what is done: `produce`, `config`, `listing`, `letters`, `maintain`, `lease`; reading one
//! task is here.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use redis::Value;

use crate::client::Client;
use crate::cron::Plan;
use crate::fault::Fault;
use crate::keys::{Keys, channel};
use crate::link::Link;
use crate::produce::{Gather, key_is_fit};
use crate::record::{Record, Site, unpack_done};
use crate::reply::{Reply, Status};
use crate::retry::Patterns;
use crate::runs;
use crate::script::{Arg, Args, Call, Script, args};
use crate::value::{FromValue, Unfit, read, read_pairs};
use crate::workers::place_said;
use crate::{Error, Order, Payload, Policy, QueueName, State, Task, TaskId, TypePolicy, Versioned};

/// How often a call is tried again because the policy changed under it: a server that says so for ever
/// must hold up nobody.
const MOST_ROUNDS: usize = 8;

/// One queue. Cheap to clone; clones share the cached policy.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    client: Client,
    link: Link,
    name: QueueName,
    keys: Keys,
    known: RwLock<Option<Arc<Known>>>,
    gather: Gather,
}

/// The policy as last read, with what follows from it for every call.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) policy: Policy,
    /// As the scripts compare it: empty for none.
    pub(crate) version: String,
    /// The keys of the levels' lists: the policy's, then the retired ones.
    pub(crate) lists: Vec<String>,
    /// The order of the levels, as `order.lua` reads it.
    pub(crate) order: String,
    /// The patterns of the retry rules.
    patterns: Patterns,
    /// What holds for each of the policy's types, in their order.
    types: Vec<(Policy, Patterns)>,
    /// The schedules, read when somebody first needs them.
    plans: OnceLock<Vec<Result<Plan, Error>>>,
}

impl Known {
    pub(crate) fn new(keys: &Keys, current: Versioned<Policy>) -> Self {
        let Versioned {
            version,
            value: policy,
        } = current;
        let lists = levels_of(&policy).map(|level| keys.list(level)).collect();
        let of_type = |of: &TypePolicy| {
            let own = of.of(&policy);
            let patterns = Patterns::of(&own.retry);
            (own, patterns)
        };
        Self {
            types: policy.types.iter().map(of_type).collect(),
            version: if version == 0 {
                String::new()
            } else {
                version.to_string()
            },
            lists,
            order: order(&policy.order),
            patterns: Patterns::of(&policy.retry),
            plans: OnceLock::new(),
            policy,
        }
    }

    /// Its levels, each at the place of its list.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &String> {
        levels_of(&self.policy)
    }

    /// The policy's schedules in their order, each read, or why it cannot be.
    pub(crate) fn plans(&self) -> &[Result<Plan, Error>] {
        let read = || self.policy.schedules.iter().map(Plan::of).collect();
        self.plans.get_or_init(read)
    }

    /// What holds for a task, with the patterns of its retry rules: what it has of its own, then what holds for its
    /// type, then what holds for all.
    pub(crate) fn of<'a>(&'a self, record: &Record) -> (Cow<'a, Policy>, &'a Patterns) {
        let mut names = self.policy.types.iter();
        let place = names.position(|of| of.name == record.kind);
        let (policy, patterns) = match place {
            Some(place) => (&self.types[place].0, &self.types[place].1),
            None => (&self.policy, &self.patterns),
        };
        (record.policy(policy), patterns)
    }

    pub(crate) fn version_number(&self) -> u64 {
        self.version.parse().unwrap_or(0)
    }
}

/// The levels in force, then the retired ones.
fn levels_of(policy: &Policy) -> impl Iterator<Item = &String> {
    policy.levels.iter().chain(&policy.retired)
}

/// The arguments of a script that wakes workers and announces the queue.
pub(crate) struct Announcing<'a> {
    /// Whether to wake workers: a paused queue lets them sleep.
    pub(crate) wakes: Arg<'a>,
    pub(crate) channel: Arg<'a>,
    pub(crate) queue: Arg<'a>,
}

fn order(order: &Order) -> String {
    match order {
        Order::Strict { aging: None } => String::new(),
        Order::Strict { aging: Some(aging) } => format!("a{}", aging.as_millis()),
        Order::Weighted { weights } => {
            let weights: Vec<String> = weights.iter().map(u32::to_string).collect();
            format!("w{}", weights.join(","))
        }
    }
}

/// Hands out the policy for one call after the other, until one was not out of date.
pub(crate) struct Rounds<'a> {
    queue: &'a Queue,
    made: usize,
}

impl Rounds<'_> {
    /// The policy as last read; from the second time on the one in force.
    pub(crate) async fn next(&mut self) -> Result<Arc<Known>, Fault> {
        self.made += 1;
        match self.made {
            1 => self.queue.known().await,
            2..=MOST_ROUNDS => self.queue.refresh().await,
            _ => {
                let why = format!("the policy changed {MOST_ROUNDS} times during the call");
                Err(Fault::not_done(
                    self.queue.link().faults().script("policy", why),
                ))
            }
        }
    }
}

impl Queue {
    pub(crate) fn new(client: Client, name: QueueName) -> Self {
        Self(Arc::new(Inner {
            link: client.link().to(&name),
            keys: Keys::new(client.endpoint().prefix(), &name),
            client,
            name,
            known: RwLock::new(None),
            gather: Gather::default(),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &QueueName {
        &self.0.name
    }

    /// A task by its id, in any state; `None` if there is no such task, or none any more.
    pub async fn get(&self, id: &TaskId) -> Result<Option<Task>, Error> {
        Ok(self.look(id).await?.map(|(task, _)| task))
    }

    /// The id of the task that stands for an idempotency key; `None` if the key is free. A key may be kept for longer than
    /// what is to be read of its task.
    pub async fn id_of_key(&self, key: &str) -> Result<Option<TaskId>, Error> {
        key_is_fit("idempotency key", key)?;
        let known = self.known().await?;
        let call = self.call(&known, &[], &args::Find { key: key.into() });
        let (_, mut reply) = self.read(&call).await?;
        let id: String = reply.next()?;
        if id.is_empty() {
            return Ok(None);
        }
        id.parse().map(Some)
    }

    /// A task by its idempotency key, in any state; `None` if the key is free, or the task is not kept any more.
    pub async fn get_by_key(&self, key: &str) -> Result<Option<Task>, Error> {
        let Some(id) = self.id_of_key(key).await? else {
            return Ok(None);
        };
        let mut task = self.get(&id).await?;
        if let Some(task) = &mut task {
            task.idempotency_key = Some(key.to_owned());
        }
        Ok(task)
    }

    /// The task with its record as it stands in Redis; empty for one that has ended.
    pub(crate) async fn look(&self, id: &TaskId) -> Result<Option<(Task, Vec<u8>)>, Error> {
        let known = self.known().await?;
        let asked = args::Inspect {
            id: id.as_str().into(),
        };
        let call = self.call(&known, &self.bucket_keys(&[(*id, 1)]), &asked);
        let (_, mut reply) = self.read(&call).await?;
        let state: String = reply.next()?;
        let name = self.0.name.clone();
        let state = match state.as_str() {
            "none" => return Ok(None),
            "ended" => {
                let mut task = unpack_done(*id, name, &reply.next::<Vec<u8>>()?)?;
                let info: Option<Vec<u8>> = reply.next()?;
                task.say_where(&place_said(&info.unwrap_or_default()));
                return Ok(Some((task, Vec::new())));
            }
            "active" => State::Active,
            "scheduled" => State::Scheduled,
            "dead" => State::Dead,
            _ => State::Waiting,
        };
        let stored: Vec<u8> = reply.next()?;
        let record = Record::unpack(&stored)?;
        let extra: String = reply.next()?;
        let losses: Option<u32> = reply.next()?;
        let since_ms = record.runnable_since_ms();
        let mut task = record.into_task(*id, name, state, losses.unwrap_or(0));
        task.locate(&extra);
        if state == State::Active {
            let progress: Option<Vec<u8>> = reply.next()?;
            task.progress = progress.map(Payload::trusted);
            let info: Option<Vec<u8>> = reply.next()?;
            let started: Option<String> = reply.next()?;
            let started = started.and_then(|started| started.parse().ok());
            task.say_where(&Site {
                started_ms: runs::of_this(started, since_ms).unwrap_or(0),
                ..place_said(&info.unwrap_or_default())
            });
        }
        Ok(Some((task, stored)))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn gather(&self) -> &Gather {
        &self.0.gather
    }

    /// The policy as last read, if it ever was.
    pub(crate) fn remembered(&self) -> Option<Arc<Known>> {
        self.0
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The policy as last read; read now if it never was.
    pub(crate) async fn known(&self) -> Result<Arc<Known>, Fault> {
        match self.remembered() {
            Some(known) => Ok(known),
            None => self.refresh().await,
        }
    }

    /// Remembers what was just read.
    pub(crate) fn remember(&self, current: Versioned<Policy>) -> Arc<Known> {
        let known = Arc::new(Known::new(&self.0.keys, current));
        let mut slot = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Arc::clone(&known));
        known
    }

    /// The done buckets of runs of ids.
    pub(crate) fn bucket_keys(&self, runs: &[(TaskId, usize)]) -> Vec<String> {
        let buckets = runs.iter().map(|(id, _)| id.bucket());
        buckets.map(|bucket| self.0.keys.done(bucket)).collect()
    }

    /// A script's call, or the beginning of one.
    pub(crate) fn call<A: Args>(&self, known: &Known, more: &[String], args: &A) -> Call {
        Script::call(&self.0.keys, &known.lists, more, &known.version, args)
    }

    pub(crate) fn announcing(&self, known: &Known) -> Announcing<'static> {
        Announcing {
            wakes: (!known.policy.paused).into(),
            channel: channel(self.0.client.endpoint().prefix()).into(),
            queue: self.0.name.to_string().into(),
        }
    }

    fn reply(&self, script: &'static Script, value: Value) -> Result<Reply<'_>, Error> {
        Reply::new(value, script.name, self.link().faults())
    }

    pub(crate) fn rounds(&self) -> Rounds<'_> {
        Rounds {
            queue: self,
            made: 0,
        }
    }

    /// As [`rounds`](Self::rounds), of a policy that is known to be out of date.
    pub(crate) fn rounds_anew(&self) -> Rounds<'_> {
        Rounds {
            queue: self,
            made: 1,
        }
    }

    /// Calls a script that goes by the policy, as often as that has changed; its answer from behind the
    /// time on.
    pub(crate) async fn under_policy(
        &self,
        call: impl Fn(&Known) -> Call,
    ) -> Result<Reply<'_>, Fault> {
        let mut rounds = self.rounds();
        loop {
            let known = rounds.next().await?;
            if let (Status::Ok, reply) = self.answer(&call(&known)).await? {
                return Ok(reply);
            }
        }
    }

    /// Calls a script; its status, and its answer from behind the time on.
    pub(crate) async fn answer(&self, call: &Call) -> Result<(Status, Reply<'_>), Fault> {
        for _ in 0..MOST_ROUNDS {
            let sent = Some(Instant::now());
            let value = self.link().call(call).await?;
            let (status, reply) = self.open(call.script, value, sent)?;
            if status != Status::Old {
                return Ok((status, reply));
            }
            self.migrate().await?;
        }
        Err(Fault::not_done(self.brought_in_for_ever()))
    }

    /// As [`answer`](Self::answer), of a script that only reads.
    pub(crate) async fn read(&self, call: &Call) -> Result<(Status, Reply<'_>), Error> {
        for _ in 0..MOST_ROUNDS {
            let sent = Some(Instant::now());
            let value = self.link().read(call).await?;
            let (status, reply) = self.open(call.script, value, sent)?;
            if status != Status::Old {
                return Ok((status, reply));
            }
            self.migrate().await?;
        }
        Err(self.brought_in_for_ever())
    }

    /// The status of an answer, and the answer from behind the time on. The clock is set by that where it is
    /// known when the call was sent.
    pub(crate) fn open(
        &self,
        script: &'static Script,
        value: Value,
        sent: Option<Instant>,
    ) -> Result<(Status, Reply<'_>), Error> {
        let mut reply = self.reply(script, value)?;
        let status = reply.status()?;
        if !matches!(status, Status::Stale | Status::Old) {
            reply.now_ms = reply.next()?;
            if let Some(sent) = sent {
                self.link().clock().hear(sent, reply.now_ms);
            }
        }
        Ok((status, reply))
    }

    /// Asks a plain command that only reads, for an answer of this shape.
    pub(crate) async fn ask<T: FromValue>(
        &self,
        command: &redis::Cmd,
        name: &'static str,
    ) -> Result<T, Error> {
        let value = self.link().read_plain(command, name).await?;
        read(value).map_err(|fault| self.unfit(name, &fault))
    }

    /// As [`ask`](Self::ask), for names and values.
    pub(crate) async fn ask_pairs<K: FromValue, V: FromValue>(
        &self,
        command: &redis::Cmd,
        name: &'static str,
    ) -> Result<Vec<(K, V)>, Error> {
        let value = self.link().read_plain(command, name).await?;
        read_pairs(value).map_err(|fault| self.unfit(name, &fault))
    }

    /// A command has answered in another shape than it does.
    pub(crate) fn unfit(&self, name: &'static str, fault: &Unfit) -> Error {
        self.link().faults().script(name, fault.to_string())
    }

    fn brought_in_for_ever(&self) -> Error {
        let why = format!("an earlier version wrote anew {MOST_ROUNDS} times during the call");
        self.link().faults().script("migrate", why)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.0.name)
    }
}
