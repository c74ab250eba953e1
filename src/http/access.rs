//! Who may come in, and how: TLS, client certificates and passwords, as the file of
//! `--web.config.file` says. The file and those that it names are read again when they change.

mod authorities;
mod clients;
mod config;
mod files;
mod passwords;
mod pem;
mod queue;
mod session;
mod tls;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

use anyhow::{Context, Result, ensure};
use config::File;
use files::Files;
use passwords::Passwords;
use queue::Queue;
use rustls::ServerConfig;
pub(crate) use session::Session;

use super::request::{Refusal, SERVICE_UNAVAILABLE};
use crate::{lock::locked, log};

/// The rules of the file, kept up to date.
pub struct Access {
    path: PathBuf,
    latest: Mutex<Latest>,
    checks: Mutex<Checks>,
    next_check: Condvar,
}

struct Latest {
    rules: Arc<Rules>,
    /// What was read last, whether or not it could be used.
    files: Files,
}

/// What the file says.
struct Rules {
    tls: Option<Arc<ServerConfig>>,
    passwords: Passwords,
    /// Header fields of every answer, each with its line end.
    fields: Vec<String>,
    /// The keys that demand something of clients.
    demands: Vec<&'static str>,
}

/// The passwords that are checked, one at a time.
#[derive(Default)]
struct Checks {
    waiting: Queue,
    checked: Option<u64>,
    entered: u64,
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
        let rules = Arc::new(Rules::read(path, &mut files, &Passwords::new()?)?);
        Ok(Access {
            path: path.to_owned(),
            latest: Mutex::new(Latest { rules, files }),
            checks: Mutex::default(),
            next_check: Condvar::new(),
        })
    }

    /// The scheme of the URLs that clients ask for. It stays the same while the exporter runs.
    pub(crate) fn scheme(&self) -> &'static str {
        if locked(&self.latest).rules.tls.is_some() { "https" } else { "http" }
    }

    /// A TLS session for a new connection; `None` if there is no TLS.
    ///
    /// # Errors
    /// The session can't be made.
    pub(crate) fn session(&self) -> Result<Option<Session>> {
        self.rules().tls.as_ref().map(Session::new).transpose()
    }

    /// Admits or refuses a request at once by its `Authorization` field; `None` if its password has
    /// to be checked.
    pub(crate) fn known(&self, authorization: &str) -> Option<Result<(), Refusal>> {
        self.rules().passwords.known(authorization)
    }

    /// Checks the password of an `Authorization` field, which takes long.
    ///
    /// # Errors
    /// The user is unknown or the password wrong.
    pub(crate) fn check(&self, authorization: &str) -> Result<(), Refusal> {
        self.rules().passwords.check(authorization)
    }

    /// Checks the `Authorization` field of a request from there.
    ///
    /// # Errors
    /// The user is unknown or the password wrong, or too many others wait to be checked.
    pub(crate) fn admit(&self, authorization: &str, client: IpAddr) -> Result<(), Refusal> {
        if let Some(known) = self.known(authorization) {
            return known;
        }
        let mut checks = locked(&self.checks);
        checks.entered += 1;
        let own = checks.entered;
        if !checks.waiting.enter(client, own) {
            return Err(SERVICE_UNAVAILABLE);
        }
        if checks.checked.is_none() {
            checks.checked = checks.waiting.next();
        }
        let turn = self.next_check.wait_while(checks, |checks| checks.checked != Some(own));
        drop(turn);
        let checked = self.check(authorization);
        let mut checks = locked(&self.checks);
        checks.checked = checks.waiting.next();
        self.next_check.notify_all();
        checked
    }

    /// Adds the configured fields to the head of an answer, except those that it has.
    pub(crate) fn add_fields(&self, head: &mut String) {
        let rules = Arc::clone(&locked(&self.latest).rules);
        for field in &rules.fields {
            let name = field.split_inclusive(':').next().unwrap_or_default();
            if !head.contains(&format!("\r\n{name}")) {
                head.push_str(field);
            }
        }
    }

    /// The rules that are in force, read again if a file has changed. If they can't be used, or
    /// demand less, the old ones stay.
    fn rules(&self) -> Arc<Rules> {
        let mut latest = locked(&self.latest);
        if latest.files.have_changed() {
            let path = self.path.display();
            let mut files = Files::default();
            let read = Rules::read(&self.path, &mut files, &latest.rules.passwords);
            latest.files = files;
            match read.and_then(|rules| latest.rules.may_become(&rules).map(|()| rules)) {
                Ok(rules) => {
                    latest.rules = Arc::new(rules);
                    log::info(&format!("{path} was read again"));
                }
                Err(problem) => {
                    log::warn(&format!("{path}: {problem:#}; what was read before stays in use"))
                }
            }
        }
        Arc::clone(&latest.rules)
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
            "expected tls_server_config or basic_auth_users; without them, it demands nothing"
        );
        Ok(Rules { tls, passwords: before.with_users(&users)?, fields, demands })
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
