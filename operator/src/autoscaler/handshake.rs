//! One pass over the workers of a queue that has some to let go, or had: the steps that `shrink`
//! plans are taken here, and nothing is decided.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use taskqueue_queue::{Error, Queue};
use taskqueue_scaling::Instant;

use super::{
    shrink::{self, COST, Marks, SPAN, Scene, Steps, Wait, choose, conclude},
    write::{WriteError, Writes},
};
use crate::{
    fleet::{PodState, Pods},
    key::Key,
};

/// What a pass works on and with.
pub(super) struct Pass {
    pub(super) key: Key,
    pub(super) queue: Queue,
    pub(super) pods: Arc<Pods>,
    pub(super) writes: Arc<Writes>,
    /// Replicas asked for last.
    pub(super) replicas: u32,
    /// Replicas to come to.
    pub(super) target: u32,
    /// Pods that the Deployment has or is about to have.
    pub(super) counted: u32,
    pub(super) rolling: bool,
    pub(super) unobserved: bool,
    pub(super) marks: Marks,
    pub(super) now: Instant,
}

/// What came of a pass.
pub(super) struct Passed {
    /// Workers are drained or pods carry our cost, so that another pass has to follow.
    pub(super) marked: bool,
    /// Something was done or is about to be seen, so that the next pass may do more.
    pub(super) moves: bool,
    /// What the shrink waits for.
    pub(super) wait: Option<Wait>,
    /// The replicas that were to be written, and how that went.
    pub(super) lowered: Option<(u32, Result<(), WriteError>)>,
}

impl Pass {
    /// Takes the steps. An error means that the marks in Redis may or may not stand; they lapse,
    /// and the next pass renews them or takes them away. What is remembered comes back either way.
    pub(super) async fn run(mut self) -> (Marks, Result<Passed, Error>) {
        let passed = self.steps().await;
        (self.marks, passed)
    }

    async fn steps(&mut self) -> Result<Passed, Error> {
        let workers: Vec<shrink::Worker> = self
            .queue
            .workers()
            .await?
            .into_iter()
            .map(|worker| shrink::Worker {
                id: worker.id,
                pod: worker.pod,
                held: worker.active,
                draining: worker.draining,
            })
            .collect();
        let pods = self.pods();
        self.marks.observe(&pods, &workers, self.now);
        let choice = choose(&self.scene(&pods, &workers), &self.marks);
        self.queue.undrain(&choice.undrain).await?;
        let drained = self.queue.drain(&choice.drain, SPAN).await?;
        let held: BTreeMap<_, _> = drained.into_iter().collect();

        // What the watch has shown meanwhile counts, a pod that is not ready any more above all.
        let pods = self.pods();
        let scene = self.scene(&pods, &workers);
        let steps = conclude(&scene, &choice, &held, &self.marks, self.now);
        let lowered = self.lower(&steps, &pods).await;
        self.write_costs(&steps).await;
        Ok(Passed {
            marked: !choice.drain.is_empty()
                || !steps.set_cost.is_empty()
                || pods.iter().any(|pod| pod.cost == COST),
            moves: !choice.undrain.is_empty()
                || lowered.is_some()
                || !steps.set_cost.is_empty()
                || !steps.clear_cost.is_empty()
                || matches!(
                    steps.wait,
                    Some(Wait::Costs | Wait::Unobserved | Wait::Unseen { .. } | Wait::Leaving(_))
                ),
            wait: steps.wait,
            lowered,
        })
    }

    fn pods(&self) -> Vec<shrink::Pod> {
        let pods = self.pods.of(&self.key).into_iter();
        pods.filter(|pod| !pod.deleting).map(pod).collect()
    }

    fn scene<'a>(&self, pods: &'a [shrink::Pod], workers: &'a [shrink::Worker]) -> Scene<'a> {
        Scene {
            pods,
            workers,
            replicas: self.replicas,
            target: self.target,
            counted: self.counted,
            rolling: self.rolling,
            unobserved: self.unobserved,
        }
    }

    async fn lower(
        &mut self,
        steps: &Steps,
        pods: &[shrink::Pod],
    ) -> Option<(u32, Result<(), WriteError>)> {
        let lower = steps.lower?;
        let written = self.writes.scale(&self.key, lower).await;
        if may_be_written(&written) {
            let spared = |pod: &&shrink::Pod| lower == 0 || pod.cost == COST || !pod.ready;
            let spared = pods.iter().filter(spared);
            let spared: BTreeSet<_> = spared.map(|pod| pod.name.clone()).collect();
            self.marks.condemn(&spared, self.now);
        }
        Some((lower, written))
    }

    /// A cost that could not be written is tried again by the next pass.
    async fn write_costs(&mut self, steps: &Steps) {
        let set = steps.set_cost.iter().map(|pod| (pod, true));
        let clear = steps.clear_cost.iter().map(|pod| (pod, false));
        let writes = set.chain(clear).map(async |(pod, set)| {
            let written = self.writes.cost(&self.key.namespace, pod, set).await;
            (pod, if set { COST } else { 0 }, written)
        });
        for (pod, cost, written) in join_all(writes).await {
            if may_be_written(&written) {
                self.marks.wrote(pod, cost, self.now);
            }
            if let Err(error) = written
                && !error.is_gone()
            {
                tracing::warn!(queue = %self.key, pod, %error, "cannot write the pod's deletion cost");
            }
        }
    }
}

/// Without an answer it may have been.
fn may_be_written(written: &Result<(), WriteError>) -> bool {
    written
        .as_ref()
        .err()
        .is_none_or(|error| !error.is_certain())
}

fn pod(state: PodState) -> shrink::Pod {
    shrink::Pod {
        created: state.created,
        ready: state.ready,
        stuck: state.obstacle.is_some(),
        cost: state.deletion_cost.unwrap_or(0),
        name: state.name,
    }
}
