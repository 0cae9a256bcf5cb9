//! The log: lines on standard error, JSON or text. `RUST_LOG` narrows or widens it.
//!
//! A line that cannot be written is lost and counted; it never holds up or breaks whoever logs (`lines`).

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic;
use std::sync::{LazyLock, OnceLock};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use lines::Lines;

/// How long the end of a program waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Lines that were not written.
static LOST: LazyLock<Counter> = LazyLock::new(Counter::default);

/// The log of this process, once it has begun.
static LOG: OnceLock<Lines> = OnceLock::new();

/// Sends all further events of this process to standard error: those that `RUST_LOG` names or, where it is not set, those
/// of `usual`, which is written in the same way (`info`). Called once; a second call changes nothing, and nor does a first
/// one if the program has set up a log of its own.
pub fn start(format: LogFormat, usual: &str) {
    let (filter, bad) = filter(std::env::var("RUST_LOG").ok().as_deref(), usual);
    let lines = match Lines::new(io::stderr(), LOST.clone(), tell_lost) {
        Ok(lines) => lines,
        Err(error) => {
            return complain(&format!(
                "there is no log: its thread cannot be started: {error}"
            ));
        }
    };
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would tell of a line that cannot be written by `eprintln!`, which panics then.
        .log_internal_errors(false)
        .with_writer(move || writer.clone());
    let begun = match format {
        LogFormat::Json => log.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => log.with_ansi(false).finish().try_init(),
    };
    if begun.is_err() {
        return;
    }
    let _ = LOG.set(lines);
    for part in bad {
        tracing::warn!(
            "RUST_LOG holds {part:?}, which is no level and no target=level: passing it over"
        );
    }
}

/// Has panics logged as any other event. The hook of the standard library writes to standard error itself, and so waits
/// for whoever reads that.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let backtrace = Backtrace::capture();
        let backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let thread = thread::current();
        tracing::error!(
            thread = thread.name(),
            location = info.location().map(ToString::to_string),
            backtrace,
            "panicked: {}",
            info.payload_as_str()
                .unwrap_or("with a value that is no text")
        );
        // The program ends with its main thread.
        if thread.name() == Some("main") {
            finish();
        }
    }));
}

/// Waits until what was logged so far is written, for a second at most. To be called at the end of a program.
pub fn finish() {
    if let Some(lines) = LOG.get() {
        lines.flush_within(LAST_LINES);
    }
}

/// Writes a message to standard error where there is no log yet, or none any more. What cannot be written is lost.
pub fn complain(message: &str) {
    let line = format!("{}\n", taskqueue_plain::line(message));
    let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
}

/// How many lines were not written.
pub(crate) fn lost() -> Counter {
    LOST.clone()
}

fn tell_lost(lines: u64) {
    tracing::warn!(
        lines,
        "log lines were lost: they could not be written as fast as they came"
    );
}

/// What is logged, and the parts of `RUST_LOG` that mean nothing.
fn filter(asked: Option<&str>, usual: &str) -> (EnvFilter, Vec<String>) {
    let parts = asked.unwrap_or_default().split(',').map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    let (good, bad): (Vec<&str>, Vec<&str>) =
        parts.partition(|part| part.parse::<Directive>().is_ok());
    let good = if good.is_empty() {
        usual.to_owned()
    } else {
        good.join(",")
    };
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(good);
    (filter, bad.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(asked: Option<&str>) -> (String, Vec<String>) {
        let (filter, bad) = filter(asked, "info,kube_runtime=warn");
        (filter.to_string(), bad)
    }

    #[test]
    fn what_rust_log_says_counts_and_what_means_nothing_is_told() {
        let usual = of(None);
        assert!(
            usual.0.contains("kube_runtime=warn") && usual.0.contains("info"),
            "{usual:?}"
        );
        assert_eq!(of(Some("")), usual);
        assert_eq!(of(Some("debug")), ("debug".to_owned(), vec![]));
        let (some, bad) = of(Some("handler=off,foo=loud, warn"));
        assert!(
            some.contains("handler=off") && some.contains("warn"),
            "{some}"
        );
        assert_eq!(bad, ["foo=loud"]);
        assert_eq!(of(Some("a=b=c")), (usual.0, vec!["a=b=c".to_owned()]));
    }
}
