//! The documents' commands for TLS and passwords.

use std::process::Command;

use super::files::PASSWORD;
use crate::{
    documents::shown_at,
    harness::{FakeW, PROGRAM, folder},
};

/// In a network of their own, where the default port is free, and without a terminal, so that what
/// asks for a password reads it from standard input.
#[test]
#[ignore = "needs root, and Debian's apache2-utils and curl"]
fn its_commands_make_a_certificate_hash_a_password_start_and_scrape() {
    let commands: Vec<String> = shown_at("tls").into_iter().map(|shown| shown.command).collect();
    let [certificate, hash, file, start, scrape] = commands.try_into().unwrap();
    let fake = FakeW::new("cat $TABLE");
    let programs = std::path::Path::new(PROGRAM).parent().unwrap();
    let script = format!(
        "set -e
        ip link set lo up
        export PATH={programs}:$PATH EXPORTER_W_COMMAND='{w}'
        {certificate}
        printf '%s\\n%s\\n' '{PASSWORD}' '{PASSWORD}' | setsid --wait sh -c \"$HASH\"
        {file}
        cat web.yml
        {start} &
        until curl -s -o /dev/null --cacert server.crt https://localhost:9839/; do sleep 0.1; done
        echo '{PASSWORD}' | setsid --wait {scrape}
        curl --cacert server.crt --user prometheus:wrong https://localhost:9839/metrics",
        programs = programs.display(),
        w = fake.command(),
    );
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "timeout",
        "60",
        "sh",
        "-c",
        &script,
    ]);
    let output = unshare.env("HASH", hash).current_dir(folder()).output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{answer}{}", String::from_utf8_lossy(&output.stderr));
    assert!(answer.contains("\n  prometheus: $2y$10$"), "{answer}");
    let alice = "\nwhat_user_sessions_currently_active{user=\"alice\"} 2\n";
    assert_eq!(answer.matches(alice).count(), 1, "{answer}");
    assert!(answer.ends_with("Unauthorized\n"), "{answer}");
}
