//! A time of day that a server sees and that a test moves, by a library that is preloaded into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// By how many seconds the time is moved: a number of this machine, in 8 bytes.
const MOVED_BY: &str = "moved-by";
const LIBRARY: &str = "clock.so";

/// Makes the library in a directory, with a clock that is not moved yet.
pub(super) fn make(directory: &Path) {
    let source = directory.join("clock.c");
    fs::write(&source, include_str!("clock.c")).unwrap();
    set(directory, 0);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    compiler.arg(directory.join(LIBRARY)).arg(&source);
    let made = compiler.status();
    let made = made.unwrap_or_else(|fault| {
        panic!("cc cannot be run ({fault}): install the Debian packages gcc and libc6-dev")
    });
    assert!(made.success(), "cc failed");
}

/// Moves the clock, of which the server sees at once.
pub(super) fn set(directory: &Path, seconds: i64) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(MOVED_BY))
        .unwrap();
    file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
}

/// What a server must have in its environment to see it; nothing if there is none.
pub(super) fn environment(directory: &Path) -> Vec<(&'static str, PathBuf)> {
    let library = directory.join(LIBRARY);
    if !library.exists() {
        return Vec::new();
    }
    vec![
        ("LD_PRELOAD", library),
        ("CLOCK_MOVED_BY", directory.join(MOVED_BY)),
    ]
}
