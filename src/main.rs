//! Reads the flags, then serves or prints once. The exit status is 2 if the user must change a
//! setting, and 1 if the system did not provide what is needed.

use std::{
    env,
    io::{ErrorKind, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use what::{
    about::NAME,
    allocator, builtin,
    cli::{self, Config, Task},
    command::{self, Command},
    exporter,
    exposition::Format,
    log,
};

fn main() -> ExitCode {
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
            print(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Task::W(extras) => {
            print(&builtin::table(Path::new("/"), extras)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Once(config) => {
            config.warnings.iter().for_each(|warning| log::warn(warning));
            let answers = exporter::once(&config)?;
            print(&answers.metrics(Format::Text, &config.options()))?;
            Ok(match answers.snapshot.result {
                Ok(_) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            })
        }
        Task::Serve(config) => {
            allocator::take_less();
            config.warnings.iter().for_each(|warning| log::warn(warning));
            warn_if_missing(&config);
            exporter::serve(config)
        }
    }
}

/// Says at the start that the command is missing, which otherwise only the first scrape would.
fn warn_if_missing(config: &Config) {
    if config.command() == Command::Builtin {
        return;
    }
    if let Err(error) = command::look_up(&config.w_command) {
        let source = config.source("--w.command");
        log::warn(&format!("{source} {:?}: {error:#}", config.w_command));
    }
}

/// A reader that stops early, such as `head`, is not an error.
fn print(text: &[u8]) -> Result<()> {
    let mut output = std::io::stdout();
    match output.write_all(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output can't be written"),
    }
}
