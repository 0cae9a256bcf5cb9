//! Tasks from enqueue to ack, against a real redis-server.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{NewTask, Payload, State};

use crate::testbed::{Running, queue};

#[tokio::test]
async fn a_task_is_enqueued_run_and_can_be_read_with_its_result() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let id = queue
        .enqueue(NewTask::new("greet", Payload::of("world").unwrap()))
        .await
        .unwrap()
        .id();
    assert_eq!(queue.get(&id).await.unwrap().unwrap().state, State::Waiting);

    let worker = Running::start(Worker::new(queue.clone(), |task: LeasedTask| async move {
        let name: String = task.payload.parse().unwrap();
        Outcome::Completed(Some(Payload::of(&format!("hello {name}")).unwrap()))
    }));
    let done = eventually(Duration::from_secs(5), "completed", async || {
        queue
            .get(&id)
            .await
            .unwrap()
            .filter(|task| task.state == State::Completed)
    })
    .await;
    assert_eq!(done.result.unwrap().as_bytes(), br#""hello world""#);
    assert_eq!(done.payload.unwrap().as_bytes(), br#""world""#);
    let report = worker.stop().await;
    assert_eq!(
        (report.completed, report.lost, report.undelivered),
        (1, 0, 0)
    );
}
