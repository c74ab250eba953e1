//! Which versions and ciphers are offered, as sslscan and testssl see it.

use std::process::Command;

use super::files::{Files, TLS};

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What sslscan finds for a server's certificate.
fn scanned(files: &Files) -> String {
    let exporter = files.exporter();
    let found = output("sslscan", &["--no-colour", &exporter.address]);
    println!("{found}");
    found
}

/// Whether sslscan says that a version is `enabled` or `disabled`.
fn state_of<'f>(found: &'f str, version: &str) -> Option<&'f str> {
    let lines = found.lines().filter_map(|line| line.strip_prefix(version));
    lines.map(str::trim).find(|state| ["enabled", "disabled"].contains(state))
}

#[test]
#[ignore = "needs Debian's sslscan"]
fn sslscan_finds_nothing_weak() {
    let files = Files::new(TLS);
    for certificate in ["server", "rsa"] {
        files.write("web.yml", &TLS.replace("server.", &format!("{certificate}.")));
        let found = scanned(&files);
        for (version, state) in [
            ("SSLv2", "disabled"),
            ("SSLv3", "disabled"),
            ("TLSv1.0", "disabled"),
            ("TLSv1.1", "disabled"),
            ("TLSv1.2", "enabled"),
            ("TLSv1.3", "enabled"),
        ] {
            assert_eq!(state_of(&found, version), Some(state), "{version}");
        }
        let ciphers: Vec<&str> = found
            .lines()
            .filter(|line| line.starts_with("Preferred") || line.starts_with("Accepted"))
            .collect();
        assert!(ciphers.len() >= 6, "{ciphers:#?}");
        for cipher in ciphers {
            let is_strong = cipher.contains("GCM") || cipher.contains("CHACHA20");
            // Those of TLS 1.3 always have forward secrecy, and their names do not say so.
            let keeps_secrets = cipher.contains("ECDHE") || cipher.contains("TLSv1.3");
            assert!(is_strong && keeps_secrets, "{cipher}");
        }
        assert!(found.contains("Session renegotiation not supported"), "{found}");
        assert_eq!(found.matches("not vulnerable to heartbleed").count(), 2, "{found}");
    }
}

#[test]
#[ignore = "needs Debian's sslscan"]
fn sslscan_finds_only_what_the_file_allows() {
    let files = Files::new(&format!(
        "{TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  curve_preferences: [CurveP384]\n"
    ));
    let found = scanned(&files);
    assert_eq!(state_of(&found, "TLSv1.3"), Some("disabled"));
    let ciphers: Vec<&str> = found.lines().filter(|line| line.contains(" bits  ")).collect();
    assert_eq!(ciphers.len(), 1, "{ciphers:#?}");
    assert!(ciphers[0].contains("ECDHE-ECDSA-AES256-GCM-SHA384 Curve P-384"), "{ciphers:?}");
}

#[test]
#[ignore = "needs Debian's testssl.sh"]
fn testssl_finds_no_vulnerability() {
    let files = Files::new(TLS);
    let exporter = files.exporter();
    let found = output(
        "testssl",
        &[
            "--quiet",
            "--color",
            "0",
            "--protocols",
            "--std",
            "--fs",
            "--vulnerable",
            &exporter.address,
        ],
    );
    println!("{found}");
    for expected in ["TLS 1.3    offered (OK)", "CCS (CVE-2014-0224)", "LUCKY13 (CVE-2013-0169)"] {
        assert!(found.contains(expected), "{expected}");
    }
    let lines = found.lines().filter(|line| line.contains("NOT ok") || line.contains("VULNERABLE"));
    let lines: Vec<&str> = lines.filter(|line| !line.contains("not vulnerable")).collect();
    assert_eq!(lines, [""; 0]);
}
