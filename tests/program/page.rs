//! The landing page in a real browser, with hostile names.

use std::{fs, process::Command};

use crate::harness::{Exporter, folder};

/// Renders the page; gives its document as the browser understood it, and keeps a picture if `PICTURES` names a folder.
fn rendered(exporter: &Exporter, name: &str, arguments: &[&str]) -> String {
    let folder = folder();
    let mut chromium = Command::new("chromium");
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--dump-dom"]);
    chromium.arg(format!("--user-data-dir={}", folder.display())).args(arguments);
    if let Ok(pictures) = std::env::var("PICTURES") {
        chromium.arg(format!("--screenshot={pictures}/{name}.png"));
    }
    let output = chromium.arg(format!("http://{}/", exporter.address)).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs Debian's chromium"]
fn hostile_names_neither_run_nor_break_the_table() {
    let long = "a".repeat(256);
    let names = [
        ("<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>"),
        ("</td></table>", "'\"&lt;"),
        ("\u{202e}evil\u{2066}", "\u{202e}moc.elpmaxe"),
        ("alice", long.as_str()),
    ];
    let mut table =
        format!("{:32} TTY      {:255}  LOGIN@   IDLE   JCPU   PCPU WHAT\n", "USER", "FROM")
            .into_bytes();
    for (user, from) in names {
        let padded = |text: &str, width: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(width, b' ');
            bytes
        };
        table.extend([padded(user, 32), padded(" pts/0", 10), padded(from, 256)].concat());
        table.extend_from_slice(b" 00:16    1:13   0.00s   ?    <b>vim</b>\n");
    }
    let file = folder().join("table");
    fs::write(&file, table).unwrap();
    let exporter = Exporter::of(&format!("cat {}", file.display()), &["--metrics.command=full"]);
    for (name, arguments) in [
        ("light", ["--window-size=1000,600", "--blink-settings=preferredColorScheme=1"]),
        ("dark", ["--window-size=1000,600", "--blink-settings=preferredColorScheme=0"]),
        ("phone", ["--window-size=500,900", "--blink-settings=preferredColorScheme=1"]),
    ] {
        let document = rendered(&exporter, name, &arguments);
        assert_eq!(document.matches("<tr>").count(), 1 + names.len(), "{document}");
        assert_eq!(document.matches("<td").count(), 6 * names.len(), "{document}");
        for element in ["<script", "<img", "<b>", "\u{202e}", "\u{2066}"] {
            assert!(!document.contains(element), "{element}: {document}");
        }
        assert!(document.contains(&long), "{document}");
    }
}
