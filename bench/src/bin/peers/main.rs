//! Taskqueue beside its peers on one redis-server, in interleaved rounds: `make bench`.
//!
//! Prints one table and writes `docs/bench-queue.md`. Fails when a part could not be measured.
#![allow(clippy::print_stdout, reason = "it is a program")]

mod figures;
mod measure;
mod peer;
mod program;
mod report;
mod resident;
mod server;
mod table;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use figures::Figures;
use measure::{Bench, Part};
use peer::Peer;
use program::{Program, Version};
use report::Run;
use server::Server;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Measures Taskqueue beside its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds; the figures are their medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Who is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// Tasks of a drain; other parts have fewer.
    #[arg(long, default_value_t = 100_000)]
    tasks: usize,
    /// Where `hack/peers` has installed the peers.
    #[arg(long)]
    cache: PathBuf,
    /// The worker program that is shipped.
    #[arg(long)]
    worker: PathBuf,
    /// Where an earlier build has its `peer-ours` and `taskqueue-worker`, for the column `before`.
    #[arg(long)]
    before: Option<PathBuf>,
    /// Where the document is written.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let measured = tokio::select! {
        measured = run(arguments) => measured,
        fault = interrupted() => Err(fault),
    };
    match measured {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("bench: not measured:");
            for fault in faults {
                eprintln!("  {fault}");
            }
            ExitCode::FAILURE
        }
        Err(fault) => {
            eprintln!("bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for a signal, so that the server and the peers are ended with us.
async fn interrupted() -> Fault {
    let mut terminated = match signal(SignalKind::terminate()) {
        Ok(terminated) => terminated,
        Err(fault) => return fault.into(),
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    "interrupted".into()
}

/// Measures, prints and writes; what could not be measured.
async fn run(mut arguments: Arguments) -> Result<Vec<String>, Fault> {
    arguments.peers.sort_unstable();
    arguments.peers.dedup();
    let bin = std::env::current_exe()?;
    let bin = bin.parent().ok_or("the program has no folder")?;
    let before = match arguments.before {
        None if arguments.peers.contains(&Peer::Before) => {
            return Err("--peers before needs --before FOLDER".into());
        }
        before => before.unwrap_or_default(),
    };
    let mut server = Server::start().await?;
    let program = |peer: Peer, redis: String| Program {
        words: peer.program(&arguments.cache, bin, &before),
        worker: match peer {
            Peer::Ours => Some(arguments.worker.clone()),
            Peer::Before => Some(before.join("taskqueue-worker")),
            _ => None,
        },
        redis,
    };
    let mut peers = Vec::new();
    for peer in &arguments.peers {
        let asked = program(*peer, server.url());
        let told = asked.run::<Version>(&["version".to_owned()]).await;
        let told = told.map_err(|fault| format!("{} does not run: {fault}", peer.name()))?;
        peers.push((*peer, told.version));
    }

    let begun = Instant::now();
    let mut figures = Figures::default();
    let mut faults = Vec::new();
    for round in 0..arguments.rounds {
        for part in Part::of_round(round) {
            let applying = arguments.peers.iter().filter(|peer| part.applies(**peer));
            for peer in applying {
                eprintln!(
                    "{:4} s  round {} of {}  {part:?}  {}",
                    begun.elapsed().as_secs(),
                    round + 1,
                    arguments.rounds,
                    peer.name()
                );
                let mut bench = Bench {
                    program: program(*peer, server.url()),
                    server: &mut server,
                    figures: &mut figures,
                    peer: *peer,
                    tasks: arguments.tasks,
                };
                if let Err(fault) = bench.measure(part).await {
                    let fault = format!("{} {part:?}, round {}: {fault}", peer.name(), round + 1);
                    eprintln!("        FAILED: {fault}");
                    faults.push(fault);
                }
            }
        }
    }

    let run = Run {
        cores: std::thread::available_parallelism()?.get(),
        server: server.name().await?,
        rounds: arguments.rounds,
        tasks: arguments.tasks,
        peers,
    };
    println!("{}", table::table(&figures, &arguments.peers));
    if let Some(output) = &arguments.output {
        if faults.is_empty() {
            if let Some(folder) = output.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(output, report::document(&figures, &run))?;
            eprintln!("bench: written to {}", output.display());
        } else {
            eprintln!("bench: {} is left as it was", output.display());
        }
    }
    Ok(faults)
}
