use taskqueue_e2e::{Patience, Story, eventually};
use taskqueue_queue::State;

use crate::workload::Workload;

fn patch(story: &Story, spec: &str) {
    let patch = format!(r#"{{"spec":{spec}}}"#);
    story.kubectl(&["patch", "tq", "work", "--type=merge", "-p", &patch]);
}

async fn uid(story: &Story) -> String {
    eventually("one worker", Patience::NORMAL, async || {
        let pods = story.pods("work").await;
        match pods.as_slice() {
            [pod] => Ok(pod.metadata.uid.clone().unwrap()),
            pods => Err(pods.len()),
        }
    })
    .await
}

#[tokio::test]
async fn a_policy_edit_takes_effect_without_a_restart_of_the_worker() {
    let story = Story::begin("policy").await;
    story.apply(
        &Workload {
            min: 1,
            max: 1,
            ..Workload::default()
        }
        .native(),
    );
    story.enqueue("work", 1, "echo", "1").await;
    story.drained("work", 1, Patience::NORMAL).await;
    let before = uid(&story).await;

    patch(&story, r#"{"paused": true}"#);
    story
        .status_until("work", "paused", Patience::NORMAL, |status| {
            status
                .conditions
                .iter()
                .any(|c| c.type_ == "Paused" && c.status == "True")
        })
        .await;
    eventually("the pause is in Redis", Patience::NORMAL, async || {
        let policy = story.queue("work").policy().await;
        let policy = policy.map_err(|error| error.to_string())?;
        if policy.value.paused {
            Ok(())
        } else {
            Err(format!("{policy:?}"))
        }
    })
    .await;
    story.enqueue("work", 3, "echo", "1").await;
    story
        .status_until("work", "three wait", Patience::NORMAL, |status| {
            status
                .depth
                .as_ref()
                .is_some_and(|depth| depth.waiting == 3)
        })
        .await;
    assert_eq!(story.snapshot("work").await.unwrap().counters.completed, 1);
    patch(&story, r#"{"paused": false}"#);
    story.drained("work", 4, Patience::NORMAL).await;

    patch(
        &story,
        r#"{"timeout": "500ms", "retry": {"maxAttempts": 1}}"#,
    );
    eventually("the timeout is in Redis", Patience::NORMAL, async || {
        let policy = story.queue("work").policy().await;
        let policy = policy.map_err(|error| error.to_string())?;
        if policy.value.retry.max_attempts == 1 {
            Ok(())
        } else {
            Err(format!("{policy:?}"))
        }
    })
    .await;
    let ids = story.enqueue("work", 1, "sleep", r#"{"ms": 60000}"#).await;
    let task = eventually("a timeout", Patience::NORMAL, async || {
        let task = story.task("work", &ids[0]).await;
        if task.state == State::Dead {
            Ok(task)
        } else {
            Err(task)
        }
    })
    .await;
    assert_eq!(task.attempts, 1);
    assert_eq!(uid(&story).await, before, "the worker was not restarted");
}
