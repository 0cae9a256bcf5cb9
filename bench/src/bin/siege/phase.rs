//! One phase: a fresh operator, the honest load, and some attackers beside it.

use std::{sync::Arc, time::Duration};

use kube::Client;
use taskqueue_e2e::alone::ApiServer;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    attackers::{self, Attackers},
    bounds::WAKE,
    honest::{Harvest, Honest, Wake},
    operator::{Figures, Keeper},
    yardstick,
};

/// How long a fresh operator may take, after it got the Lease, until it looks at the honest queues.
const START: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Without attackers.
    Alone,
    /// One attacker.
    One,
    /// All attackers of a namespace.
    Namespace,
    /// All attackers, and the operator is told to end in the middle.
    All,
}

/// What is to be done.
pub(crate) struct Phase {
    pub(crate) kind: Kind,
    pub(crate) title: String,
    pub(crate) attackers: Vec<&'static str>,
    pub(crate) length: Duration,
}

/// What came of it.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) title: String,
    /// From the start of the load on.
    pub(crate) took: Duration,
    /// How long the honest tasks took to wake their queues, in ascending order.
    pub(crate) wakes: Vec<Duration>,
    /// Of those that took too long: when, how long, and the longest plain write meanwhile.
    pub(crate) late: Vec<(Duration, Duration, Duration)>,
    /// How long a plain write took until it was seen, in ascending order.
    pub(crate) writes: Vec<Duration>,
    /// The same of those that had nobody to see them, since one operator was told to end and the
    /// next one had not begun.
    pub(crate) across: Vec<Duration>,
    pub(crate) enqueued: u64,
    pub(crate) lost: u64,
    pub(crate) operator: Figures,
    /// Whether the memory limit was in force, and names were asked of our name server.
    pub(crate) cage: (bool, bool),
    pub(crate) told: Vec<String>,
}

/// All that takes part.
pub(crate) struct Siege {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) client: Client,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) honest: Honest,
}

impl Siege {
    /// Runs one.
    pub(crate) async fn phase(&self, phase: &Phase) -> Row {
        self.keeper.start(self.honest.count()).await;
        self.honest.rest().await;
        let cage = self.keeper.cage();
        let (stop, start) = (CancellationToken::new(), Instant::now());
        let course = course(phase, &self.server, &self.keeper, cage.1, stop.clone());
        let (harvest, (attackers, gap)) = tokio::join!(self.honest.load(stop), course);
        let took = start.elapsed();
        let operator = self.keeper.end().await;
        let told = match attackers {
            Some(attackers) => attackers.end().await,
            None => Vec::new(),
        };
        attackers::clean(&self.client).await;
        let Harvest {
            wakes,
            writes,
            enqueued,
            lost,
        } = harvest;
        let unseen = |begun: Instant, took: Duration| {
            gap.is_some_and(|(from, to)| begun < to && begun + took > from)
        };
        let (mut across, mut seen, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for wake in wakes {
            if unseen(wake.begun, wake.took) {
                across.push(wake.took);
                continue;
            }
            seen.push(wake.took);
            if wake.took > WAKE {
                let Wake { begun, took } = wake;
                late.push((begun - start, took, yardstick::beside(&writes, wake)));
            }
        }
        late.sort();
        let mut writes: Vec<Duration> = writes.iter().map(|write| write.took).collect();
        writes.sort();
        across.sort();
        seen.sort();
        Row {
            kind: phase.kind,
            title: phase.title.clone(),
            took,
            wakes: seen,
            late,
            writes,
            across,
            enqueued,
            lost,
            operator,
            cage,
            told,
        }
    }
}

/// The attack, until its time is over. Returns the attackers, who are still at it, and from when to
/// when there was no operator because it was told to end.
async fn course(
    phase: &Phase,
    server: &ApiServer,
    keeper: &Keeper,
    resolves: bool,
    stop: CancellationToken,
) -> (Option<Attackers>, Option<(Instant, Instant)>) {
    let mut attackers = None;
    if !phase.attackers.is_empty() {
        let (names, target) = (&phase.attackers, keeper.address());
        let begun = Attackers::start(names, &server.kubeconfig(), &target, resolves).await;
        attackers = Some(begun);
    }
    let mut gap = None;
    if phase.kind == Kind::All {
        sleep(phase.length / 2).await;
        let (from, to) = keeper.hand_over().await;
        gap = Some((from, to + START));
        sleep(phase.length / 2).await;
    } else {
        sleep(phase.length).await;
    }
    stop.cancel();
    (attackers, gap)
}
