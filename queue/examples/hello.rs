//! Enqueues one task, runs it, and reads it back.
//!
//! `REDIS_URL=redis://127.0.0.1:7001 cargo run -p taskqueue-queue --example hello`
#![allow(clippy::print_stdout, reason = "it is a program")]

use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Client, Endpoint, NewTask, Payload, QueueName};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect(&Endpoint::parse(&std::env::var("REDIS_URL")?)?).await?;
    let queue = client.queue(QueueName::new("examples", "hello")?);
    let id = queue
        .enqueue(NewTask::new("greet", Payload::of(&"world")?))
        .await?
        .id();

    // Stops after its first task, as a signal would stop it.
    let stop = CancellationToken::new();
    let after_one = stop.clone();
    let worker = Worker::new(queue.clone(), move |task: LeasedTask| {
        let stop = after_one.clone();
        async move {
            stop.cancel();
            match task.payload.parse::<String>() {
                Ok(name) => Outcome::Completed(Payload::of(&format!("hello {name}")).ok()),
                Err(error) => Outcome::Dead {
                    error: error.to_string(),
                },
            }
        }
    });
    worker.run(stop, CancellationToken::new()).await?;
    println!("{}", serde_json::to_string_pretty(&queue.get(&id).await?)?);
    Ok(())
}
