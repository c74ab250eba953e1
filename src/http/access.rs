//! Who may come in, and how: TLS, client certificates and passwords, as the file of
//! `--web.config.file` says. The file and those that it names are read again when they change.

mod clients;
mod config;
mod files;
mod passwords;
mod session;
mod tls;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Result;
use files::Files;
use passwords::Passwords;
use rustls::ServerConfig;
pub(crate) use session::Session;

use super::request::Refusal;
use crate::{lock::locked, log};

/// The rules of the file, kept up to date.
pub struct Access {
    path: PathBuf,
    latest: Mutex<Latest>,
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
    /// It or a file that it names can't be read, or holds what is not supported; the error names
    /// that.
    pub(crate) fn open(path: &Path) -> Result<Access> {
        let mut files = Files::default();
        let rules = Arc::new(config::read(path, &mut files)?);
        Ok(Access { path: path.to_owned(), latest: Mutex::new(Latest { rules, files }) })
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

    /// Checks the `Authorization` field of a request from there.
    ///
    /// # Errors
    /// The user is unknown or the password wrong, or too many others wait to be checked.
    pub(crate) fn admit(&self, authorization: &str, client: IpAddr) -> Result<(), Refusal> {
        self.rules().passwords.check(authorization, client)
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

    /// The rules that are in force, read again if a file has changed. If they can't be used, the
    /// old ones stay.
    fn rules(&self) -> Arc<Rules> {
        let mut latest = locked(&self.latest);
        if latest.files.have_changed() {
            let path = self.path.display();
            let mut files = Files::default();
            let read = config::read(&self.path, &mut files);
            latest.files = files;
            let problem = match read {
                // Otherwise a file that is cut short would let in clients without TLS.
                Ok(rules) if rules.tls.is_some() != latest.rules.tls.is_some() => {
                    Some("only a restart can turn TLS on or off".to_owned())
                }
                Ok(rules) => {
                    latest.rules = Arc::new(rules);
                    None
                }
                Err(error) => Some(format!("{error:#}")),
            };
            match problem {
                None => log::info(&format!("{path} was read again")),
                Some(problem) => {
                    log::warn(&format!("{path}: {problem}; what was read before stays in use"))
                }
            }
        }
        Arc::clone(&latest.rules)
    }
}
