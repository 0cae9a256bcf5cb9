//! Programs as a user calls them.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// Runs `kubectl` and returns what it printed. Panics with its error when it fails.
pub fn kubectl(arguments: &[&str], input: &str) -> String {
    let output = run("kubectl", arguments, input);
    assert!(
        output.status.success(),
        "kubectl {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    text(&output.stdout)
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
    let mut all = vec!["--redis", redis];
    all.extend(arguments);
    let output = run(&program, &all, input);
    assert!(
        output.status.success(),
        "tq {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs `redis-cli` on the Redis at this URL and returns what it printed.
pub fn redis_cli(redis: &str, arguments: &[&str]) -> String {
    let mut all = vec!["-u", redis];
    all.extend(arguments);
    let output = run("redis-cli", &all, "");
    assert!(
        output.status.success(),
        "redis-cli {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    text(&output.stdout)
}

fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
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
