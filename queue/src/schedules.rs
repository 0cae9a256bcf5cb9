//! Running the schedules of a queue: whoever looks enqueues what is due, and the note of the last
//! run sees to it that nobody does it twice.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::timestamp;
use crate::cron::{self, Decision, Last};
use crate::fault::Fault;
use crate::keys::Key;
use crate::queue::{Known, Queue};
use crate::record::{Extras, Head};
use crate::reply::Status;
use crate::script::args;
use crate::{Error, NewTask, Policy, Schedule, TaskId, TypePolicy};

/// How many of the next runs of a schedule are told.
const UPCOMING: usize = 5;

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleState {
    /// Its name.
    pub name: String,
    /// When it runs, as the policy writes it.
    pub cron: String,
    /// Its time zone.
    pub time_zone: String,
    /// The type of its task.
    #[serde(rename = "type")]
    pub kind: String,
    /// The last run, as the time at which it was due; `None` if it never ran.
    pub last: Option<Timestamp>,
    /// The next run; `None` while it is suspended.
    pub next: Option<Timestamp>,
    /// The next five runs, `next` the first of them; none while it is suspended.
    pub upcoming: Vec<Timestamp>,
    /// Whether it is suspended.
    pub suspended: bool,
}

/// Something to be done about a schedule.
struct Step<'a> {
    name: &'a str,
    /// What was noted, empty for nothing.
    before: &'a str,
    /// What is to be noted, empty for nothing.
    after: String,
    /// What is to be enqueued, if anything.
    run: Option<&'a Schedule>,
}

impl Queue {
    /// The schedules of the policy in force, as they stand.
    pub async fn schedules(&self) -> Result<Vec<ScheduleState>, Error> {
        let known = self.refresh().await?;
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys().get(Key::Schedules));
        let notes: HashMap<String, String> = self.ask(&command, "HGETALL").await?;
        let now = timestamp(self.link().clock().now_ms());
        let state = |schedule: &Schedule| {
            let upcoming = cron::upcoming(self.name(), schedule, now, UPCOMING);
            ScheduleState {
                name: schedule.name.clone(),
                cron: schedule.cron.clone(),
                time_zone: schedule.time_zone.clone(),
                kind: schedule.kind.clone(),
                last: notes
                    .get(&schedule.name)
                    .and_then(|note| Last::read(note)?.ran()),
                next: upcoming.first().copied(),
                upcoming,
                suspended: schedule.suspend,
            }
        };
        Ok(known.policy.schedules.iter().map(state).collect())
    }

    /// Enqueues the task of a schedule now, whether it is suspended or not, as any other task; when it runs
    /// by itself stays as it is.
    pub async fn run_schedule(&self, name: &str) -> Result<TaskId, Error> {
        let known = self.refresh().await?;
        let schedules = &known.policy.schedules;
        let Some(schedule) = schedules.iter().find(|schedule| schedule.name == name) else {
            let names: Vec<&str> = schedules.iter().map(|known| known.name.as_str()).collect();
            let rule = if names.is_empty() {
                "the queue has no schedules".to_owned()
            } else {
                format!("one of {}", names.join(", "))
            };
            return Err(Error::invalid("schedule", name, rule));
        };
        let mut task = NewTask::new(&schedule.kind, schedule.payload.clone());
        if let Some(level) = &schedule.priority {
            task = task.priority(level);
        }
        Ok(self.enqueue(task).await?.id())
    }

    /// Enqueues the tasks of the schedules that are due, each once however many do this at the same
    /// time. Returns how many. `last_runs` is what Redis holds of each. The policy's bound of the
    /// backlog does not hold for them: there is nobody to tell, and one run makes up for many.
    pub(crate) async fn run_schedules(
        &self,
        last_runs: &HashMap<String, String>,
    ) -> Result<u64, Error> {
        let mut rounds = self.rounds();
        let mut fired = 0;
        'policy: loop {
            let known = rounds.next().await?;
            let now_ms = self.link().clock().now_ms();
            for step in self.steps(&known, last_runs, now_ms) {
                match self.take(&known, &step, now_ms).await {
                    // Steps that were taken will be found to be.
                    Ok(None) => continue 'policy,
                    Ok(Some(taken)) => fired += u64::from(taken && step.run.is_some()),
                    Err(fault) if fault.error.is_transient() => return Err(fault.into()),
                    Err(fault) => self.complain(step.name, &fault.error),
                }
            }
            return Ok(fired);
        }
    }

    fn steps<'a>(
        &self,
        known: &'a Known,
        last_runs: &'a HashMap<String, String>,
        now_ms: u64,
    ) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let policy = &known.policy;
        for (schedule, plan) in policy.schedules.iter().zip(known.plans()) {
            let plan = match plan {
                Ok(plan) => plan,
                Err(error) => {
                    self.complain(&schedule.name, error);
                    continue;
                }
            };
            let before = last_runs.get(&schedule.name).map_or("", String::as_str);
            let last = Last::read(before);
            let (after, run) = match cron::due(self.name(), schedule, plan, last.as_ref(), now_ms) {
                Decision::Wait => continue,
                Decision::Note(last) => (last, None),
                Decision::Run(last) => (last, Some(schedule)),
            };
            steps.push(Step {
                name: &schedule.name,
                before,
                after: after.to_string(),
                run,
            });
        }
        let is_gone = |name: &str| policy.schedules.iter().all(|known| known.name != name);
        for (name, before) in last_runs.iter().filter(|(name, _)| is_gone(name)) {
            steps.push(Step {
                name,
                before,
                after: String::new(),
                run: None,
            });
        }
        steps
    }

    /// Takes a step and says whether nobody had; `None` if the policy is out of date.
    async fn take(
        &self,
        known: &Known,
        step: &Step<'_>,
        now_ms: u64,
    ) -> Result<Option<bool>, Fault> {
        let (id, record) = match step.run {
            Some(schedule) => (
                self.client().next_task_id().to_string(),
                pack(&known.policy, schedule, now_ms),
            ),
            None => (String::new(), Vec::new()),
        };
        let told = self.announcing(known);
        let run = args::Fire {
            schedule: step.name.into(),
            known: step.before.into(),
            note: step.after.as_str().into(),
            wakes: told.wakes,
            channel: told.channel,
            queue: told.queue,
            id: id.into(),
            record: record.as_slice().into(),
        };
        let call = self.call(known, &[], &run);
        let (Status::Ok, mut reply) = self.answer(&call).await? else {
            return Ok(None);
        };
        Ok(Some(reply.next::<String>()? == "1"))
    }

    fn complain(&self, schedule: &str, error: &Error) {
        tracing::warn!(queue = %self.name(), schedule, %error, "a schedule cannot run");
    }
}

/// The record of a schedule's task.
fn pack(policy: &Policy, schedule: &Schedule, now_ms: u64) -> Vec<u8> {
    let level = schedule
        .priority
        .as_ref()
        .or_else(|| policy.levels.get(policy.default_level()));
    let of_type = policy.of_type(&schedule.kind);
    let extras = of_type.and_then(TypePolicy::key).map(|key| Extras {
        concurrency_key: key,
        ..Extras::default()
    });
    let head = Head {
        level: level.map_or("", String::as_str),
        created_ms: now_ms,
        due_ms: 0,
        kind: &schedule.kind,
        attempts: 0,
        errors: &[],
        extras: extras.as_ref(),
        more: None,
    };
    head.pack(schedule.payload.as_bytes())
}
