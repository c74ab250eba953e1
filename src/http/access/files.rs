//! Files that are read again when they change.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// The files that were read, and their states at that time.
#[derive(Default)]
pub(super) struct Files(Vec<(PathBuf, Option<Stamp>)>);

/// What changes with a file: modification and change in seconds and nanoseconds, inode, size.
type Stamp = ([i64; 4], [u64; 2]);

impl Files {
    /// Reads a file, and remembers the state that it had before.
    ///
    /// # Errors
    /// It can't be read, or is not a file, such as a device without an end.
    pub(super) fn read(&mut self, path: &Path) -> Result<Vec<u8>> {
        self.0.push((path.to_owned(), stamp(path)));
        let is_other = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        ensure!(!is_other, "{} is not a file", path.display());
        fs::read(path).with_context(|| format!("{} can't be read", path.display()))
    }

    pub(super) fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, before)| stamp(path) != *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    Some((times, [found.ino(), found.size()]))
}
