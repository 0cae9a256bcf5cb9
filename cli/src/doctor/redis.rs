//! Looks at Redis: whether it answers, its settings, what the user may do, and the queues.

use std::fmt::Write as _;

use taskqueue_queue::server::{Risk, Safety, ServerReport};
use taskqueue_queue::{Client, Endpoint, Error, Lacking, Queue, QueueName, Snapshot};
use tokio::time::timeout;

use super::LONGEST;
use super::report::{Finding, Level};
use crate::exit::Failure;
use crate::table;

const CHECK: &str = "redis";
const SETTINGS: &str = "settings";
const RIGHTS: &str = "rights";
const QUEUES: &str = "queues";

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    /// The way to it, if it answers.
    pub(super) client: Option<Client>,
}

/// Looks at the Redis of a URL, and at the rights there on the keys of a namespace, or of all.
pub(super) async fn look(url: Option<&str>, namespace: Option<&str>) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        let text = "no URL: give --redis URL or set TASKQUEUE_REDIS_URL to look at Redis as well";
        seen.findings.push(Finding::unknown(CHECK, text));
        return Ok(seen);
    };
    let endpoint = Endpoint::parse(url).map_err(|error| Failure::Usage(error.to_string()))?;
    let client = match timeout(LONGEST, Client::connect(&endpoint)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            seen.findings.push(Finding::problem(CHECK, with_fix(error)));
            return Ok(seen);
        }
        Err(_) => {
            let seconds = LONGEST.as_secs();
            let text = format!(
                "Redis at {endpoint} did not answer within {seconds} s: is the address right, and open?"
            );
            seen.findings.push(Finding::problem(CHECK, text));
            return Ok(seen);
        }
    };
    let (settings, rights) = tokio::join!(
        timeout(LONGEST, client.server_reports()),
        timeout(LONGEST, client.lacking_rights(namespace))
    );
    let late = |check| Finding::unknown(check, format!("no answer within {} s", LONGEST.as_secs()));
    seen.findings.extend(match settings {
        Ok(Ok(reports)) => of_servers(&reports),
        Ok(Err(error)) => vec![Finding::problem(CHECK, Failure::Queue(error).message())],
        Err(_) => vec![late(SETTINGS)],
    });
    seen.findings.push(match rights {
        Ok(Ok(lacking)) => of_rights(&lacking),
        Ok(Err(error)) => {
            let prefix = endpoint.prefix();
            let (keys, hint) = match namespace {
                Some(namespace) => (format!("~{prefix}:{{{namespace}/* &{prefix}:wake"), ""),
                None => (
                    format!("~{prefix}:* &{prefix}:*"),
                    " (a user of one namespace is looked at with --namespace)",
                ),
            };
            let fix = format!("ACL SETUSER <user> {keys} +evalsha +script|load{hint}");
            Finding::problem(
                RIGHTS,
                format!("{}: {fix}", Failure::Queue(error).message()),
            )
        }
        Err(_) => late(RIGHTS),
    });
    seen.client = Some(client);
    Ok(seen)
}

/// Why Redis cannot be used, and what to do where the error does not say it.
fn with_fix(error: Error) -> String {
    let fix = match &error {
        Error::Unreachable { .. } | Error::Timeout { .. } => {
            ": is the address right, and does it run? One inside a cluster is reached by kubectl port-forward"
        }
        Error::AuthFailed { reason, .. } if reason.starts_with("WRONGPASS") => {
            " Write the right ones into the URL: redis://user:password@host"
        }
        _ => "",
    };
    format!("{}{fix}", Failure::Queue(error).message())
}

/// What servers say of themselves.
fn of_servers(reports: &[ServerReport]) -> Vec<Finding> {
    let mut findings: Vec<_> = reports
        .iter()
        .map(|report| Finding::ok(CHECK, report))
        .collect();
    let safety = Safety::of(reports);
    findings.extend(
        safety
            .findings
            .iter()
            .map(|finding| match level(&finding.risk) {
                Level::Problem => Finding::problem(SETTINGS, finding),
                _ => Finding::warning(SETTINGS, finding),
            }),
    );
    match safety.untold() {
        Some(text) => findings.push(Finding::unknown(SETTINGS, text)),
        None if safety.findings.is_empty() => {
            let text =
                "nothing is evicted, there is memory left, and what is written is kept on disk";
            findings.push(Finding::ok(SETTINGS, text));
        }
        None => {}
    }
    findings
}

/// How bad a risk is: a problem if tasks are lost or refused as things are.
fn level(risk: &Risk) -> Level {
    match risk {
        Risk::Replica
        | Risk::TooOld { .. }
        | Risk::TooFewReplicas { .. }
        | Risk::EvictsTasks { .. } => Level::Problem,
        // Rounded down to a multiple of five: what is left takes hardly a task.
        Risk::NearlyFull { percent, .. } if *percent >= 95 => Level::Problem,
        Risk::NearlyFull { .. } | Risk::EvictsRecords { .. } | Risk::NotPersisted => Level::Warning,
    }
}

/// What the user of the URL may not do.
fn of_rights(lacking: &Lacking) -> Finding {
    if lacking.commands.is_empty() {
        return Finding::ok(
            RIGHTS,
            "the user may do all that workers, the operator and tq do",
        );
    }
    let mut text = String::from("the user lacks rights that workers, the operator and tq need");
    if lacking.produces {
        text.push_str(" (it may enqueue, look at and cancel tasks)");
    }
    text.push_str(": ACL SETUSER <user>");
    for command in &lacking.commands {
        let _ = write!(text, " +{command}");
    }
    Finding::problem(RIGHTS, text)
}

/// Looks at queues: those that were `asked` for, and those of TaskQueues.
pub(super) async fn queues(
    client: &Client,
    asked: &[QueueName],
    of_cluster: &[QueueName],
) -> Vec<Finding> {
    let others = of_cluster.iter().filter(|name| !asked.contains(name));
    let names: Vec<_> = asked.iter().chain(others).cloned().collect();
    if names.is_empty() {
        let text = "none is known: name one to look at it, tq doctor QUEUE";
        return vec![Finding::unknown(QUEUES, text)];
    }
    let queues: Vec<Queue> = names
        .iter()
        .map(|name| client.queue(name.clone()))
        .collect();
    let Ok(snapshots) = timeout(LONGEST, client.snapshot(&queues)).await else {
        return vec![Finding::unknown(
            QUEUES,
            format!("no answer within {} s", LONGEST.as_secs()),
        )];
    };
    let mut findings = Vec::new();
    let mut sums = Sums::default();
    for (place, (name, snapshot)) in names.iter().zip(snapshots).enumerate() {
        match snapshot {
            Ok(snapshot) => {
                sums.add(&snapshot);
                // Those of TaskQueues may begin at zero; the cluster says more of them.
                let patience = if place < asked.len() { 0 } else { 30 };
                findings.extend(of_queue(name, &snapshot, patience));
            }
            Err(error) => {
                let text = format!("{name}: {}", Failure::Queue(error).message());
                findings.push(Finding::problem(QUEUES, text));
            }
        }
    }
    findings.push(Finding::ok(QUEUES, sums.told()));
    findings
}

/// The figures of all queues.
#[derive(Default)]
struct Sums {
    queues: u64,
    waiting: u64,
    active: u64,
    dead: u64,
    workers: u64,
}

impl Sums {
    fn add(&mut self, snapshot: &Snapshot) {
        self.queues += 1;
        self.waiting += snapshot.backlog();
        self.active += snapshot.active;
        self.dead += snapshot.dead;
        self.workers += snapshot.workers;
    }

    fn told(&self) -> String {
        let Self {
            queues,
            waiting,
            active,
            dead,
            workers,
        } = self;
        format!(
            "{queues} looked at: {waiting} tasks wait, {active} run on {workers} workers, {dead} are dead letters"
        )
    }
}

/// What is wrong with a queue, if anything is. Tasks may wait so many seconds for a first worker.
fn of_queue(name: &QueueName, snapshot: &Snapshot, patience: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(fault) = &snapshot.fault {
        let text = format!("{name}: its workers take no tasks: {fault}");
        findings.push(Finding::problem(QUEUES, text));
    }
    let (waiting, oldest) = (
        snapshot.backlog(),
        snapshot.oldest_waiting.unwrap_or_default(),
    );
    if waiting > 0 && snapshot.workers == 0 && oldest.as_secs() >= patience {
        let oldest =
            jiff::SignedDuration::try_from(oldest).map_or_else(|_| "?".to_owned(), table::span);
        let text = format!(
            "{name}: {waiting} tasks wait, the oldest for {oldest}, and no worker serves the queue: does one run, with \
             this Redis and this queue?"
        );
        findings.push(Finding::warning(QUEUES, text));
    }
    findings
}
