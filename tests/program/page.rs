//! The landing page in a real browser: with hostile names, and with few and many sessions on a
//! desktop and on a phone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Exporter, PROGRAM, folder, write_script};

/// A table as procps 4.0.2 prints it in the exporter's environment, with the current time.
fn table(sessions: &[[&str; 5]], command: &str) -> String {
    let mut date = Command::new("date");
    let clock = String::from_utf8(date.args(["-u", "+%T"]).output().unwrap().stdout).unwrap();
    let (clock, count) = (clock.trim(), sessions.len());
    let mut table = format!(
        " {clock} up  1:25,  {count} user{},  load average: 0.00, 0.00, 0.00\n{:32} TTY      {:256} LOGIN@   IDLE   JCPU   PCPU WHAT\n",
        if count == 1 { "" } else { "s" },
        "USER",
        "FROM"
    );
    for [user, tty, from, login, idle] in sessions {
        table += &padded(user, 33);
        table += &padded(tty, 9);
        table += &padded(from, 257);
        table += &format!("{login:8} {idle:7}0.02s   ?    {command}\n");
    }
    table
}

/// `w` pads to bytes.
fn padded(text: &str, width: usize) -> String {
    text.to_owned() + &" ".repeat(width - text.len())
}

/// A program of this name that prints the table.
fn w(table: &str) -> PathBuf {
    let folder = folder();
    fs::write(folder.join("table"), table).unwrap();
    let script = format!("#!/bin/sh\ncat {}/table\n", folder.display());
    write_script(&folder.join("w"), &script);
    folder.join("w")
}

/// What the page needs, in pixels.
#[derive(Clone, Copy, Debug)]
struct Size {
    width: f64,
    height: f64,
}

const DESKTOP: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

/// Its sizes on a desktop and on a phone. Keeps the pictures in the folder that `PICTURES` names.
fn sizes(exporter: &Exporter, name: &str) -> [Size; 2] {
    let kept = env::var("PICTURES").map_or_else(|_| folder(), PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/screenshots/shoot");
    let mut shoot = Command::new(script);
    shoot.arg(format!("http://{}/", exporter.address));
    for (device, (width, height)) in [("desktop", DESKTOP), ("phone", PHONE)] {
        for scheme in ["light", "dark"] {
            let file = kept.join(format!("{name}-{device}-{scheme}.png"));
            shoot.args([scheme, &width.to_string(), &height.to_string()]).arg(file);
        }
    }
    let output = shoot.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let sizes: Vec<Size> = printed
        .lines()
        .map(|line| {
            let (width, height) = line.split_once(' ').unwrap();
            Size { width: width.parse().unwrap(), height: height.parse().unwrap() }
        })
        .collect();
    println!("{name}: {sizes:?}");
    let [desktop, _, phone, _] = sizes[..] else { panic!("{printed}") };
    assert!(desktop.width <= f64::from(DESKTOP.0), "{name}: {desktop:?}");
    assert!(phone.width <= f64::from(PHONE.0), "{name}: {phone:?}");
    [desktop, phone]
}

/// Two hundred sessions from addresses of all kinds, some of them long.
fn many() -> Vec<[String; 5]> {
    const USERS: [&str; 8] = [
        "alice",
        "bob",
        "carol",
        "dave",
        "erin",
        "grace",
        "heidi",
        "longusername_of_32_characters_00",
    ];
    let logins =
        [("Sat19", "3days"), ("15Oct26", "3:26m"), ("00:16", "1:13"), ("20Nov26", "2.00s")];
    let session = |number: usize| {
        let from = match number % 5 {
            0 => format!("203.0.113.{number}"),
            1 => format!("2001:db8:85a3:{number:x}:1319:8a2e:370:7344"),
            2 => format!("workstation-{number}.berlin.example.com"),
            3 => "-".to_owned(),
            _ => format!("tmux({number}).%0"),
        };
        let (login, idle) = logins[number / 3 % 4];
        let user = USERS[number % 8].to_owned();
        [user, format!("pts/{number}"), from, login.to_owned(), idle.to_owned()]
    };
    (0..200).map(session).collect()
}

const FEW: [[&str; 5]; 5] = [
    ["alice", "pts/0", "203.0.113.7", "00:16", "1:13"],
    ["alice", "pts/3", "tmux(1234).%0", "Sat19", "3days"],
    ["bob", "pts/1", "2001:db8:85a3:1234:1319:8a2e:370:7344", "00:02", "4.00s"],
    ["carol", "pts/2", "laptop.example.com", "20Nov26", "3:26m"],
    ["root", "tty1", "-", "15Oct26", "9days"],
];

#[test]
#[ignore = "needs Debian's chromium"]
fn it_fits_a_desktop_and_a_phone_with_any_number_of_sessions() {
    let many = many();
    let many: Vec<[&str; 5]> =
        many.iter().map(|session| session.each_ref().map(String::as_str)).collect();
    for sessions in [&FEW[..0], &FEW[..1], &FEW, &many] {
        let count = sessions.len();
        let w = w(&table(sessions, "vim notes.txt"));
        let exporter = Exporter::of(&w.display().to_string(), &[]);
        assert_eq!(exporter.get("/").body.matches("<tr><td").count(), count);
        let [desktop, phone] = sizes(&exporter, &format!("{count}-sessions"));
        if count == 200 {
            // Two lines of text for each session, and three where an address is long.
            assert!(phone.height < 200.0 * 80.0, "{phone:?}");
            assert!(desktop.height < 200.0 * 40.0, "{desktop:?}");
        }
    }
    let long = "java -Dproperty=value ".repeat(20);
    let w = w(&table(&FEW, &long));
    let commands = Exporter::of(&w.display().to_string(), &["--metrics.command=full"]);
    sizes(&commands, "commands");
}

#[test]
#[ignore = "needs root and Debian's chromium"]
fn it_fits_with_each_kind_of_failure_and_of_missing_sight() {
    for (name, command) in
        [("failed", "/no/such/w -i"), ("unreadable", "echo no table"), ("timeout", "sleep 9")]
    {
        sizes(&Exporter::of(command, &["--w.timeout=100ms"]), name);
    }
    let table = table(&FEW, "vim notes.txt");
    let not_in_utc =
        table.replacen(&table[1..3], if &table[1..3] == "05" { "06" } else { "05" }, 1);
    sizes(&Exporter::of(&w(&not_in_utc).display().to_string(), &[]), "not-in-utc");
    let more = w(&table.replace(" 5 users", " 7 users"));
    let proc = "mount -t proc -o hidepid=2 none /proc";
    let nobody = "setpriv --pdeathsig KILL --reuid=65534 --regid=65534 --clear-groups";
    for (name, before, arguments) in [
        ("session_files", "mount -t tmpfs none /run && exec", &[][..]),
        ("host_processes", "exec", &["--pid", "--mount-proc"]),
        ("other_users_processes", &format!("{proc} && exec {nobody}"), &[]),
        ("all-three", &format!("mount -t tmpfs none /run && {proc} && {nobody}"), &["--pid"]),
    ] {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--kill-child", "--fork"]).args(arguments);
        unshare.args(["sh", "-c", &format!("{before} \"$@\""), "sh", PROGRAM, "--w.command"]);
        let exporter = Exporter::start(unshare.arg(&more));
        let page = exporter.get("/").body;
        assert!(page.contains("Sessions may be missing:"), "{name}: {page}");
        sizes(&exporter, name);
    }
}

/// The page's document as the browser understands it.
fn document(exporter: &Exporter) -> String {
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
    chromium.args(["--no-first-run", "--disable-sync", "--disable-background-networking"]);
    chromium.args(["--disable-component-update", "--dump-dom"]);
    chromium.arg(format!("--user-data-dir={}", folder().display()));
    let output = chromium.arg(format!("http://{}/", exporter.address)).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs Debian's chromium"]
fn hostile_names_neither_run_nor_break_the_table() {
    let long = "a".repeat(256);
    let names = [
        ["<script>alert(1)</script>", "pts/0", "\"><img src=x onerror=alert(1)>", "00:16", "1:13"],
        ["</td></table>", "pts/1", "'\"&lt;", "00:16", "1:13"],
        ["\u{202e}evil\u{2066}", "pts/2", "\u{202e}moc.elpmaxe", "00:16", "1:13"],
        ["alice", "pts/3", &long, "00:16", "1:13"],
    ];
    let w = w(&table(&names, "<b>vim</b>"));
    let exporter = Exporter::of(&w.display().to_string(), &["--metrics.command=full"]);
    let document = document(&exporter);
    assert_eq!(document.matches("<tr>").count(), 1 + names.len(), "{document}");
    assert_eq!(document.matches("<td").count(), 6 * names.len(), "{document}");
    for element in ["<script", "<img", "<b>", "\u{202e}", "\u{2066}"] {
        assert!(!document.contains(element), "{element}: {document}");
    }
    assert!(document.contains(&long), "{document}");
    sizes(&exporter, "hostile");
}

#[test]
#[ignore = "needs Debian's chromium, curl, iproute2 and prometheus"]
fn the_pictures_of_the_readme_can_be_taken_anew() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/screenshots");
    let new = folder();
    let make = Command::new(pictures.join("make")).arg(&new).output().unwrap();
    assert!(make.status.success(), "{make:?}");
    for name in ["landing-page.png", "alert.png"] {
        // The first 24 bytes of a PNG file end in its width and its height.
        let [new, kept] = [&new, &pictures].map(|folder| fs::read(folder.join(name)).unwrap());
        for picture in [&new, &kept] {
            assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"), "{name}");
            assert!(picture.len() < 100_000, "{name}: {} bytes", picture.len());
        }
        assert_eq!(
            new[16..24],
            kept[16..24],
            "{name} is out of date: run contrib/screenshots/make"
        );
    }
}
