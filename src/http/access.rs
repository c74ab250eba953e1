//! Who may come in, and how: TLS, client certificates and passwords, as the file of `--web.config.file` says. Its form is that of
//! Prometheus's exporter-toolkit. The file and those that it names are read again when they change.

mod clients;
mod config;
mod passwords;
mod session;
mod yaml;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, bail};
use config::Rules;
use passwords::Passwords;
pub(crate) use session::Session;

use super::request::Refusal;
use crate::{lock::locked, log};

/// The rules of the file, kept up to date.
pub(crate) struct Access {
    path: PathBuf,
    latest: Mutex<Latest>,
    passwords: Passwords,
}

struct Latest {
    rules: Arc<Rules>,
    /// What was read last, whether or not it could be used.
    files: Files,
}

/// Says whether the file can be used.
///
/// # Errors
/// It or a file that it names can't be read, or holds what is not supported; the error names that.
pub(crate) fn check(path: &Path) -> Result<()> {
    Rules::read(&mut Files::default(), path).map(drop)
}

impl Access {
    /// Reads the file.
    ///
    /// # Errors
    /// As [`check`]; or the system gives no random numbers.
    pub(crate) fn open(path: &Path) -> Result<Access> {
        let mut files = Files::default();
        let rules = Arc::new(Rules::read(&mut files, path)?);
        let latest = Mutex::new(Latest { rules, files });
        Ok(Access { path: path.to_owned(), latest, passwords: Passwords::new()? })
    }

    /// Whether clients must speak TLS. This does not change while the exporter runs.
    pub(crate) fn uses_tls(&self) -> bool {
        locked(&self.latest).rules.tls.is_some()
    }

    /// A TLS session for a new connection; `None` if there is no TLS.
    ///
    /// # Errors
    /// The session can't be made.
    pub(crate) fn session(&self) -> Result<Option<Session>> {
        self.rules().tls.as_ref().map(Session::new).transpose()
    }

    /// Checks the `Authorization` field of a request.
    ///
    /// # Errors
    /// The user is unknown or the password wrong, or too many others wait to be checked.
    pub(crate) fn admit(&self, authorization: &str) -> Result<(), Refusal> {
        self.passwords.check(&self.rules().users, authorization)
    }

    /// Adds the configured fields to the head of an answer, except those that it has.
    pub(crate) fn add_fields(&self, head: &mut String) {
        let rules = Arc::clone(&locked(&self.latest).rules);
        let before = head.to_ascii_lowercase();
        for (name, value) in &rules.headers {
            if !before.contains(&format!("\r\n{}:", name.to_ascii_lowercase())) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
    }

    /// The rules that are in force, read again if a file has changed. If they can't be used, the old ones stay.
    fn rules(&self) -> Arc<Rules> {
        let mut latest = locked(&self.latest);
        if latest.files.have_changed() {
            let mut files = Files::default();
            let read = Rules::read(&mut files, &self.path);
            latest.files = files;
            match read {
                // Otherwise a file that is cut short would let in clients without TLS.
                Ok(rules) if rules.tls.is_some() != latest.rules.tls.is_some() => {
                    self.complain("only a restart can turn TLS on or off")
                }
                Ok(rules) => {
                    latest.rules = Arc::new(rules);
                    log::info(&format!("{} was read again", self.path.display()));
                }
                Err(error) => self.complain(&format!("{error:#}")),
            }
        }
        Arc::clone(&latest.rules)
    }

    fn complain(&self, error: &str) {
        log::warn(&format!("{}: {error}; what was read before stays in use", self.path.display()));
    }
}

/// The files that were read, and how they were then.
#[derive(Default)]
struct Files {
    seen: Vec<(PathBuf, Option<Stamp>)>,
}

/// What changes with a file: modification and change, inode, size.
type Stamp = ([i64; 4], u64, u64);

impl Files {
    /// Reads a file, and remembers how it was before that.
    fn read(&mut self, path: &Path) -> Result<Vec<u8>> {
        self.seen.push((path.to_owned(), stamp(path)));
        // One that never ends, such as a device, is none.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            bail!("{} is not a file", path.display());
        }
        fs::read(path).with_context(|| format!("{} can't be read", path.display()))
    }

    fn have_changed(&self) -> bool {
        self.seen.iter().any(|(path, before)| stamp(path) != *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let modified = [metadata.mtime(), metadata.mtime_nsec()];
    let times = [modified[0], modified[1], metadata.ctime(), metadata.ctime_nsec()];
    Some((times, metadata.ino(), metadata.size()))
}
