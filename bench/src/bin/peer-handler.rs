//! The least that can handle tasks, so that what is measured is the way to it and back:
//! `peer-handler stdio`, or `peer-handler http PORT`.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::io::{BufRead, Write};

use axum::Router;
use axum::routing::post;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("stdio") => stdio(),
        Some("http") => {
            let port: u16 = arguments.next().ok_or("http needs a port")?.parse()?;
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(http(port))
        }
        _ => Err("usage: peer-handler stdio | http PORT".into()),
    }
}

fn stdio() -> Result<(), Failure> {
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut input = std::io::BufReader::with_capacity(64 * 1024, input);
    let mut output = std::io::BufWriter::new(output);
    writeln!(output, "{{\"ready\":{{}}}}")?;
    output.flush()?;
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        // An id is 20 characters, and stands first.
        if let Some(rest) = line.strip_prefix("{\"task\":{\"id\":\"")
            && let Some(id) = rest.get(..20)
        {
            writeln!(output, "{{\"done\":{{\"id\":\"{id}\"}}}}")?;
        }
        line.clear();
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    Ok(())
}

async fn http(port: u16) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let router = Router::new().route("/", post(async || ()));
    Ok(axum::serve(listener, router).await?)
}
