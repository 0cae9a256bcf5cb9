//! How a command ended, in words. Pure.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

/// What a shell's exit status is when SIGKILL ended what it ran.
const KILLED_BELOW: i32 = 128 + 9;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) status: ExitStatus,
    /// The kernel has killed a process for memory that may be this, or one that it started.
    pub(crate) memory: bool,
}

/// Whether this is how a command looks that SIGKILL ended, or the last thing that it ran.
pub(super) fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32) || status.code() == Some(KILLED_BELOW)
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, memory } = *self;
        match (status.code(), status.signal()) {
            (Some(code), _) => write!(f, "ended with exit status {code}")?,
            (None, Some(signal)) => write!(f, "was killed by {}", signal_name(signal))?,
            (None, None) => write!(f, "ended ({status})")?,
        }
        f.write_str(memory_words(status, memory))
    }
}

/// What the kernel's part in it was, to follow how it ended.
pub(crate) fn memory_words(status: ExitStatus, memory: bool) -> &'static str {
    match (memory, is_killed(status)) {
        (false, _) => "",
        (true, true) => ", because the container's memory limit was reached",
        (true, false) => {
            " (meanwhile the kernel killed a process, because the container's memory limit was reached)"
        }
    }
}

/// What a signal is called.
pub(crate) fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(
        |_| format!("signal {number}"),
        |signal| signal.as_str().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_the_kernel_s_part_in_it() {
        let told = |raw: i32, memory| {
            let status = ExitStatus::from_raw(raw);
            Ending { status, memory }.to_string()
        };
        assert_eq!(told(9, false), "was killed by SIGKILL");
        assert_eq!(
            told(9, true),
            "was killed by SIGKILL, because the container's memory limit was reached"
        );
        assert_eq!(
            told(137 << 8, true),
            "ended with exit status 137, because the container's memory limit was reached"
        );
        assert_eq!(told(0, false), "ended with exit status 0");
        let beside = told(1 << 8, true);
        assert!(
            beside.starts_with("ended with exit status 1 (meanwhile the kernel"),
            "{beside}"
        );
    }
}
