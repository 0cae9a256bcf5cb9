//! Leader election by a Lease, so that of several operators one works.
//!
//! Every write carries the resource version of the Lease that it was decided on, so of two that
//! reach for it one is refused. A Lease is taken over only when it did not change for its whole
//! duration by this operator's own clock; clocks of other machines are never compared. (The
//! published crate for this takes over without a version, and so can elect two.)

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, ResourceExt, api::PostParams, core::ObjectMeta};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Name of the Lease.
const LEASE: &str = "taskqueue-operator";
/// How long the Lease holds without being renewed. With the looks of the others and the start of
/// the next one, tasks wait at most 15 s for a leader that was killed.
const DURATION: Duration = Duration::from_secs(10);
/// The longest duration that is believed of a Lease. Whoever may write it could say 68 years, and nobody would lead for as
/// long after the leader has gone. No leader renews its Lease so seldom: ours has always been 10 s, and those of Kubernetes'
/// own programs are 15 s to 60 s.
const LONGEST: Duration = Duration::from_mins(5);
/// How often the leader renews it.
const RENEW: Duration = Duration::from_secs(2);
/// How long the leader goes on without a renewal; less than the duration, so that it has
/// stopped before another one starts.
const DEADLINE: Duration = Duration::from_secs(7);
/// How long one try to get, renew or give up the Lease may take, so that an answer that got lost
/// costs one try and not the leadership.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How often the others look.
const RETRY: Duration = Duration::from_secs(1);

/// A candidate.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
}

/// The Lease in the hands of this operator.
#[derive(Clone, Debug)]
pub struct Held {
    lease: Lease,
    /// When the write that got it was sent: no other candidate can have seen it earlier.
    since: Instant,
}

/// Why leadership ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another operator holds the Lease.
    #[error("another operator took the Lease: {0}")]
    Taken(String),
    /// The Lease could not be renewed in time; without a cause, since nothing answered.
    #[error("the Lease could not be renewed for {DEADLINE:?}")]
    Expired(#[source] Option<kube::Error>),
}

impl Candidate {
    /// A candidate of this identity, which no other operator may have at the same time.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            identity,
        }
    }

    /// Waits until this candidate leads.
    pub async fn elected(&self) -> Held {
        // The version last seen, and since when.
        let mut seen: Option<(String, Instant)> = None;
        loop {
            let since = Instant::now();
            match timeout(ATTEMPT, self.reach(&mut seen)).await {
                Ok(Ok(Some(lease))) => {
                    tracing::info!(identity = self.identity, "leads");
                    return Held { lease, since };
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot reach for the Lease"),
                Err(_) => tracing::warn!("cannot reach for the Lease: no answer"),
            }
            sleep(RETRY).await;
        }
    }

    async fn reach(
        &self,
        seen: &mut Option<(String, Instant)>,
    ) -> Result<Option<Lease>, kube::Error> {
        let Some(lease) = self.leases.get_opt(LEASE).await? else {
            let fresh = Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.held(None)),
            };
            return lost_race(self.leases.create(&PostParams::default(), &fresh).await);
        };
        let version = lease.resource_version().unwrap_or_default();
        let since = match seen {
            Some((before, since)) if *before == version => *since,
            _ => seen.insert((version, Instant::now())).1,
        };
        let spec = lease.spec.as_ref();
        let holder = spec
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or("");
        let duration = spec
            .and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok())
            .map_or(DURATION, Duration::from_secs)
            .min(LONGEST);
        if holder.is_empty() || holder == self.identity || since.elapsed() > duration {
            let mut taken = lease.clone();
            taken.spec = Some(self.held(spec));
            return lost_race(self.replace(&taken).await);
        }
        Ok(None)
    }

    /// Renews the Lease until `stop` and then gives it up, so that another one leads at once.
    pub async fn lead(&self, mut held: Held, stop: CancellationToken) -> Result<(), Lost> {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(RENEW) => {}
            }
            let mut cause = None;
            let deadline = held.since + DEADLINE;
            // Also over when nothing answers at all: another one will not wait for that.
            held = timeout_at(deadline, self.renew(held.lease, &mut cause))
                .await
                .unwrap_or_else(|_| Err(Lost::Expired(cause)))?;
        }
        self.give_up(held.lease).await;
        Ok(())
    }

    /// Renews the Lease, with as many tries as it takes. `cause` is why the last one failed.
    async fn renew(&self, mut lease: Lease, cause: &mut Option<kube::Error>) -> Result<Held, Lost> {
        loop {
            if let Some(spec) = &mut lease.spec {
                spec.renew_time = Some(MicroTime(Timestamp::now()));
            }
            let since = Instant::now();
            let error = match timeout(ATTEMPT, self.replace(&lease)).await {
                Ok(Ok(lease)) => return Ok(Held { lease, since }),
                Ok(Err(error)) => error,
                Err(_) => {
                    tracing::warn!("cannot renew the Lease: no answer within {ATTEMPT:?}");
                    continue;
                }
            };
            if is_conflict(&error)
                && let Ok(current) = self.leases.get(LEASE).await
            {
                lease = self.still_ours(current)?;
                continue;
            }
            tracing::warn!(%error, "cannot renew the Lease");
            *cause = Some(error);
            sleep(RETRY).await;
        }
    }

    /// Somebody wrote the Lease: still ours, or lost?
    fn still_ours(&self, current: Lease) -> Result<Lease, Lost> {
        let spec = current.spec.as_ref();
        match spec.and_then(|spec| spec.holder_identity.clone()) {
            Some(holder) if holder == self.identity => Ok(current),
            holder => Err(Lost::Taken(holder.unwrap_or_default())),
        }
    }

    async fn give_up(&self, mut lease: Lease) {
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            ..lease.spec.unwrap_or_default()
        });
        match timeout(ATTEMPT, self.replace(&lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot give up the Lease"),
            Err(_) => tracing::warn!("cannot give up the Lease: no answer"),
        }
    }

    /// Writes the Lease, if nobody else has since it was read.
    async fn replace(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let params = PostParams::default();
        self.leases.replace(LEASE, &params, lease).await
    }

    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let transitions = before
            .and_then(|before| before.lease_transitions)
            .unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(before.is_some()))),
            ..LeaseSpec::default()
        }
    }
}

/// A write that came second is no error: another candidate was faster.
fn lost_race(outcome: Result<Lease, kube::Error>) -> Result<Option<Lease>, kube::Error> {
    match outcome {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if is_conflict(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
