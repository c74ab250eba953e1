//! Makes glibc's allocator use less memory.
//!
//! By default the allocator reserves 64 MB of address space for each thread. Under a limit, this
//! leaves no space for the next thread's stack. It also keeps large blocks that are freed. It reads
//! its settings from the environment once, when a process starts. So the process starts itself
//! again with the right environment. `w` does not inherit that environment.

use std::{env, os::unix::process::CommandExt, process::Command};

/// mallopt(3): one arena for all threads; large blocks are taken from the system and returned to
/// it.
const SETTINGS: [(&str, &str); 2] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// Starts the program again with these settings, unless they are already set, by the user or by the
/// first start. Returns if that is not possible. Then the program works too, but uses more address
/// space.
pub fn take_less() {
    if !cfg!(target_env = "gnu") || SETTINGS.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    // By its path: started as /proc/self/exe, it would be called "exe" in lists of processes.
    let Ok(path) = env::current_exe() else {
        return;
    };
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let _ = Command::new(path).arg0(name).args(arguments).envs(SETTINGS).exec();
}
