//! Handlers in other languages, in real pods that are deleted at random: nothing is lost, and what was done twice is
//! recorded as lost once.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use taskqueue_e2e::{Patience, Story};
use tokio::time::{Instant, sleep};

/// Tasks of each handler; `HANDLER_TASKS` sets another number.
const TASKS: usize = 1_500;
/// Time between two deletions.
const EVERY: Duration = Duration::from_secs(1);
/// One of so many deletions is without any grace.
const FORCED: u32 = 3;

/// What a handler in the cluster needs.
struct Case {
    name: &'static str,
    handler: &'static str,
    image: &'static str,
    command: &'static str,
}

impl Case {
    fn manifest(&self, effects: &str) -> String {
        let Self {
            name: _,
            handler,
            image,
            command,
        } = self;
        format!(
            "apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {{name: work}}
spec:
  retention: {{completed: {{maxCount: 20000, maxAge: 1h}}}}
  worker:
    concurrency: 8
    drainTimeout: 20s
    handler: {handler}
    template:
      spec:
        containers:
          - name: app
            image: {image}
            imagePullPolicy: IfNotPresent
            {command}
            volumeMounts:
              - {{name: code, mountPath: /code}}
              - {{name: effects, mountPath: /effects}}
        volumes:
          - name: code
            configMap: {{name: code, defaultMode: 0755}}
          - name: effects
            hostPath: {{path: {effects}, type: Directory}}
  scaling:
    minReplicas: 3
    maxReplicas: 3
    target: {{backlogPerReplica: 1000}}
"
        )
    }
}

/// Where the pods keep account, on the node, which is this machine.
struct Effects(PathBuf);

impl Effects {
    fn new(story: &Story) -> Self {
        let folder = std::env::temp_dir().join(format!("taskqueue-effects-{}", story.namespace));
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("for all");
        Self(folder)
    }

    /// How often each task had its effect.
    fn count(&self) -> HashMap<String, u32> {
        let mut counts = HashMap::new();
        for account in fs::read_dir(&self.0).expect("the folder").flatten() {
            let text = fs::read_to_string(account.path()).expect("an account");
            for id in text.lines() {
                *counts.entry(id.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[allow(clippy::print_stdout, reason = "the figures are of interest")]
async fn survives_deletions(case: Case) {
    let tasks =
        std::env::var("HANDLER_TASKS").map_or(TASKS, |tasks| tasks.parse().expect("a number"));
    let story = Story::begin(case.name).await;
    let effects = Effects::new(&story);
    let code = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stories/handlers");
    story.kubectl(&["create", "configmap", "code", "--from-file", code]);
    story.apply(&case.manifest(effects.0.to_str().expect("a path in UTF-8")));
    story
        .status_until(
            "work",
            "three workers are ready",
            Patience::LONG,
            |status| status.ready_replicas == Some(3),
        )
        .await;
    let begun = Instant::now();
    let ids = story.enqueue("work", tasks, "any", r#"{"a": 1}"#).await;
    let (mut deleted, mut forced) = (0, 0);
    while done(&story).await < tasks as u64 {
        assert!(
            begun.elapsed() < Duration::from_mins(8),
            "{:?}",
            story.snapshot("work").await
        );
        sleep(EVERY).await;
        let pods = story.pods("work").await;
        let chance = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let chance = chance.expect("it is later than 1970").subsec_micros();
        let Some(pod) = pods.get(chance as usize % pods.len().max(1)) else {
            continue;
        };
        let name = pod.metadata.name.clone().expect("a name");
        let mut delete = vec!["delete", "pod", &name, "--wait=false", "--ignore-not-found"];
        if chance.is_multiple_of(FORCED) {
            delete.extend(["--grace-period=0", "--force"]);
            forced += 1;
        }
        story.kubectl(&delete);
        deleted += 1;
    }
    let took = begun.elapsed();
    let snapshot = story.drained("work", tasks as u64, Patience::LONG).await;
    let counters = snapshot.counters;
    assert_eq!((counters.failed, counters.dead), (0, 0), "{counters:?}");
    let counts = effects.count();
    let (mut twice, mut unexplained) = (0, Vec::new());
    for id in &ids {
        let times = counts.get(id.as_str()).copied().unwrap_or(0);
        assert!(times >= 1, "{id} is completed and had no effect");
        if times > 1 {
            twice += 1;
            let losses = story.task("work", id).await.losses;
            if times > losses + 1 {
                unexplained.push((id, times, losses));
            }
        }
    }
    println!(
        "{}: {} tasks in {:.1} s, {deleted} pods deleted, {forced} of them without grace, {} leases lost, {twice} effects twice, {} handed back",
        case.name,
        tasks,
        took.as_secs_f64(),
        counters.lost,
        counters.released,
    );
    assert!(
        unexplained.is_empty(),
        "done more often than lost: {unexplained:?}"
    );
    assert!(deleted >= 1, "no pod was deleted");
}

async fn done(story: &Story) -> u64 {
    let snapshot = story.snapshot("work").await;
    snapshot.map_or(0, |snapshot| snapshot.counters.completed)
}

#[tokio::test]
async fn a_python_service_by_http_survives_the_deletion_of_its_pods() {
    survives_deletions(Case {
        name: "python",
        handler: "{http: {port: 8080, path: /tasks}}",
        image: "localhost/taskqueue/peers:dev",
        command: "command: [python3, /code/service.py]",
    })
    .await;
}

#[tokio::test]
async fn a_node_program_by_stdio_survives_the_deletion_of_its_pods() {
    survives_deletions(Case {
        name: "node",
        handler: "{stdio: {command: [node, /code/worker.js]}}",
        image: "localhost/taskqueue/peers:dev",
        command: "resources: {}",
    })
    .await;
}

#[tokio::test]
async fn a_shell_script_by_exec_survives_the_deletion_of_its_pods() {
    survives_deletions(Case {
        name: "shell",
        handler: "{exec: {command: [/code/task.sh]}}",
        image: "localhost/taskqueue/busybox:dev",
        command: "resources: {}",
    })
    .await;
}

/// Does what the head of an example says, with the image that is on this machine.
async fn counts_words(example: &str, name: &str, code: &str, image: &str) {
    let story = Story::begin(example).await;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let code = format!("--from-file={examples}/workers/{code}");
    story.kubectl(&["create", "configmap", name, &code]);
    let manifest = fs::read_to_string(format!("{examples}/{example}.yaml")).expect("the example");
    assert!(manifest.contains(image), "{manifest}");
    story.apply(&manifest.replace(image, "localhost/taskqueue/peers:dev"));
    let texts = r#"["to be", "or not to be"]"#;
    let id = story.enqueue(name, 1, "count-words", texts).await[0];
    story.drained(name, 1, Patience::LONG).await;
    let told = story.tq(&["get", name, id.as_str(), "-o", "json"], "");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["result"]["to"], 2, "{told}");
}

#[tokio::test]
async fn the_example_of_a_service_counts_words() {
    counts_words(
        "service",
        "words-service",
        "python/service.py",
        "python:3.13-alpine",
    )
    .await;
}

#[tokio::test]
async fn the_example_of_a_process_counts_words() {
    counts_words(
        "process",
        "words-process",
        "node/worker.js",
        "node:24-alpine",
    )
    .await;
}
