//! Reads the flags, then serves or prints once. The exit status is 2 if the user must change a
//! setting, and 1 if the system did not provide what is needed.

mod output;

use std::{env, panic, path::Path, process::ExitCode};

use anyhow::Result;
use what::{
    about::NAME,
    builtin,
    cli::{self, Config, Task},
    command, exporter,
    exposition::Format,
    log,
};

fn main() -> ExitCode {
    log::open();
    // Like every line of the log, the message must not wait for a reader.
    panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
    let task = match cli::parse(env::args_os().skip(1), env::vars_os()) {
        Ok(task) => task,
        Err(error) => {
            log::complaint(&format!("{NAME}: {error:#}"));
            return ExitCode::from(2);
        }
    };
    run(task).unwrap_or_else(|error| {
        log::error(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Print(text) => {
            output::print(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Task::W(extras) => {
            output::ensure_open()?;
            match builtin::table(Path::new("/"), extras) {
                Ok(table) => output::print_table(&table)?,
                Err(error) => {
                    log::complaint(&format!("w: {error:#}"));
                    return Ok(ExitCode::FAILURE);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Once(config) => {
            output::ensure_open()?;
            config.warnings.iter().for_each(|warning| log::warn(warning));
            let answers = exporter::once(&config)?;
            let metrics = answers.metrics(Format::Text, &config.options());
            output::print(&metrics)?;
            Ok(match answers.snapshot.result {
                Ok(_) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            })
        }
        Task::Serve(config) => {
            config.warnings.iter().for_each(|warning| log::warn(warning));
            warn_if_missing(&config);
            exporter::serve(config)
        }
    }
}

/// Says at the start that the command is missing, which otherwise only the first scrape would.
fn warn_if_missing(config: &Config) {
    if let Err(error) = command::look_up(&config.command()) {
        log::warn(&format!("{}: {error:#}", config.as_given("--w.command")));
    }
}
