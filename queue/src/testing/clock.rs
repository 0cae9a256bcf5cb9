//! A time of day that a server sees and that a test moves, by a library that is preloaded into it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// By how many seconds the time is moved: a number of this machine, in 8 bytes.
const MOVED_BY: &str = "moved-by";
const LIBRARY: &str = "clock.so";
/// Longest time until a server goes by a clock that was moved.
const PATIENCE: Duration = Duration::from_mins(1);

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

/// Moves the clock.
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

/// Waits until the server at this port says a time that is this many seconds away from the machine's.
pub(super) fn wait(port: u16, seconds: i64) {
    let mut server = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let begun = Instant::now();
    loop {
        server.get_mut().write_all(b"*1\r\n$4\r\nTIME\r\n").unwrap();
        // A list of two: the length of the seconds, the seconds, and the same of the microseconds.
        let mut lines = [(); 5].map(|()| String::new());
        for line in &mut lines {
            server.read_line(line).unwrap();
        }
        let said: i64 = lines[2].trim().parse().unwrap();
        let expected = jiff::Timestamp::now().as_second() + seconds;
        if (said - expected).abs() <= 1 {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "it says {said} instead of {expected}"
        );
    }
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
