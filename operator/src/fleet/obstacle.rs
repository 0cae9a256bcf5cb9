//! What keeps worker pods from working, in their own words. Pure.
//!
//! Only what does not pass by itself in the ordinary course of a start: a pod that pulls its image or
//! waits for its volume has no obstacle.

use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, PodStatus,
};

use super::state::{PodState, condition};

/// Most bytes of a message, which goes into a condition and an Event.
const MOST: usize = 512;

/// What keeps a pod from working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The reason in a word. It does not change from one try to the next.
    pub reason: &'static str,
    /// What Kubernetes says of it.
    pub message: String,
    /// The message tells the cause, and not only that there will be another try.
    root: bool,
}

impl Obstacle {
    fn new(reason: &'static str, root: bool, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MOST {
            message.truncate(message.floor_char_boundary(MOST));
            message.push('…');
        }
        Self {
            reason,
            message,
            root,
        }
    }

    /// This obstacle after that one was seen on the same pod: a pod that tries again says by turns
    /// what went wrong and that it waits, and the former is worth keeping.
    pub(super) fn after(self, before: Option<&Self>) -> Self {
        match before {
            Some(before) if before.reason == self.reason && before.root && !self.root => {
                before.clone()
            }
            _ => self,
        }
    }
}

/// What keeps this pod from working; `worker` is the name of the container that the worker runs in.
/// What its own container says comes first, also before that of one which admission put in.
pub(super) fn of_pod(status: &PodStatus, worker: Option<&str>) -> Option<Obstacle> {
    unscheduled(status).or_else(|| {
        let own = |container: &&ContainerStatus| Some(container.name.as_str()) == worker;
        let all = || status.container_statuses.iter().flatten();
        let init = status.init_container_statuses.iter().flatten();
        let mut containers = all().filter(own).chain(init).chain(all());
        containers.find_map(of_container)
    })
}

/// What keeps the pods of a fleet from working, as reason and message: nothing that is being deleted
/// counts. An obstacle before the start (no place, no image, no configuration) would be that of
/// every further pod too, so one pod is enough; pods that start and fall may be a few unlucky ones,
/// so that it takes half of the fleet.
pub(super) fn of_fleet<'a>(
    pods: impl Iterator<Item = &'a PodState> + Clone,
) -> Option<(String, String)> {
    let pods = pods.filter(|pod| pod.takes_part());
    let stuck = |pod: &'a PodState| pod.obstacle.as_ref().map(|obstacle| (pod, obstacle));
    let falls = |obstacle: &Obstacle| obstacle.reason == CRASH_LOOP;
    let falling = pods.clone().filter_map(stuck);
    let falling = falling.filter(|(_, obstacle)| falls(obstacle)).count();
    let half_falls = falling * 2 >= pods.clone().count();
    let (pod, obstacle) = pods
        .filter_map(stuck)
        .filter(|(_, obstacle)| half_falls || !falls(obstacle))
        // The oldest tells, so that the message does not change with every pod that joins it.
        .min_by_key(|(pod, _)| (pod.created, &pod.name))?;
    let message = format!("pod {}: {}", pod.name, obstacle.message);
    Some((obstacle.reason.to_owned(), message))
}

const CRASH_LOOP: &str = "CrashLoopBackOff";

fn unscheduled(status: &PodStatus) -> Option<Obstacle> {
    let scheduled = condition(status, "PodScheduled").filter(|it| it.status == "False")?;
    let reason = match scheduled.reason.as_deref() {
        Some("SchedulingGated") => "SchedulingGated",
        Some("Unschedulable") => "Unschedulable",
        // The scheduler itself failed and tries again.
        _ => return None,
    };
    let message = scheduled.message.clone().unwrap_or_default();
    Some(Obstacle::new(reason, true, message))
}

fn of_container(container: &ContainerStatus) -> Option<Obstacle> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let (reason, root) = match waiting.and_then(|waiting| waiting.reason.as_deref()) {
        Some(CRASH_LOOP) => return Some(falling(container)),
        // It has fallen more than once, and has not stood since.
        None if !container.ready && container.restart_count > 1 && has_failed(container) => {
            return Some(falling(container));
        }
        Some("ErrImagePull") => ("ImagePullBackOff", true),
        Some("ImagePullBackOff") => ("ImagePullBackOff", false),
        Some("InvalidImageName") => ("InvalidImageName", true),
        Some("ErrImageNeverPull") => ("ErrImageNeverPull", true),
        Some("ImageInspectError") => ("ImageInspectError", true),
        Some("CreateContainerConfigError") => ("CreateContainerConfigError", true),
        Some("CreateContainerError") => ("CreateContainerError", true),
        Some("RunContainerError") => ("RunContainerError", true),
        _ => return None,
    };
    let message = waiting
        .and_then(|ContainerStateWaiting { message, .. }| message.as_deref())
        .unwrap_or(reason);
    let message = format!("container {}: {message}", container.name);
    Some(Obstacle::new(reason, root, message))
}

/// Kubernetes' own message counts the time to the next try and tells nothing of the fall, so the end
/// of the last run is told instead.
fn falling(container: &ContainerStatus) -> Obstacle {
    let name = &container.name;
    let message = match last_end(container) {
        None => format!("container {name} ends again and again"),
        Some(end) => {
            let reason = end.reason.as_deref().unwrap_or("Error");
            let said = end.message.as_deref().map(str::trim).unwrap_or_default();
            let separator = if said.is_empty() { "" } else { ": " };
            format!(
                "container {name} ends again and again, last with exit code {} ({reason}){separator}{said}",
                end.exit_code
            )
        }
    };
    Obstacle::new(CRASH_LOOP, true, message)
}

fn has_failed(container: &ContainerStatus) -> bool {
    last_end(container).is_some_and(|end| end.exit_code != 0)
}

fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let mut states = states.into_iter().flatten();
    states.find_map(|state| state.terminated.as_ref())
}
