//! `tq doctor`: looks at Redis, the cluster, the operator and the queues, and says what is wrong and what to
//! do. It changes nothing; what it cannot look at it says, and goes on.

mod cluster;
mod definition;
mod operator;
mod redis;
mod report;
mod taskqueues;

use std::time::Duration;

use self::report::{Finding, Report};
use crate::args::{Doctor, Form, Place};
use crate::exit::Failure;
use crate::output::Output;
use crate::place;

/// The longest that one look takes.
const LONGEST: Duration = Duration::from_secs(5);

pub(crate) async fn run(typed: &Doctor, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let named = typed
        .queues
        .iter()
        .map(|name| place::full_name(place, name));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let cluster = async {
        if typed.no_cluster {
            return cluster::Seen {
                findings: vec![Finding::unknown(
                    "cluster",
                    "not looked at, as --no-cluster says",
                )],
                ..cluster::Seen::default()
            };
        }
        cluster::look(typed.context.as_deref(), place.namespace.as_deref()).await
    };
    let (redis, cluster) = tokio::join!(
        redis::look(place.redis.as_deref(), place.namespace.as_deref()),
        cluster
    );
    let redis = redis?;
    let mut findings = redis.findings;
    findings.extend(cluster.findings);
    if let Some(client) = &redis.client {
        findings.extend(redis::queues(client, &named, &cluster.queues).await);
    }
    tell(&Report::of(findings), typed, output)
}

fn tell(report: &Report, typed: &Doctor, output: &mut Output) -> Result<(), Failure> {
    match typed.output {
        Form::Text => {
            for line in report.lines() {
                output.line(line)?;
            }
        }
        Form::Json => output.document(
            &serde_json::to_string_pretty(report)
                .map_err(|error| Failure::Form(error.to_string()))?,
        )?,
    }
    output.flush()?;
    if report.saw_nothing() {
        let fix =
            "there is nothing to look at: give --redis URL or TASKQUEUE_REDIS_URL, or a KUBECONFIG";
        return Err(Failure::Usage(fix.to_owned()));
    }
    report
        .verdict(typed.strict)
        .map_or(Ok(()), |told| Err(Failure::Unwell(told)))
}
