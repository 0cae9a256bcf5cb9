//! The signals that ask a program to end. The first asks the worker to drain, the second to hand back at once.
//!
//! A container gets the `STOPSIGNAL` of its image, and a worker runs in any image: which signal that is says how *its*
//! program wants to be told, and nothing of the worker. So whatever an image may name is heard, and means the same. As
//! process 1 of its container a worker has no default action for any of them: not to hear one is to go on until SIGKILL.

use std::fs::{self, File};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use nix::sys::signal::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Those by which any program is told to end.
const ALWAYS: [Number; 2] = [Number::SIGTERM, Number::SIGINT];

/// The stop signals of images: php-fpm and nginx; shells; haproxy; init programs. Each would end the process at once if it
/// were not heard.
const OF_IMAGES: [Number; 4] = [
    Number::SIGQUIT,
    Number::SIGUSR1,
    Number::SIGUSR2,
    Number::SIGPWR,
];

/// What images with systemd name, `SIGRTMIN+3`: 37 for whoever sends it, whatever this program's C library makes of
/// `SIGRTMIN`.
const OF_SYSTEMD: i32 = 37;

/// The signals, caught from the moment this exists: before that they end the process.
pub struct Signals(Vec<(String, Signal)>);

impl Signals {
    /// Starts to catch the signals.
    pub fn catch() -> io::Result<Self> {
        let hangup_is_ignored = is_ignored(Number::SIGHUP);
        let mut caught = Vec::new();
        for number in ALWAYS {
            let kind = SignalKind::from_raw(number as i32);
            caught.push((number.to_string(), signal(kind)?));
        }
        let mut others: Vec<_> = OF_IMAGES
            .iter()
            .map(|number| (number.to_string(), *number as i32))
            .collect();
        others.push(("SIGRTMIN+3".to_owned(), OF_SYSTEMD));
        // What nohup keeps from a program stays away from it.
        if !hangup_is_ignored {
            others.push((Number::SIGHUP.to_string(), Number::SIGHUP as i32));
        }
        // The stop signal of httpd. A terminal sends it when its size changes; without one it can only mean this.
        if !has_terminal() {
            others.push((Number::SIGWINCH.to_string(), Number::SIGWINCH as i32));
        }
        for (name, number) in others {
            match signal(SignalKind::from_raw(number)) {
                Ok(signal) => caught.push((name, signal)),
                // A sandbox may not know it, and then nobody can send it.
                Err(error) => tracing::debug!(name, %error, "a signal cannot be caught"),
            }
        }
        Ok(Self(caught))
    }

    /// Cancels `stop` at the first signal and `abort` at the second.
    pub async fn watch(mut self, stop: CancellationToken, abort: CancellationToken) {
        let signal = self.next().await;
        // Whatever becomes of the line.
        stop.cancel();
        tracing::info!(signal, "told to stop: draining");
        let signal = self.next().await;
        abort.cancel();
        tracing::warn!(signal, "told to stop again: handing running tasks back");
    }

    /// The name of the next of them to come.
    pub async fn next(&mut self) -> String {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<String> {
        let mut signals = self.0.iter_mut();
        signals
            .find_map(|(name, signal)| signal.poll_recv(context).is_ready().then(|| name.clone()))
            .map_or(Poll::Pending, Poll::Ready)
    }
}

/// Whether this process was started with the signal ignored.
fn is_ignored(number: Number) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, number)
}

fn ignores(status: &str, number: Number) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (number as i32 - 1)) != 0)
}

/// Whether this process belongs to a terminal.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_from_the_start_is_seen() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, Number::SIGHUP) && ignores(status, Number::SIGPIPE));
        assert!(!ignores(status, Number::SIGTERM) && !ignores("", Number::SIGHUP));
    }
}
