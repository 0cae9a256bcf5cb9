use taskqueue_e2e::{Patience, Story, eventually};

use crate::workload::Workload;

fn conflict(status: &taskqueue_api::TaskQueueStatus) -> Option<&str> {
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "QueueNameConflict")?;
    (condition.status == "True").then_some(condition.message.as_str())
}

#[tokio::test]
async fn of_two_taskqueues_with_one_queue_the_older_keeps_it() {
    let story = Story::begin("conflict").await;
    let shared = Workload {
        spec: "queueName: shared",
        ..Workload::default()
    };
    story.apply(
        &Workload {
            name: "older",
            ..shared.clone()
        }
        .native(),
    );
    story
        .status_until("older", "in place", Patience::NORMAL, |status| {
            status.queue.is_some()
        })
        .await;
    // Creation times count in seconds.
    let made = || {
        story.try_kubectl(&[
            "get",
            "tq",
            "older",
            "-o",
            "jsonpath={.metadata.creationTimestamp}",
        ])
    };
    eventually(
        "the second of the older has passed",
        Patience::NORMAL,
        async || {
            let made: jiff::Timestamp = made()?.parse().unwrap();
            if jiff::Timestamp::now().as_second() > made.as_second() {
                Ok(())
            } else {
                Err(made.to_string())
            }
        },
    )
    .await;
    story.apply(
        &Workload {
            name: "younger",
            min: 1,
            ..shared
        }
        .native(),
    );
    let status = story
        .status_until("younger", "refused", Patience::NORMAL, |status| {
            conflict(status).is_some()
        })
        .await;
    let message = conflict(&status).unwrap();
    assert!(message.contains("older"), "{message}");
    assert_eq!(story.replicas("younger").await, None, "it touches nothing");
    assert_eq!(conflict(&story.status("older").await), None);

    story.kubectl(&["delete", "tq", "older"]);
    story
        .status_until("younger", "takes over", Patience::NORMAL, |status| {
            status.ready_replicas == Some(1)
        })
        .await;
}
