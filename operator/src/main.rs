//! `taskqueue-operator`: runs the operator or prints the resource's definition.

#![warn(
    clippy::print_stderr,
    reason = "it panics where nobody reads standard error"
)]

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use taskqueue_operator::{
    config::{Config, RunArgs},
    crd,
    run::run,
};
use taskqueue_worker::{logs, signals::Signals};
use tokio_util::sync::CancellationToken;

/// What is logged unless `RUST_LOG` says something else.
const LOG: &str = "info,kube_runtime=warn";

/// Keeps the workers of TaskQueues and scales them.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinition.
    Crd,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Crd => print_crd(),
        Command::Run(args) => match Config::try_from(*args) {
            Ok(config) => serve(config),
            Err(error) => {
                logs::complain(&format!("taskqueue-operator: {error}"));
                ExitCode::from(2)
            }
        },
    }
}

fn print_crd() -> ExitCode {
    let printed = crd::yaml().map(|yaml| std::io::stdout().write_all(yaml.as_bytes()));
    match printed {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Two threads on any machine: it waits for others most of the time, and each further thread costs
/// memory of its own.
#[tokio::main(worker_threads = 2)]
async fn serve(config: Config) -> ExitCode {
    logs::start(config.log_format, LOG);
    logs::log_panics();
    let code = live(config).await;
    logs::finish();
    code
}

async fn live(config: Config) -> ExitCode {
    let stop = CancellationToken::new();
    if let Err(error) = stop_on_signal(stop.clone()) {
        tracing::error!(%error, "cannot listen for signals");
        return ExitCode::FAILURE;
    }
    match run(config, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "the operator ends");
            ExitCode::FAILURE
        }
    }
}

fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut signals = Signals::catch()?;
    tokio::spawn(async move {
        let signal = signals.next().await;
        // Whatever becomes of the line.
        stop.cancel();
        tracing::info!(signal, "stops");
    });
    Ok(())
}
