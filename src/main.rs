//! Reads the flags and serves, or prints once.

use std::{env, io::Write, process::ExitCode};

use anyhow::{Context, Result};
use what::{
    cli::{self, Task},
    command::child::Outcome,
    exposition::Format,
    log, serve,
};

fn main() -> ExitCode {
    match run() {
        Ok(status) => status,
        Err(error) => {
            log::line(&format!("{}: {error:#}", cli::NAME));
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    match cli::parse(env::args_os().skip(1), cli::environment)? {
        Task::Print(text) => print(text.as_bytes()),
        Task::Once(config) => {
            let snapshot = serve::once(&config)?;
            print(&snapshot.rendered(Format::Text))?;
            Ok(match snapshot.outcome {
                Outcome::Ok => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            })
        }
        Task::Serve(config) => serve::serve(&config),
    }
}

fn print(text: &[u8]) -> Result<ExitCode> {
    std::io::stdout().write_all(text).context("standard output can't be written")?;
    Ok(ExitCode::SUCCESS)
}
