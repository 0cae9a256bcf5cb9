//! The example as a user runs it.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::{NewTask, Payload, QueueName, State};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_example_in_rust_counts_words() {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let queue = client.queue(QueueName::new("examples", "words").expect("a name"));
    let _worker = Command::new(env!("CARGO_BIN_EXE_taskqueue-example"))
        .env("TASKQUEUE_QUEUE", "examples/words")
        .env("TASKQUEUE_REDIS_URL", redis.url())
        .env("TASKQUEUE_HANDLER", r#"{"native":{}}"#)
        .env("TASKQUEUE_HTTP_ADDRESS", "127.0.0.1:0")
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let payload = Payload::of(&["to be", "or not to be"]).expect("a payload");
    let task = NewTask::new("count-words", payload);
    let id = queue.enqueue(task).await.expect("it is enqueued").id();
    let task = eventually(PATIENCE, "the task ends", || async {
        let task = queue.get(&id).await.ok()??;
        task.finished.is_some().then_some(task)
    })
    .await;
    assert_eq!(task.state, State::Completed, "{:?}", task.errors);
    let result = task.result.expect("a result");
    assert_eq!(result.as_bytes(), br#"{"be":2,"not":1,"or":1,"to":2}"#);
}
