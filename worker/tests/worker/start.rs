//! How the program starts, or says why it does not.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::process::PROGRAM;

const COMPLETE: [(&str, &str); 3] = [
    ("TASKQUEUE_QUEUE", "test/work"),
    ("TASKQUEUE_REDIS_URL", "redis://127.0.0.1:1"),
    ("TASKQUEUE_HANDLER", r#"{"native":{}}"#),
];

fn start(changes: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(COMPLETE)
        .envs(changes.iter().copied());
    ended(&command.output().expect("the program runs"))
}

fn ended(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn without_configuration_it_exits_2_and_names_the_first_missing_variable() {
    let output = Command::new(PROGRAM)
        .env_clear()
        .output()
        .expect("the program runs");
    let (code, message) = ended(&output);
    assert_eq!(code, Some(2));
    assert!(
        message.contains(
            "TASKQUEUE_QUEUE is not set: set it to the queue to consume as namespace/name"
        ),
        "{message}"
    );
}

#[test]
fn a_bad_variable_exits_2_with_its_name_value_and_fix() {
    for (variable, value) in [
        ("TASKQUEUE_QUEUE", "work"),
        ("TASKQUEUE_CONCURRENCY", "1001"),
        ("TASKQUEUE_HANDLER", "cat"),
        ("TASKQUEUE_DRAIN_TIMEOUT", "soon"),
        ("TASKQUEUE_HTTP_ADDRESS", "here"),
        ("TASKQUEUE_LOG_FORMAT", "xml"),
    ] {
        let (code, message) = start(&[(variable, value)]);
        assert_eq!(code, Some(2), "{message}");
        assert!(
            message.contains(&format!("{variable} is {value:?}: ")),
            "{message}"
        );
        assert!(message.contains("; set it to "), "{message}");
    }
}

#[test]
fn a_bad_redis_url_exits_2_without_showing_the_password() {
    let (code, message) = start(&[("TASKQUEUE_REDIS_URL", "http://:hunter2@redis")]);
    assert_eq!(code, Some(2));
    assert!(message.contains("TASKQUEUE_REDIS_URL"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_command_that_is_nowhere_exits_2_and_names_it_and_the_path() {
    let (code, message) = start(&[(
        "TASKQUEUE_HANDLER",
        r#"{"exec":{"command":["resize-images"]}}"#,
    )]);
    assert_eq!(code, Some(2));
    assert!(message.contains("resize-images"), "{message}");
    assert!(message.contains("/usr/bin:/bin"), "{message}");
}

#[test]
fn an_address_in_use_exits_1_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, message) = start(&[("TASKQUEUE_HTTP_ADDRESS", &address)]);
    assert_eq!(code, Some(1));
    assert!(
        message.contains(&format!("cannot listen on {address}")),
        "{message}"
    );
}

#[test]
fn it_installs_itself_as_a_file_and_into_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    for (destination, copy) in [("bin", "bin"), (".", "taskqueue-worker")] {
        let status = Command::new(PROGRAM)
            .arg("install")
            .arg(folder.path().join(destination))
            .status();
        assert!(status.expect("the program runs").success());
        let copy = folder.path().join(copy);
        assert_eq!(
            copy.metadata()
                .expect("the copy is there")
                .permissions()
                .mode()
                & 0o7777,
            0o755
        );
        let version = Command::new(&copy)
            .arg("--version")
            .output()
            .expect("the copy runs");
        assert!(String::from_utf8_lossy(&version.stdout).starts_with("taskqueue-worker "));
    }
    assert_eq!(
        folder
            .path()
            .read_dir()
            .expect("the folder is there")
            .count(),
        2,
        "no draft is left"
    );
}

#[test]
fn an_install_that_fails_names_its_destination_and_leaves_nothing() {
    let output = Command::new(PROGRAM)
        .args(["install", "/no/such/folder/bin"])
        .output()
        .expect("the program runs");
    let (code, message) = ended(&output);
    assert_eq!(code, Some(1));
    assert!(
        message.contains("cannot install to /no/such/folder/bin: "),
        "{message}"
    );
}
