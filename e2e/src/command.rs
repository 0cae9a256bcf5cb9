//! Programs as a user calls them.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// Runs `kubectl` and returns what it printed. Panics with its error when it fails.
pub fn kubectl(arguments: &[&str], input: &str) -> String {
    succeeds(try_kubectl(arguments, input))
}

/// Runs `kubectl` and returns what it printed, or its error: for looks at a condition that is awaited,
/// of which one may fail (a container that has no log yet, an object that is not there yet).
pub fn try_kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    outcome("kubectl", arguments, input)
}

/// Runs `kubectl`, which must fail, and returns its error.
pub fn kubectl_fails(arguments: &[&str], input: &str) -> String {
    let output = run("kubectl", arguments, input);
    assert!(
        !output.status.success(),
        "kubectl {} should have failed but printed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout)
    );
    text(&output.stderr)
}

/// Runs the `tq` that the variable TQ names and returns what it printed.
pub fn tq(redis: &str, arguments: &[&str], input: &str) -> String {
    let program = std::env::var("TQ").expect("TQ must name the tq binary: run make test-cluster");
    let output = run_with(
        &program,
        &[("TASKQUEUE_REDIS_URL", redis)],
        arguments,
        input,
    );
    succeeds(judged(&program, arguments, &output))
}

/// Runs `redis-cli` on the Redis at this URL and returns what it printed. Panics with its error when
/// it fails.
pub fn redis_cli(redis: &str, arguments: &[&str]) -> String {
    succeeds(try_redis_cli(redis, arguments))
}

/// Runs `redis-cli` on the Redis at this URL and returns what it printed, or its error.
pub fn try_redis_cli(redis: &str, arguments: &[&str]) -> Result<String, String> {
    let mut all = vec!["-u", redis];
    all.extend(arguments);
    outcome("redis-cli", &all, "")
}

fn succeeds(outcome: Result<String, String>) -> String {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// What the program printed, or that it failed, with its error.
fn outcome(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    judged(program, arguments, &run(program, arguments, input))
}

fn judged(program: &str, arguments: &[&str], output: &Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    let arguments = arguments.join(" ");
    Err(format!(
        "{name} {arguments} failed: {}",
        text(&output.stderr)
    ))
}

fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    run_with(program, &[], arguments, input)
}

fn run_with(program: &str, variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let input = input.to_owned();
    let writing = std::thread::spawn(move || {
        // A program that does not read its input to the end is no failure of the story.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child
        .wait_with_output()
        .expect("the program can be awaited");
    writing.join().expect("the input was written");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
