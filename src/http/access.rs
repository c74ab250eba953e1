//! Who may come in, and how: TLS, client certificates and passwords, as the file of
//! `--web.config.file` says. The file and those that it names are read again when they change.

mod authorities;
mod checker;
mod clients;
mod config;
mod files;
mod passwords;
mod pem;
mod queue;
mod stream;
mod tls;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use checker::Checker;
use config::File;
use files::Files;
use passwords::Passwords;
use rustls::ServerConfig;
pub(super) use stream::Tls;

use super::{
    request::{Admission, SERVICE_UNAVAILABLE},
    requests::ToFront,
};
use crate::log;

/// The rules of the file, kept up to date.
pub struct Access {
    path: PathBuf,
    rules: Rules,
    /// What was read last, whether or not it could be used.
    files: Files,
    /// Checks passwords; `None` before the start.
    checker: Option<Checker>,
}

/// What the file says.
struct Rules {
    tls: Option<Arc<ServerConfig>>,
    passwords: Arc<Passwords>,
    /// Header fields of every answer, each with its line end.
    fields: Vec<String>,
    /// The keys that demand something of clients.
    demands: Vec<&'static str>,
}

/// Two are the same if they come from the same file.
impl PartialEq for Access {
    fn eq(&self, other: &Access) -> bool {
        self.path == other.path
    }
}

impl Access {
    /// Reads the file.
    ///
    /// # Errors
    /// It or a file that it names can't be read, holds what is not supported, or demands nothing;
    /// the error names that.
    pub(crate) fn open(path: &Path) -> Result<Access> {
        let mut files = Files::default();
        let rules = Rules::read(path, &mut files, &Passwords::new()?)?;
        Ok(Access { path: path.to_owned(), rules, files, checker: None })
    }

    /// The scheme of the URLs that clients ask for. It stays the same while the exporter runs.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.rules.tls.is_some() { "https" } else { "http" }
    }

    /// Starts the thread that checks passwords.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(&mut self, to_front: ToFront) -> Result<()> {
        self.checker = Some(Checker::start(to_front)?);
        Ok(())
    }

    /// TLS for a new connection; `None` if there is no TLS.
    ///
    /// # Errors
    /// It can't be started.
    pub(super) fn tls(&mut self) -> Result<Option<Tls>> {
        self.update();
        self.rules.tls.as_ref().map(Tls::new).transpose()
    }

    /// Admits or refuses a request by its `Authorization` field, or has its password checked.
    /// `client` is its number.
    pub(super) fn admit(&mut self, client: u64, network: IpAddr, authorization: &str) -> Admission {
        self.update();
        match self.rules.passwords.known(authorization) {
            Some(Ok(())) => Admission::Admitted,
            Some(Err(refusal)) => Admission::Refused(refusal),
            None if self.checker.as_mut().is_some_and(|checker| checker.enter(network, client)) => {
                Admission::Unknown
            }
            None => Admission::Refused(SERVICE_UNAVAILABLE),
        }
    }

    /// A check has ended.
    pub(super) fn check_ended(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.ended();
        }
    }

    /// Starts the next check, unless one is under way. `authorization_of` returns the field of a
    /// client that still waits.
    pub(super) fn check_next(&mut self, authorization_of: impl Fn(u64) -> Option<String>) {
        if let Some(checker) = &mut self.checker {
            checker.start_next(&self.rules.passwords, authorization_of);
        }
    }

    /// Adds the configured fields to the head of an answer, except those that it has.
    pub(super) fn add_fields(&self, head: &mut String) {
        for field in &self.rules.fields {
            let name = field.split_inclusive(':').next().unwrap_or_default();
            if !head.contains(&format!("\r\n{name}")) {
                head.push_str(field);
            }
        }
    }

    /// Reads the rules again if a file has changed. If they can't be used, or demand less, the old
    /// ones stay in force.
    fn update(&mut self) {
        if !self.files.have_changed() {
            return;
        }
        let path = self.path.display();
        let mut files = Files::default();
        let read = Rules::read(&self.path, &mut files, &self.rules.passwords);
        self.files = files;
        match read.and_then(|rules| self.rules.may_become(&rules).map(|()| rules)) {
            Ok(rules) => {
                self.rules = rules;
                log::info(&format!("{path} was read again"));
            }
            Err(problem) => {
                log::warn(&format!("{path}: {problem:#}; what was read before stays in use"));
            }
        }
    }
}

impl Rules {
    /// Reads the file and those that it names. What `before` remembers of the same users stays
    /// remembered.
    ///
    /// # Errors
    /// One can't be read or used, or nothing is demanded.
    fn read(path: &Path, files: &mut Files, before: &Passwords) -> Result<Rules> {
        let file = File::parse(files.read(path)?)?;
        let fields = file.fields()?;
        let config = file.tls_server_config.unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new(""));
        let tls = tls::server(&config, folder, files).context("tls_server_config")?;
        let users = file.basic_auth_users.unwrap_or_default();
        let mut demands = config.demands();
        demands.extend(tls.is_some().then_some("tls_server_config"));
        demands.extend((!users.is_empty()).then_some("basic_auth_users"));
        ensure!(
            !demands.is_empty(),
            "expected tls_server_config or basic_auth_users; without them, it requires nothing"
        );
        let passwords = Arc::new(before.with_users(&users)?);
        Ok(Rules { tls, passwords, fields, demands })
    }

    /// Whether these may be replaced while the exporter runs. A file that is cut short, because it
    /// is just being written, must let in nobody else.
    ///
    /// # Errors
    /// The new ones demand less, or TLS comes or goes; the error names what.
    fn may_become(&self, new: &Rules) -> Result<()> {
        ensure!(new.tls.is_some() == self.tls.is_some(), "only a restart can turn TLS on or off");
        let demands = self.demands.iter().copied();
        let dropped: Vec<_> = demands.filter(|demand| !new.demands.contains(demand)).collect();
        ensure!(dropped.is_empty(), "only a restart can drop {}", dropped.join(" and "));
        Ok(())
    }
}
