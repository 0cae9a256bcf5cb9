use taskqueue_e2e::{Patience, Story, eventually};
use taskqueue_queue::{Payload, State};

use crate::workload::Workload;

#[tokio::test]
async fn a_failing_task_goes_through_its_retries_to_the_dead_letters_and_back() {
    let story = Story::begin("retry").await;
    let workload = Workload {
        min: 1,
        max: 1,
        spec: "retry: {maxAttempts: 3, backoff: {type: Linear, initial: 1s, max: 1m, jitter: 0}}",
        ..Workload::default()
    };
    story.apply(&workload.shell("cat; test -e /tmp/mended || { echo not mended >&2; exit 1; }"));
    let id = story.tq(&["enqueue", "work", "check", "--payload", "[1]"], "");
    let id = id.trim().parse().unwrap();
    let dead = eventually("a dead letter", Patience::NORMAL, async || {
        let task = story.task("work", &id).await;
        if task.state == State::Dead {
            Ok(task)
        } else {
            Err(task)
        }
    })
    .await;
    assert_eq!(dead.attempts, 3);
    let times: Vec<_> = dead.errors.iter().map(|failure| failure.at).collect();
    assert!(
        dead.errors[2].message.contains("not mended"),
        "{:?}",
        dead.errors
    );
    let waits: Vec<_> = times
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]).as_secs_f64())
        .collect();
    assert!(
        (1.0..2.0).contains(&waits[0]),
        "declared 1 s, waited {waits:?}"
    );
    assert!(
        (2.0..3.0).contains(&waits[1]),
        "declared 2 s, waited {waits:?}"
    );

    let listed = story.tq(&["dead", "list", "work"], "");
    assert!(listed.contains(&id.to_string()), "{listed}");
    let pod = story.pods("work").await[0].metadata.name.clone().unwrap();
    story.kubectl(&["exec", &pod, "--", "touch", "/tmp/mended"]);
    story.tq(&["dead", "retry", "work", &id.to_string()], "");
    story.drained("work", 1, Patience::NORMAL).await;
    let task = story.task("work", &id).await;
    assert_eq!(task.state, State::Completed);
    assert_eq!(
        task.result.as_ref().map(Payload::as_bytes),
        Some(&b"[1]"[..])
    );
}
