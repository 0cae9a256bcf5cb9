//! How the program ends: every error, and the exit code of each.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use taskqueue_queue::Error;

use crate::output::tell;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// Tasks cannot wait again, since others have their unique keys.
    #[error("{0}")]
    KeyTaken(String),
    /// Somebody works on what was to be changed or deleted.
    #[error("{0}")]
    Busy(String),
    /// Redis, or the queue's rules.
    #[error(transparent)]
    Queue(#[from] Error),
    /// The API server, or the way to it.
    #[error("{0}")]
    Cluster(String),
    /// A file of lines cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Lines were being enqueued, and not all of them are.
    #[error("{reason}; {count} {} enqueued, and nothing after", if *count == 1 { "task was" } else { "tasks were" })]
    Partial { reason: String, count: u64 },
    /// Standard output cannot be written, other than by its reader going away.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// `tq doctor` found what it looks for.
    #[error("found {0}")]
    Unwell(String),
    /// A value cannot be shown in the form asked for.
    #[error("cannot show all of it: {0}")]
    Form(String),
}

impl Failure {
    /// Whether it concerns one task alone, so that others can be told all the same.
    pub(crate) fn is_of_one_task(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::Form(_) | Self::Queue(Error::Corrupt { .. }) => true,
            Self::Usage(_)
            | Self::Queue(_)
            | Self::Cluster(_)
            | Self::Unreadable { .. }
            | Self::Partial { .. }
            | Self::Unwell(_)
            | Self::KeyTaken(_)
            | Self::Busy(_)
            | Self::Output(_) => false,
        }
    }

    /// The end of a command that failed for some of its tasks, each of which is told now. "Not found"
    /// is what it ends with only if that is all.
    pub(crate) fn of_some(failures: &[Self], count: usize) -> Self {
        for failure in failures {
            tell(format_args!("tq: {}", failure.message()));
        }
        let told = format!("{} of {count} tasks are not shown", failures.len());
        if failures.iter().all(|it| matches!(it, Self::NotFound(_))) {
            Self::NotFound(told)
        } else {
            Self::Form(told)
        }
    }

    /// The documented exit code.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Queue(Error::Invalid { .. } | Error::UnknownLevel { .. }) => {
                2.into()
            }
            Self::NotFound(_) => 3.into(),
            Self::KeyTaken(_)
            | Self::Busy(_)
            | Self::Queue(_)
            | Self::Cluster(_)
            | Self::Unreadable { .. }
            | Self::Partial { .. }
            | Self::Output(_)
            | Self::Unwell(_)
            | Self::Form(_) => 1.into(),
        }
    }

    /// The message with its causes, each once.
    pub(crate) fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                let _ = write!(message, ": {text}");
            }
            cause = error.source();
        }
        message
    }
}
