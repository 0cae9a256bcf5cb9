//! `docs/bench-queue.md`: the table with what it was taken on and how to read it. Pure.

use std::fmt::Write;

use super::figures::Figures;
use super::peer::Peer;
use super::table;

/// What a run was made of.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) cores: usize,
    pub(crate) server: String,
    pub(crate) rounds: usize,
    pub(crate) tasks: usize,
    /// The peers in the table's order, with their versions.
    pub(crate) peers: Vec<(Peer, String)>,
}

const HOW_TO_READ: &str = "\
All figures are medians of the rounds of one run, on one redis-server and one machine; the peers \
take turns inside each round, so that a slow minute hits all of them. The number in brackets says \
how many times better Taskqueue is in that row: above 1 it is faster or needs less, below 1 the \
other one is. Floor and aim are computed from the same run. A floor is what a release must keep, \
an aim is what we would like; a row that says *missed* is a row where we are not there. All tasks \
carry 100 bytes of JSON and do nothing, so the figures are those of the queue alone: with real \
work in the handlers the differences shrink. Drain counts from the first completed tasks that are \
seen in Redis to the last, so nobody's start-up is in it, and completed tasks stay readable by id, \
except with bare Redis, which is no queue: it loses a task when its worker dies, and stands here as \
the speed of the wire. The harness, the peers and Redis share the machine's cores. Latency runs \
from just before the call of enqueue to the first line of the handler, by one clock. A peer that \
does not keep up with 1,000 tasks a second has a queue that grows, and its latency in that row \
tells how long the measurement was. The bytes are what Redis has allocated more than when it was \
empty, divided by the tasks. A column *before* is an earlier build of Taskqueue: its brackets have our figure divided by its, \
round by round, as the median and the interval that has the true median with 95 % (sign test). The \
worker program is the binary that images and archives have, with its \
handler `echo`, its metrics and its probes; it is started with nothing but the queue, Redis and 100 \
slots. The idle worker is what its library takes in a program that does \
nothing else; Celery's is the sum of its processes, which share some of it.";

/// The whole document.
pub(crate) fn document(figures: &Figures, run: &Run) -> String {
    let peers: Vec<Peer> = run.peers.iter().map(|(peer, _)| *peer).collect();
    let mut text = String::from("# Taskqueue beside its peers\n\n");
    text += "Written by `make bench`; do not edit.\n\n";
    let _ = writeln!(
        text,
        "{} cores, {}, {} rounds, drains of {} tasks.\n",
        run.cores, run.server, run.rounds, run.tasks
    );
    text += &table::table(figures, &peers);
    text += "\n## How to read it\n\n";
    text += HOW_TO_READ;
    text += "\n\n## The settings\n\n";
    for (peer, version) in &run.peers {
        let _ = writeln!(text, "- **{} {version}**: {}.", peer.name(), peer.setting());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_version_and_setting() {
        let run = Run {
            cores: 2,
            server: "Valkey 9.1.2".to_owned(),
            rounds: 3,
            tasks: 100_000,
            peers: vec![(Peer::Ours, "0.1.0".to_owned())],
        };
        let text = document(&Figures::default(), &run);
        assert!(text.contains("2 cores, Valkey 9.1.2, 3 rounds"));
        assert!(text.contains("**Taskqueue 0.1.0**: one worker with 100 slots"));
    }
}
