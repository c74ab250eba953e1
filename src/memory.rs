//! Whether memory is left. Rust ends a process that can't get the memory that it asks for, so whatever needs much asks here first,
//! and does without.

use std::hint::black_box;

/// More than an allocator gives from what it holds already (64 MiB for glibc's arenas), so that the system is asked.
const LEAST: usize = 80 << 20;

/// Whether that many bytes could be had. They are not touched, so this costs two system calls and no memory.
pub fn is_left(bytes: usize) -> bool {
    let mut probe = Vec::<u8>::new();
    let had = probe.try_reserve_exact(bytes.max(LEAST)).is_ok();
    // Else the compiler sees that nobody uses it, and does not ask.
    black_box(&probe);
    had
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_but_not_all_of_it() {
        assert!(is_left(0));
        assert!(!is_left(usize::MAX / 4));
    }
}
