//! The program `tq`, also found by kubectl as `kubectl-tq`: parses what was typed and hands it to the command.

#![warn(
    clippy::print_stderr,
    reason = "it panics where nobody reads standard error"
)]

mod amend;
mod args;
mod clear;
mod control;
mod dead;
mod doctor;
mod ends;
mod enqueue;
mod errors;
mod exit;
mod explain;
mod get;
mod input;
mod kubernetes;
mod output;
mod place;
mod progress;
mod redrive;
mod schedules;
mod simulate;
mod stats;
mod table;
mod tasks;
mod watch;
mod workers;
mod yaml;

use std::path::Path;
use std::process::ExitCode;

use args::{Cli, Command};
use clap::FromArgMatches;
use clap_complete::Shell;
use exit::Failure;
use output::{Output, tell};
use place::Cluster;

fn main() -> ExitCode {
    let cli = parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli)),
        Err(error) => Err(Failure::Output(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(format_args!("tq: {}", failure.message()));
            failure.code()
        }
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    let mut output = Output::new();
    let cluster = async || Cluster::connect(&cli.place).await;
    match &cli.command {
        Command::Enqueue(enqueue) => enqueue::run(enqueue, &cluster().await?, &mut output).await,
        Command::Get(get) => get::run(get, &cluster().await?, &mut output).await,
        Command::Stats(stats) => stats::run(stats, &cluster().await?, &mut output).await,
        Command::Tasks(tasks) => tasks::run(tasks, &cluster().await?, &mut output).await,
        Command::Ends(ends) => ends::run(ends, &cluster().await?, &mut output).await,
        Command::Watch(watch) => watch::run(watch, &cluster().await?, &mut output).await,
        Command::Logs { queue, id } => {
            tasks::logs(&cluster().await?.queue(queue)?, id, &mut output).await
        }
        Command::Workers {
            queue,
            output: form,
        } => workers::run(&cluster().await?, queue, *form, &mut output).await,
        Command::Cancel { queue, ids } => {
            control::cancel(&cluster().await?.queue(queue)?, ids, &mut output).await
        }
        Command::Edit(edit) => amend::edit(edit, &cluster().await?, &mut output).await,
        Command::Promote(promote) => amend::promote(promote, &cluster().await?, &mut output).await,
        Command::Priority(priority) => {
            amend::priority(priority, &cluster().await?, &mut output).await
        }
        Command::Clear(clear) => clear::clear(clear, &cluster().await?, &mut output).await,
        Command::Clean(clean) => clear::clean(clean, &cluster().await?, &mut output).await,
        Command::Delete(delete) => clear::delete(delete, &cluster().await?, &mut output).await,
        Command::Schedules(schedules) => {
            schedules::run(schedules, &cluster().await?, &mut output).await
        }
        Command::Pause { queue } => {
            control::pause(&cluster().await?.queue(queue)?, &mut output).await
        }
        Command::Resume { queue } => {
            control::resume(&cluster().await?.queue(queue)?, &mut output).await
        }
        Command::Dead(dead) => dead::run(dead, &cluster().await?, &mut output).await,
        Command::Errors(errors) => errors::run(errors, &cluster().await?, &mut output).await,
        Command::Explain(explain) => {
            explain::run(explain, cli.place.namespace.as_deref(), &mut output).await
        }
        Command::Doctor(doctor) => {
            // It looks at many things at once.
            Box::pin(doctor::run(doctor, &cli.place, &mut output)).await
        }
        Command::Simulate(command) => simulate::run(command, &mut output),
        Command::Completion { shell } => completion(*shell, &mut output),
        Command::Version => Ok(output.line(format_args!("tq {}", env!("CARGO_PKG_VERSION")))?),
    }?;
    Ok(output.flush()?)
}

fn completion(shell: Shell, output: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "tq", &mut script);
    Ok(output.bytes(&script)?)
}

/// Parses the command line; help and errors show the name that the program was called by.
fn parse() -> Cli {
    let called = std::env::args_os().next().unwrap_or_default();
    let plugin = Path::new(&called)
        .file_name()
        .is_some_and(|name| name == "kubectl-tq");
    let command = args::command().bin_name(if plugin { "kubectl tq" } else { "tq" });
    match Cli::from_arg_matches(&command.get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    }
}
