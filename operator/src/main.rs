//! `taskqueue-operator`: runs the operator or prints the resource's definition.

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use taskqueue_operator::{
    config::{Config, RunArgs},
    crd,
    run::run,
};
use taskqueue_worker::config::LogFormat;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

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
                let _ = writeln!(std::io::stderr(), "taskqueue-operator: {error}");
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
    log_to_stderr(config.log_format);
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

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
}

fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stops");
        stop.cancel();
    });
    Ok(())
}
