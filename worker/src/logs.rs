//! The log: lines on standard error, JSON or text. `RUST_LOG` narrows or widens it; the default is `info`.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Sends all further events of this process to standard error. Called once; a second call changes nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let _ = match format {
        LogFormat::Json => log.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => log.with_ansi(false).finish().try_init(),
    };
}
