//! The program `taskqueue-worker`: its command line and exit codes. Everything else is in the library.

#![warn(
    clippy::print_stderr,
    reason = "it panics where nobody reads standard error"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use taskqueue_worker::WorkerConfig;
use taskqueue_worker::{install, logs, run, termination};

/// Runs the tasks of one queue. Configured by variables that start with `TASKQUEUE_`; started without them, it says
/// which are missing.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Exit codes:
  0  told to stop, and drained: no task is left running
  1  cannot go on, for example because Redis refuses the password
  2  the configuration, or the handler's command, cannot be used

SIGTERM, and whatever else an image may have for its stop signal (SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPWR,
SIGRTMIN+3 and, without a terminal, SIGWINCH): no further task is taken, and what runs may finish within the drain
timeout. A second signal hands what runs back at once, which costs no attempt."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Copy this program, to bring it into another image.
    Install {
        /// Where to: a file, or a folder that exists.
        destination: PathBuf,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Some(Command::Install { destination }) => match install::install(&destination) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => complain(
                1,
                &format!("cannot install to {}: {error}", destination.display()),
            ),
        },
        None => match WorkerConfig::from_env(|name| std::env::var(name).ok()) {
            Ok(config) => consume(config),
            Err(error) => complain(2, &error.to_string()),
        },
    }
}

fn consume(config: WorkerConfig) -> ExitCode {
    logs::start(config.log_format, "info");
    logs::log_panics();
    // One thread: the work is done by handlers outside of this program, or is none; and answers of a Redis close by are
    // looked for, which pays on one thread alone.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(1, &format!("cannot start: {error}")),
    };
    let code = run::ended(runtime.block_on(run::run(config)));
    // Nobody waits for a thread that a task has left behind, which may never end.
    runtime.shutdown_background();
    code
}

/// For what goes wrong before there is a log.
fn complain(code: u8, message: &str) -> ExitCode {
    logs::complain(&format!("taskqueue-worker: {message}"));
    termination::leave(message);
    code.into()
}
