//! Compatibility with other programs: Python's h11 reads the same requests, other clients send
//! requests in parallel, and proxies forward them. Needs packages of Debian and Python, which
//! `.ci/run` installs. A new client goes into `clients`, a proxy into `proxies`, and a difference
//! between parsers into `h11`.

mod clients;
mod h11;
mod proxies;
mod random;

use std::process::Command;

/// The path of a script of these tests.
fn script(name: &str) -> String {
    format!("{}/tests/program/interop/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A script, run by the Python that `TEST_PYTHON` names, which has the packages.
fn python(name: &str) -> Command {
    let python = std::env::var("TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg(script(name));
    command
}
