//! A stdio handler in Python, whose task is a few lines of a test.

use serde_json::json;

/// A child that runs `on_task` for each task, in a thread of its own. It has `task` and its `id`; `say` writes a message,
/// `out` a line as it stands; `begun` marks that the task has begun, and `wait` waits until a task of some type has.
/// `start` runs before the child says that it is ready.
pub(crate) fn child_with(start: &str, on_task: &str) -> String {
    let body = format!("    {}", on_task.replace('\n', "\n    "));
    let script = format!(
        r#"
import json, os, signal, subprocess, sys, threading, time
lock = threading.Lock()
changed = threading.Condition()
cancelled = set()
met = set()
def out(line):
    with lock:
        sys.stdout.buffer.write(line if isinstance(line, bytes) else line.encode())
        sys.stdout.buffer.write(b"\n")
        sys.stdout.flush()
def say(**message):
    out(json.dumps(message))
def begun(kind):
    with changed:
        met.add(kind)
        changed.notify_all()
def wait(kind):
    with changed:
        changed.wait_for(lambda: kind in met)
def on_task(task):
    id = task["id"]
{body}
{start}
say(ready={{}})
for line in sys.stdin:
    message = json.loads(line)
    if "task" in message:
        threading.Thread(target=on_task, args=[message["task"]], daemon=True).start()
    else:
        cancelled.add(message["cancel"]["id"])
"#
    );
    python(&script)
}

/// The same without a beginning of its own.
pub(crate) fn child(on_task: &str) -> String {
    child_with("", on_task)
}

/// The configuration of a child that is this script.
pub(crate) fn python(script: &str) -> String {
    json!({ "stdio": { "command": ["python3", "-c", script] } }).to_string()
}
