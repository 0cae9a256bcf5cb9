//! A child process to kill: this test binary run again, told by its environment which part to play.
//! It goes when its standard input closes, and so never outlives the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use taskqueue_queue::{Client, Endpoint, Queue};
use tokio_util::sync::CancellationToken;

use super::{name, producer, workers};

const PART: &str = "CRASH_PART";
const REDIS: &str = "CRASH_REDIS";
const EFFECTS: &str = "CRASH_EFFECTS";

/// What a child process is to be.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Worker,
    /// Of slices.
    Producer,
    /// Of whole batches.
    BatchProducer,
}

/// A child process. Killed when this is dropped.
pub(crate) struct Actor(Child);

impl Actor {
    pub(crate) fn start(part: Part, redis: &str, effects: &str) -> Self {
        let part = match part {
            Part::Worker => "worker",
            Part::Producer => "producer",
            Part::BatchProducer => "batch producer",
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::actor::a_process_plays_its_part"])
            .args(["--ignored", "--nocapture", "--test-threads", "1"])
            .env(PART, part)
            .env(REDIS, redis)
            .env(EFFECTS, effects)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// The lines that it prints, to their end; can be had once.
    pub(crate) fn lines(&mut self) -> impl Iterator<Item = String> + Send + 'static {
        let output = BufReader::new(self.0.stdout.take().unwrap());
        output.lines().map_while(Result::ok)
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Closes its standard input, which tells it to stop, and waits for its end.
    pub(crate) fn stop(mut self) {
        drop(self.0.stdin.take());
        // Whoever prints into a pipe that nobody reads would never end.
        let mut rest = String::new();
        if let Some(mut output) = self.0.stdout.take() {
            output.read_to_string(&mut rest).unwrap();
        }
        assert!(self.0.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a child process knows of the test.
pub(crate) struct Stage {
    pub(crate) queue: Queue,
    /// A connection for what the part does outside of the queue.
    pub(crate) effects: redis::aio::MultiplexedConnection,
    /// Cancelled when the test wants it to end.
    pub(crate) stop: CancellationToken,
}

#[test]
#[ignore = "the part of the child processes, which the other tests start"]
fn a_process_plays_its_part() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stage = Stage::enter().await;
        match part.as_str() {
            "worker" => workers::play(stage).await,
            "producer" => producer::play(stage, false).await,
            "batch producer" => producer::play(stage, true).await,
            other => panic!("no part {other}"),
        }
    });
}

/// A connection that waits as long as a busy machine needs.
pub(crate) async fn effects(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&patient);
    connection.await.unwrap()
}

impl Stage {
    async fn enter() -> Self {
        let of = |variable| std::env::var(variable).unwrap();
        let endpoint = Endpoint::parse(&of(REDIS)).unwrap();
        let client = Client::connect(&endpoint).await.unwrap();
        let effects = effects(&of(EFFECTS)).await;
        let stop = CancellationToken::new();
        let closed = stop.clone();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            closed.cancel();
        });
        Self {
            queue: client.queue(name()),
            effects,
            stop,
        }
    }
}
