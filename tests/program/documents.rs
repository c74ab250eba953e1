//! Checks the documents: their links, their tables, their commands, and the output that they show.
//! A new sentence in a document needs no test here; a new table or promise does.
//!
//! A comment before each block of commands in the README and in `docs` says where it runs:
//! `anywhere`, in a `clone`, by `.ci/run`, for `tls`, or on a `machine` that is booted for this, in
//! the order of the numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::booted::{
    kinds::{KINDS, SYSTEMS},
    logins,
    machine::Machine,
};
use crate::{
    harness::{
        FakeW, PROGRAM, copy_program, fixture, folder, once, run, within, without_variables,
        write_script,
    },
    release,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(file: &str) -> String {
    let path = Path::new(ROOT).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn readme() -> String {
    text("README.md")
}

/// The paths below a folder of the repository, without what was built or downloaded.
fn files_below(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}{name}");
        if !entry.file_type().unwrap().is_dir() {
            files.push(path);
        } else if !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
            files.extend(files_below(&format!("{path}/")));
        }
    }
    files.sort();
    files
}

/// The Markdown files below a folder, and their texts.
fn documents_below(folder: &str) -> BTreeMap<String, String> {
    let files = files_below(folder).into_iter().filter(|file| file.ends_with(".md"));
    files.map(|file| (file.clone(), text(&file))).collect()
}

/// A command, and the output that a document shows.
#[derive(Debug)]
pub struct Shown {
    place: String,
    pub command: String,
    answer: Vec<String>,
}

/// The commands of all `console` blocks of the README and of `docs`, in order.
fn shown() -> Vec<Shown> {
    let mut all = shown_in(&readme());
    for document in documents_below("docs/").values() {
        all.extend(shown_in(document));
    }
    assert!(all.len() > 10, "{all:#?}");
    all
}

fn shown_in(document: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut place = None;
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("<!-- test: ") {
            place = comment.strip_suffix(" -->").map(str::to_owned);
        }
        if line != "```console" {
            continue;
        }
        let place =
            place.take().unwrap_or_else(|| panic!("a block does not say where it is tested"));
        for line in lines.by_ref().take_while(|line| *line != "```") {
            match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => all.push(Shown {
                    place: place.clone(),
                    command: command.to_owned(),
                    answer: Vec::new(),
                }),
                (None, Some(last)) => last.answer.push(line.to_owned()),
                (None, None) => panic!("an answer to no command: {line}"),
            }
        }
    }
    all
}

pub fn shown_at(place: &str) -> Vec<Shown> {
    shown().into_iter().filter(|shown| shown.place == place).collect()
}

/// The line with each number, version, time or address replaced by `0`, because they differ in
/// every run.
fn masked(line: &str) -> String {
    let is_figure = |char: char| char.is_ascii_digit() || char == '.';
    let mut masked = String::new();
    for char in line.chars() {
        if !is_figure(char) {
            masked.push(char);
        } else if !masked.ends_with('0') {
            masked.push('0');
        }
    }
    masked
}

impl Shown {
    /// How the output differs from what is shown; `None` if it does not. `…` stands for any lines.
    fn fault(&self, output: &Output) -> Option<String> {
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<String> = said.lines().map(masked).collect();
        let is_as_shown = match self.answer.as_slice() {
            [] => output.status.success(),
            [all] if all == "…" => output.status.success(),
            answer => lines == answer.iter().map(|line| masked(line)).collect::<Vec<_>>(),
        };
        (!is_as_shown).then(|| format!("{}: {}\n{said}", self.command, output.status))
    }
}

/// The anchors of a document, as GitHub makes them from its headings.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings =
        document.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let anchor = |heading: &str| -> String {
        let heading = heading.to_lowercase();
        let kept = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        kept.map(|char| if char == ' ' { '-' } else { char }).collect()
    };
    headings.map(anchor).collect()
}

/// Links to files lead to a file, and those with an anchor to a heading. Others are not followed.
#[test]
fn every_link_leads_somewhere() {
    let documents = documents_below("");
    let mut count = 0;
    for (name, document) in &documents {
        let folder = Path::new(ROOT).join(name).parent().unwrap().to_owned();
        for link in document.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = match file {
                "" => Path::new(ROOT).join(name),
                file => folder.join(file),
            };
            assert!(path.exists(), "{name}: {link}");
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&path).unwrap());
                assert!(anchors.contains(anchor), "{name}: {link}: {anchors:?}");
            }
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn the_readme_is_short_and_leads_to_every_other_document() {
    let readme = readme();
    let lines = readme.lines().count();
    assert!(lines <= 250, "{lines} lines");
    for document in documents_below("docs/").keys().map(String::as_str).chain(["CONTRIBUTING.md"]) {
        assert!(readme.contains(&format!("]({document}")), "{document}");
    }
}

/// The first cells of all rows of tables, without backquotes.
fn first_cells() -> Vec<String> {
    let readme = readme();
    let cells = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.map(|cell| cell.replace('`', "")).collect()
}

#[test]
fn the_table_of_flags_is_that_of_the_help() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let help: Vec<&str> = help.split_whitespace().collect();
    let help = help.join(" ");
    let cells = first_cells();
    let flags = help.split(' ').filter(|word| word.starts_with("--") && word.contains('.'));
    for flag in flags.collect::<BTreeSet<_>>() {
        assert!(cells.iter().any(|cell| cell == flag), "{flag} is not in the README");
    }
    let mut rows = 0;
    for line in readme().lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let (flag, variable, default) = (&cells[1], &cells[2], &cells[3]);
        if !variable.is_empty() {
            let said = match default.as_str() {
                "" => format!("[{variable}]"),
                default => format!("[{variable}, default {default}]"),
            };
            assert!(help.contains(&said), "{flag}: {said} is not in --help");
            rows += 1;
        }
    }
    assert_eq!(rows, help.matches("[EXPORTER_").count());
}

#[test]
fn the_table_of_metrics_has_every_metric_with_its_labels() {
    let w = format!("cat {}", fixture("captures/debian12-procps-4.0.2/mix.i.txt"));
    let metrics = once(&["--w.command", &w, "--metrics.command=full"]);
    let readme = readme();
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE what_"));
    let mut count = 0;
    for family in families {
        let (name, kind) = family.split_once(' ').unwrap();
        let row = format!("| `{name}` | {kind} | ");
        let row = readme.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("the README has no {name}, a {kind}"));
        let sample = metrics.lines().find_map(|line| line.strip_prefix(&format!("what_{name}{{")));
        for label in
            ["ip", "user", "tty", "command", "origin", "version", "outcome", "target", "tls"]
        {
            let has =
                sample.is_some_and(|sample| format!(",{sample}").contains(&format!(",{label}=\"")));
            let labels = row.split(" | ").nth(2).unwrap();
            assert_eq!(labels.contains(&format!("`{label}`")), has, "{label}: {row}");
        }
        count += 1;
    }
    assert!(count > 10, "{metrics}");
}

/// The cells in bold are those that the tests on booted machines expect, and no others.
#[test]
fn the_table_of_sessions_has_what_is_seen_on_booted_machines() {
    let sessions = text("docs/sessions.md");
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows = sessions.lines().skip_while(|line| !line.starts_with("| kind of session |"));
    let systems = cells(rows.next().unwrap());
    let named = systems.join(" ");
    for system in ["Ubuntu 22.04", "Ubuntu 24.04", "RHEL 8, 9", "RHEL 10", "Alpine"] {
        assert!(named.contains(system), "{system}: {named}");
    }
    let mut kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    for row in rows.skip(1).take_while(|line| line.starts_with('|')).map(cells) {
        assert_eq!(row.len(), systems.len(), "{row:?}");
        let kind = KINDS.iter().find(|kind| kind.name == row[0]);
        kinds.retain(|kind| *kind != row[0]);
        for (system, cell) in systems.iter().zip(&row).skip(1) {
            let tried = SYSTEMS.iter().position(|tried| tried == system);
            match kind.zip(tried) {
                Some((kind, tried)) => assert_eq!(*cell, format!("**{}**", kind.seen[tried])),
                None => assert!(!cell.is_empty() && !cell.contains('*'), "{system}: {row:?}"),
            }
        }
    }
    assert_eq!(kinds, [""; 0], "these have no row");
}

#[test]
fn the_table_of_alerts_has_every_alert_with_its_severity() {
    let readme = readme();
    let mut named = BTreeSet::new();
    for file in ["alerts.yml", "site.yml", "alerts-remote.yml"] {
        for alert in text(&format!("contrib/prometheus/{file}")).split("- alert: ").skip(1) {
            let name = alert.lines().next().unwrap();
            let severity = alert.split("severity: ").nth(1).unwrap().lines().next().unwrap();
            let row = format!("\n| `{name}` | {severity} | ");
            assert!(readme.contains(&row), "{row}");
            named.insert(format!("`{name}`"));
        }
    }
    assert!(named.len() > 10, "{named:?}");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let rows: BTreeSet<String> =
        rows.filter(|cell| cell.starts_with("`What")).map(str::to_owned).collect();
    assert_eq!(rows, named);
}

#[test]
fn the_readme_names_every_file_for_prometheus() {
    let readme = readme();
    for file in files_below("contrib/prometheus/") {
        assert!(file.ends_with("_test.yml") || readme.contains(&file), "{file}");
    }
}

#[test]
fn install_md_states_the_version_of_rust_that_the_manifest_requires() {
    let manifest = text("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap();
    let said = format!("Rust {} or later", version.trim_end_matches('"'));
    assert!(text("docs/install.md").contains(&said), "{said}");
}

#[test]
fn a_released_version_has_its_date_in_the_changelog() {
    let date = |line: &str| {
        let (version, date) = line.split_once("] - ")?;
        (version == env!("CARGO_PKG_VERSION")).then(|| date.to_owned())
    };
    let changelog = text("CHANGELOG.md");
    let date = changelog.lines().find_map(|line| date(line.strip_prefix("## [")?));
    let date = date.expect("the version of the manifest");
    let is_date = date.len() == 10 && date.split('-').all(|part| part.parse::<u32>().is_ok());
    assert!(is_date, "{date}");
}

#[test]
#[ignore = "needs Debian's prometheus"]
fn prometheus_accepts_the_scrape_configurations() {
    let mut count = 0;
    for (name, document) in documents_below("") {
        for snippet in document.split("```yaml\n").skip(1) {
            let (snippet, _) = snippet.split_once("```").unwrap();
            let folder = folder();
            let file = folder.join("prometheus.yml");
            fs::write(&file, snippet).unwrap();
            // What the snippets name.
            for named in ["server.crt", "what.password"] {
                fs::write(folder.join(named), "").unwrap();
            }
            let checked = Command::new("promtool").args(["check", "config"]).arg(file).output();
            let checked = checked.unwrap();
            assert!(checked.status.success(), "{name}: {checked:?}");
            count += 1;
        }
    }
    assert!(count > 1, "{count}");
}

/// The modules of tests that the commands in a text name, such as `real::`.
fn modules_in(text: &str) -> BTreeSet<&str> {
    let names = text.split([' ', '`', '\n']).filter(|word| word.ends_with("::"));
    names.filter_map(|name| name.split("::").next()).collect()
}

#[test]
fn every_check_that_is_documented_is_run_by_ci() {
    let (contributing, ci) = (text("CONTRIBUTING.md"), ci());
    let named = modules_in(&contributing);
    assert!(named.len() > 5, "{named:?}");
    let missing: Vec<_> = named.difference(&modules_in(&ci)).copied().collect();
    assert_eq!(missing, [""; 0], "not in .ci");
}

#[test]
fn every_ignored_test_is_run_by_ci_and_its_module_documented() {
    let tests =
        Command::new(std::env::current_exe().unwrap()).args(["--ignored", "--list"]).output();
    let tests = String::from_utf8(tests.unwrap().stdout).unwrap();
    let ignored: BTreeSet<&str> =
        tests.lines().filter_map(|test| Some(test.split_once("::")?.0)).collect();
    assert!(ignored.len() > 5, "{tests}");
    for (name, text) in [(".ci", ci()), ("CONTRIBUTING.md", text("CONTRIBUTING.md"))] {
        let missing: Vec<_> = ignored.difference(&modules_in(&text)).copied().collect();
        assert_eq!(missing, [""; 0], "not in {name}");
    }
}

/// The scripts that CI runs.
fn ci() -> String {
    let folder = fs::read_dir(Path::new(ROOT).join(".ci")).unwrap();
    folder.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// Runs a command in a folder, with the program and this `w` in the PATH.
fn run_in(folder: &Path, command: &str) -> Output {
    let programs = PathBuf::from(PROGRAM);
    let path = format!(
        "{}:{}:{}",
        folder.join("bin").display(),
        programs.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut sh = without_variables(Command::new("sh"));
    sh.args(["-c", command]).current_dir(folder).env("PATH", path).output().unwrap()
}

#[test]
fn commands_that_work_anywhere_answer_as_shown() {
    let fake = FakeW::new("cat $TABLE");
    fs::create_dir(fake.folder.join("bin")).unwrap();
    let script = format!("#!/bin/sh\nexec {}\n", fake.command());
    write_script(&fake.folder.join("bin/w"), &script);
    let commands = shown_at("anywhere");
    assert!(!commands.is_empty());
    for shown in commands {
        assert_eq!(shown.fault(&run_in(&fake.folder, &shown.command)), None);
    }
}

/// A run that fails tells so in the file. One that prints nothing leaves the file to grow old.
#[test]
fn the_command_for_the_textfile_collector_replaces_the_file_by_each_whole_answer() {
    let document = text("docs/install.md");
    let (_, section) = document.split_once("textfile collector\n").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (command, _) = block.split_once("\n```").unwrap();
    let collected = folder();
    let place = "/var/lib/prometheus/node-exporter";
    assert!(command.starts_with(&format!("cd {place} && ")), "{command}");
    let command = command.replace(place, collected.to_str().unwrap());
    let file = || fs::read_to_string(collected.join("what.prom")).unwrap();

    let fake = FakeW::new("cat $TABLE");
    fs::create_dir(fake.folder.join("bin")).unwrap();
    let script = format!("#!/bin/sh\nexec {}\n", fake.command());
    write_script(&fake.folder.join("bin/w"), &script);
    run_in(&fake.folder, &command);
    assert!(file().contains("user=\"alice\""), "{}", file());
    fake.becomes("exit 1");
    run_in(&fake.folder, &command);
    let failed = file();
    let up = failed.lines().find(|line| line.starts_with("what_up{")).unwrap();
    assert!(up.ends_with(" 0") && !failed.contains("alice"), "{failed}");
    let wrong = command.replace("--once", "--once --w.timeout=0");
    run_in(&fake.folder, &wrong);
    assert_eq!(file(), failed);
}

#[test]
fn the_first_sample_is_short_and_about_sessions_only() {
    let shown = shown();
    let first = shown.iter().find(|shown| shown.command.contains("/metrics")).unwrap();
    let are_of_sessions = first.answer.iter().all(|line| line.starts_with("what_each"));
    assert!((1..10).contains(&first.answer.len()) && are_of_sessions, "{first:?}");
}

/// In a separate network namespace, where the default port is free.
#[test]
#[ignore = "needs root, and builds the program"]
fn the_program_starts_from_a_clone() {
    let commands = shown_at("clone");
    assert_eq!(commands.len(), 1, "{commands:#?}");
    let script = format!("ip link set lo up && exec {}", commands[0].command);
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--pid", "--fork", "--kill-child", "sh", "-c", &script]);
    let mut child = unshare.current_dir(ROOT).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let listens = said.lines().map_while(Result::ok).find(|line| line.contains(" listens on "));
    child.kill().unwrap();
    child.wait().unwrap();
    let address = "http://127.0.0.1:9839/metrics";
    assert!(listens.is_some_and(|line| line.ends_with(address)));
    assert!(text("docs/install.md").contains(address));
}

/// Makes the folder in which the documents' commands run: a clone with what `cargo build
/// --release` makes there, and with those files of the release that a user of this host downloads.
fn put_clone(machine: &Machine) {
    let clone = machine.path("/root/clone");
    fs::create_dir_all(clone.join("target/release")).unwrap();
    copy_program(PROGRAM, clone.join("target/release").join(env!("CARGO_PKG_NAME")));
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(Path::new(ROOT).join("contrib"));
    copy.arg(release::file("-", "-x86_64-unknown-linux-musl"));
    copy.arg(release::file("_", "-1_amd64.deb")).arg(release::folder_of_files().join("SHA256SUMS"));
    assert!(copy.arg(&clone).status().unwrap().success());
}

/// With alice's key, which root has.
fn log_mallory_in(machine: &Machine) {
    let to = logins::TO_ALICE.replace("alice@", "mallory@");
    machine.says(&format!(
        "useradd --create-home --shell /bin/bash mallory
         cp -r /home/alice/.ssh /home/mallory/ && chown -R mallory: /home/mallory/.ssh
         ssh -tt {to} 'exec sleep 1000' </dev/null >/dev/null 2>&1 &"
    ));
}

#[test]
#[ignore = "boots a container"]
fn the_commands_work_on_a_new_debian_13() {
    let machine =
        Machine::boot_with("trixie", &["curl", "prometheus", "openssl", "apache2-utils"], &[]);
    logins::prepare(&machine);
    // As Debian's installer writes it.
    machine.says("printf '127.0.0.1 localhost\\n127.0.1.1 web1.example.com web1\\n' >/etc/hosts");
    machine.says("hostname web1");
    put_clone(&machine);
    for step in 1..=7 {
        match step {
            2 => logins::log_in(&machine),
            4 => log_mallory_in(&machine),
            _ => {}
        }
        let commands = shown_at(&format!("machine {step}"));
        assert!(!commands.is_empty(), "step {step}");
        let mut folder = "/root/clone";
        for shown in &commands {
            let mut fault = None;
            within(Duration::from_secs(120), &shown.command, || {
                let output = machine.run(&format!("cd {folder} && {}", shown.command));
                let before = fault.take();
                fault = shown.fault(&output);
                if fault.is_some() && fault != before {
                    println!("{}", fault.as_deref().unwrap_or_default());
                }
                // An output with values may take a while. A command without output must work at
                // once.
                assert!(fault.is_none() || !shown.answer.is_empty(), "{fault:?}");
                fault.is_none()
            });
            folder = shown.command.strip_prefix("cd ").unwrap_or(folder);
            println!("{step}: {}", shown.command);
        }
    }
    assert!(machine.try_get("/metrics").is_none());
}
