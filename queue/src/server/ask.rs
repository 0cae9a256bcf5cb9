//! Asking the servers of a client about themselves.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::join_all;
use redis::Cmd;

use super::read::{self, Topic};
use super::{ServerReport, Unseen};
use crate::Error;
use crate::client::Client;
use crate::line::Line;
use crate::question::Question;
use crate::shared::lock;

/// After how long a server is asked again what it refused.
const ASK_AGAIN: Duration = Duration::from_mins(10);

impl Client {
    /// What every server says of itself: the only one, the primary, or each node of a cluster that
    /// serves slots. `HELLO` tells make, version, mode and role to everybody; the rights `+info` and
    /// `+config|get` tell the rest, and where they or the commands are missing that is unknown and
    /// noted in [`ServerReport::unseen`]; what was refused for want of a right is asked again after ten
    /// minutes. One round trip each, over the connections of all other calls,
    /// within seven seconds. An error means that no server answered.
    pub async fn server_reports(&self) -> Result<Vec<ServerReport>, Error> {
        let lines = self.link().servers().await?;
        let answers = join_all(lines.iter().map(|(_, line)| ask(line, self.refusals()))).await;
        let mut reports = Vec::with_capacity(answers.len());
        let mut failure = None;
        let mut any = false;
        for (answer, (address, _)) in answers.into_iter().zip(&lines) {
            match answer {
                Ok(report) => {
                    any = true;
                    reports.push(report);
                }
                Err(error) => {
                    reports.push(lost(address.clone(), &error));
                    failure = failure.or(Some(error));
                }
            }
        }
        match failure {
            Some(error) if !any => Err(error),
            _ => Ok(reports),
        }
    }
}

/// What servers refused for want of a right, and until when they are not asked that again: each refusal
/// is an entry in the log of their administrators.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<String, (Instant, Vec<Unseen>)>>);

impl Refusals {
    /// What a server need not be asked now.
    fn of(&self, address: &str) -> Vec<Unseen> {
        let mut known = lock(&self.0);
        known.retain(|_, (until, _)| *until > Instant::now());
        known
            .get(address)
            .map_or_else(Vec::new, |(_, unseen)| unseen.clone())
    }

    /// Takes note of what a report lacks, unless it was known.
    fn note(&self, report: &ServerReport) {
        let lacking = report.unseen.iter().filter(|unseen| unseen.right.is_some());
        let lacking: Vec<_> = lacking.cloned().collect();
        if !lacking.is_empty() {
            lock(&self.0)
                .entry(report.address.clone())
                .or_insert_with(|| (Instant::now() + ASK_AGAIN, lacking));
        }
    }
}

async fn ask(line: &Line, refusals: &Refusals) -> Result<ServerReport, Error> {
    let mut report = ServerReport::new(line.address().await?.to_string());
    report.unseen = refusals.of(&report.address);
    let refused = |topic: &Topic| {
        let unseen = report.unseen.iter();
        unseen
            .map(|unseen| unseen.command)
            .any(|command| command == topic.command())
    };
    let topics: Vec<_> = Topic::ALL
        .into_iter()
        .filter(|topic| !refused(topic))
        .collect();
    let commands: Vec<_> = topics.iter().map(|topic| command(*topic)).collect();
    let named = topics.iter().zip(&commands);
    let questions: Vec<_> = named
        .map(|(topic, command)| Question::Plain(command, topic.command()))
        .collect();
    let answers = line.ask_all(&questions).await;
    for (topic, answer) in topics.into_iter().zip(answers) {
        match answer.map_err(Error::from) {
            Ok(answer) => read::take(&mut report, topic, &answer),
            Err(Error::AuthFailed { reason, .. }) => {
                read::refuse(&mut report, topic, true, &reason);
            }
            Err(Error::Script { reason, .. }) => read::refuse(&mut report, topic, false, &reason),
            Err(error) => return Err(error),
        }
    }
    refusals.note(&report);
    Ok(report)
}

fn command(topic: Topic) -> Cmd {
    match topic {
        Topic::Hello => redis::cmd("HELLO"),
        Topic::Info(section) => redis::cmd("INFO").arg(section).to_owned(),
        Topic::Config(name) => redis::cmd("CONFIG").arg("GET").arg(name).to_owned(),
    }
}

/// A server that does not answer.
fn lost(address: String, error: &Error) -> ServerReport {
    let mut report = ServerReport::new(address);
    report.unseen.push(Unseen {
        command: "HELLO",
        right: None,
        said: error.to_string(),
    });
    report
}
