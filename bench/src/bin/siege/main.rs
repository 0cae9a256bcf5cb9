//! Whether a hostile tenant harms anybody: honest queues under load beside one attacker after the
//! other, then beside all of them, against the operator as a process with the memory limit of the
//! chart, on an API server alone. Fails when a bound is broken.
//!
//! `make bench-siege`; `-- --seconds 60 --each 0 --alone 30` is a short run.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::expect_used,
    reason = "it is a program that fails by panicking"
)]

mod attack;
mod attackers;
mod bounds;
mod cage;
mod honest;
mod operator;
mod phase;
mod report;
mod yardstick;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, Parser, Subcommand};
use taskqueue_e2e::alone::ApiServer;
use taskqueue_queue::testing::RedisServer;

use self::{
    attack::{ALL, Attacker, Side},
    honest::Honest,
    operator::Keeper,
    phase::{Kind, Phase, Siege},
    report::Run,
};

/// Measures whether a hostile tenant harms anybody.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Program {
    #[command(subcommand)]
    attack: Option<Attack>,
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Debug, Subcommand)]
enum Attack {
    /// The process of the attackers.
    #[command(hide = true)]
    Attack(attack::Call),
}

#[derive(Debug, Args)]
struct Arguments {
    /// How long all attackers are at it together.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How long the honest queues are alone, before.
    #[arg(long, default_value_t = 120)]
    alone: u64,
    /// How long each attacker has for itself, before all of them; 0 leaves that out.
    #[arg(long, default_value_t = 20)]
    each: u64,
    /// Who attacks; all that there are by default.
    #[arg(long, value_delimiter = ',')]
    attackers: Vec<String>,
    /// Honest TaskQueues.
    #[arg(long, default_value_t = 50)]
    queues: usize,
    /// Where the document is written.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program::parse();
    if let Some(Attack::Attack(call)) = program.attack {
        attack::run(call).await;
        return ExitCode::SUCCESS;
    }
    let arguments = program.arguments;
    let plan = plan(&arguments);
    let (server, redis) = (
        Arc::new(ApiServer::start().await),
        RedisServer::start().await,
    );
    let client = server.client().await;
    attackers::make_namespaces(&client).await;
    yardstick::make(&client).await;
    let url = format!("redis://localhost:{}", redis.port());
    let keeper = Keeper::new(Arc::clone(&server), client.clone(), url);
    let honest = Honest::make(&client, &redis, arguments.queues).await;
    let siege = Siege {
        server,
        client,
        keeper,
        honest,
    };
    let mut run = Run::new(arguments.queues);
    for phase in plan {
        let row = siege.phase(&phase).await;
        eprintln!("{}", row.line());
        run.take(row);
    }
    let document = run.document();
    println!("{document}");
    if let Some(output) = arguments.output {
        std::fs::write(&output, &document).expect("the document can be written");
    }
    if run.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The phases, one after the other.
fn plan(arguments: &Arguments) -> Vec<Phase> {
    let named = &arguments.attackers;
    for name in named {
        let known = ALL.iter().any(|attacker| attacker.name == name);
        let all: Vec<_> = ALL.iter().map(|attacker| attacker.name).collect();
        assert!(
            known,
            "--attackers: there is no {name}: there are {}",
            all.join(", ")
        );
    }
    let chosen: Vec<&Attacker> = ALL
        .iter()
        .filter(|it| named.is_empty() || named.iter().any(|name| name == it.name))
        .collect();
    let phase = |kind, title: &str, attackers: &[&'static Attacker], seconds| Phase {
        kind,
        title: title.to_owned(),
        attackers: attackers.iter().map(|it| it.name).collect(),
        length: Duration::from_secs(seconds),
    };
    let mut plan = vec![phase(Kind::Alone, "nobody", &[], arguments.alone)];
    if arguments.each > 0 {
        for attacker in &chosen {
            let title = format!("{}: {}", attacker.name, attacker.does);
            plan.push(phase(Kind::One, &title, &[*attacker], arguments.each));
        }
    }
    let of_namespace: Vec<&Attacker> = chosen
        .iter()
        .copied()
        .filter(|attacker| attacker.side == Side::Namespace)
        .collect();
    if !of_namespace.is_empty() {
        // As long as the queues were alone, so that both have as many wakes.
        let title = "**a hostile namespace**: all that need no Redis of their own";
        plan.push(phase(
            Kind::Namespace,
            title,
            &of_namespace,
            arguments.alone,
        ));
    }
    plan.push(phase(
        Kind::All,
        "**all at once**",
        &chosen,
        arguments.seconds,
    ));
    plan
}
