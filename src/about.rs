//! What this program is. Its build script, `build.rs`, finds out the rest of what Cargo knows.

/// Its name, for its help, its log and its answers.
pub const NAME: &str = env!("CARGO_PKG_NAME");
/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The target that it was built for, such as `x86_64-unknown-linux-musl`.
pub const TARGET: &str = env!("BUILD_TARGET");
/// The version of the compiler that built it.
pub const RUSTC: &str = env!("BUILD_RUSTC");
/// Whether it has TLS and passwords.
pub const TLS: bool = cfg!(feature = "tls");
