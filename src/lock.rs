//! Locks a mutex whatever happened to who held it last.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A thread that panics while it holds a lock ends the process, or a test; what it guarded is whole either way.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
