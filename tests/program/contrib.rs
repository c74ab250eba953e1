//! The files that run the exporter on servers and in containers, and what a container hides from
//! `w`. The folder has the recipe for many hosts.

mod fleet;

use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command,
};

use crate::harness::{Exporter, PROGRAM, folder, run, samples, without_variables};
use crate::{containers::SCRATCH, sshd::Sshd};
use serde_json::Value;

fn contrib(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file)
}

const UNIT: &str = "systemd/prometheus-what-active-users-exporter.service";
const INIT_SCRIPT: &str = "openrc/prometheus-what-active-users-exporter";

const FILES: [&str; 15] = [
    UNIT,
    INIT_SCRIPT,
    "openrc/prometheus-what-active-users-exporter.confd",
    "container/Dockerfile",
    "container/Dockerfile.debian",
    "container/what-active-users-exporter.container",
    "container/compose.yaml",
    "kubernetes/daemonset.yaml",
    "systemd/prometheus-what-active-users-exporter.default",
    "systemd/local-users.nft",
    "systemd/tls.conf",
    "kubernetes/namespace.yaml",
    "kubernetes/service.yaml",
    "kubernetes/networkpolicy.yaml",
    "kubernetes/podmonitor.yaml",
];

#[test]
fn every_flag_and_variable_in_them_exists() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let words = |text: &str| -> BTreeSet<String> {
        let separator = |char: char| !(char.is_ascii_alphanumeric() || "_-.".contains(char));
        let named = |word: &&str| {
            word.starts_with("EXPORTER_") || (word.starts_with("--") && word.contains('.'))
        };
        text.split(separator).filter(named).map(str::to_owned).collect()
    };
    let known = words(&help);
    let mut found = 0;
    for file in FILES {
        for word in words(&fs::read_to_string(contrib(file)).unwrap()) {
            assert!(known.contains(&word), "{file}: {word}");
            found += 1;
        }
    }
    assert!(found >= 3, "{found}");
}

/// The sample has only comments: each default, as in `--help`.
#[test]
fn the_sample_settings_have_every_variable_with_its_default() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let sample =
        fs::read_to_string(contrib("systemd/prometheus-what-active-users-exporter.default"))
            .unwrap();
    let mut shown = BTreeSet::new();
    for line in sample.lines().filter(|line| !line.is_empty()) {
        let comment = line.strip_prefix('#').unwrap_or_else(|| panic!("a setting: {line}"));
        if let Some((name, value)) = comment.split_once('=').filter(|(name, _)| !name.contains(' '))
        {
            assert!(help.contains(value), "{name}: {value} is not in --help");
            shown.insert(name.to_owned());
        }
    }
    // Each flag's own, and not the example of another name.
    let variable = |word: &str| {
        let word = word.strip_prefix('[')?.trim_end_matches([',', ']']);
        word.starts_with("EXPORTER_").then(|| word.to_owned())
    };
    let variables: BTreeSet<String> = help.split_whitespace().filter_map(variable).collect();
    // Only some builds have TLS.
    shown.remove("EXPORTER_WEB_CONFIG_FILE");
    // The unit's own, not the program's.
    assert!(shown.remove("ARGS"));
    assert!(variables.is_superset(&shown), "{shown:?}, {variables:?}");
    let missing: Vec<_> = variables.difference(&shown).collect();
    assert!(missing.iter().all(|name| *name == "EXPORTER_WEB_CONFIG_FILE"), "{missing:?}");
}

/// The Service, the policy and the DaemonSet select the same pods, in a namespace that allows them.
#[test]
#[ignore = "needs Debian's python3-yaml, and TEST_PYTHON with what .ci/run gives it"]
fn the_kubernetes_files_fit_together_and_match_their_schemas() {
    let read = |file: &str| -> Value {
        let output = Command::new("python3")
            .args([
                "-c",
                "import sys, yaml, json; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))",
            ])
            .arg(contrib(file))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{file}: {output:?}"))
    };
    let [daemons, namespace, service, policy, monitor] =
        ["daemonset", "namespace", "service", "networkpolicy", "podmonitor"]
            .map(|name| read(&format!("kubernetes/{name}.yaml")));
    for file in [&daemons, &service, &policy, &monitor] {
        assert_eq!(file["metadata"]["namespace"], namespace["metadata"]["name"]);
    }
    let labels = &namespace["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");
    let pods = &daemons["spec"]["template"]["metadata"]["labels"];
    assert!(pods.is_object());
    for selected in [
        &daemons["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
        &policy["spec"]["podSelector"]["matchLabels"],
        &monitor["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selected, pods);
    }
    let container = &daemons["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0]["name"], service["spec"]["ports"][0]["targetPort"]);
    for port in [&service["spec"]["ports"][0], &policy["spec"]["ingress"][0]["ports"][0]] {
        assert_eq!(container["ports"][0]["containerPort"], port["port"]);
    }
    let scraped = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    assert_eq!(container["ports"][0]["name"], *scraped);
    the_monitor_limits_and_drops_as_the_job_does(
        &monitor["spec"],
        &read("prometheus/prometheus-kubernetes.yml")["scrape_configs"][0],
    );
    // A job that finds pods by annotations, beside this one, would make each session twice.
    assert_eq!(daemons["spec"]["template"]["metadata"]["annotations"], Value::Null);
    // The image that the documented commands make, and that a release has.
    assert_eq!(container["image"], SCRATCH);
    assert_eq!(daemons["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/os"], "linux");
    for file in ["container/compose.yaml", "container/what-active-users-exporter.container"] {
        let text = fs::read_to_string(contrib(file)).unwrap();
        let named = |line: &str| line.ends_with(SCRATCH) && line.to_lowercase().contains("image");
        assert!(text.lines().any(named), "{file}");
    }
    they_match_their_schemas();
}

/// The job is for a Prometheus without the operator.
fn the_monitor_limits_and_drops_as_the_job_does(monitor: &Value, job: &Value) {
    assert_eq!(monitor["sampleLimit"], job["sample_limit"]);
    assert_eq!(monitor["labelValueLengthLimit"], job["label_value_length_limit"]);
    let dropped = &monitor["podMetricsEndpoints"][0]["metricRelabelings"][0]["regex"];
    assert_eq!(*dropped, job["metric_relabel_configs"][0]["regex"]);
}

/// Kubernetes' own, and those of the Prometheus operator.
fn they_match_their_schemas() {
    let root = env!("CARGO_MANIFEST_DIR");
    let says = |script: &str| {
        let output = Command::new("sh").args(["-ec", script]).current_dir(root).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said = says(
        "cd contrib/kubernetes && ${TEST_PYTHON:-python3} -m kubernetes_validate --strict \
            daemonset.yaml namespace.yaml service.yaml networkpolicy.yaml",
    );
    assert_eq!(said.matches(" passed for ").count(), 4, "{said}");
    let said = says(
        "{ contrib/kubernetes/prometheusrules contrib/prometheus/alerts.yml contrib/prometheus/site.yml
           echo ---
           cat contrib/kubernetes/podmonitor.yaml
         } | ${TEST_PYTHON:-python3} tests/program/contrib/prometheus_operator.py",
    );
    let kinds: Vec<&str> = said.lines().collect();
    assert_eq!(
        kinds,
        [
            "PrometheusRule what-alerts",
            "PrometheusRule what-site",
            "PodMonitor what-active-users-exporter"
        ]
    );
}

/// The unit must not restart after a wrong setting, which the program reports by its exit status.
#[test]
fn a_wrong_setting_ends_it_with_the_status_that_the_unit_does_not_restart_for() {
    let unit = fs::read_to_string(contrib(UNIT)).unwrap();
    for line in ["Restart=always", "RestartPreventExitStatus=2"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    assert_eq!(run(&["--listen.port", "http"]).status.code(), Some(2));
    assert_ne!(run(&["--listen.host", "192.0.2.1"]).status.code(), Some(2));
}

/// The files that Docker copies are enough for the build, and there are few.
#[test]
#[ignore = "needs cargo"]
fn the_docker_build_context_has_all_that_the_build_reads() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let ignore = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let mut lines = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let context = folder();
    for line in lines.filter_map(|line| line.strip_prefix('!')) {
        let path = root.join(line);
        let copied = Command::new("cp").arg("-r").arg(path).arg(&context).status().unwrap();
        assert!(copied.success(), "{line}");
    }
    let cargo = Command::new(env!("CARGO"))
        .args(["check", "--release", "--locked", "--offline"])
        .current_dir(&context)
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{cargo:?}");
}

#[test]
#[ignore = "needs Debian's systemd, shellcheck and python3-yaml"]
fn they_are_accepted_by_what_reads_them() {
    let folder = folder();
    let unit = folder.join("prometheus-what-active-users-exporter.service");
    let text = fs::read_to_string(contrib(UNIT)).unwrap();
    // The program is not installed at the path in the unit.
    fs::write(&unit, text.replace("/usr/local/bin/prometheus-what-active-users-exporter", PROGRAM))
        .unwrap();
    let says = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    // It looks for the man pages that the unit names: ours is not installed, but could be.
    let pages = folder.join("man1");
    fs::create_dir(&pages).unwrap();
    let page = contrib("man/prometheus-what-active-users-exporter.1");
    fs::copy(&page, pages.join(page.file_name().unwrap())).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg(&unit).env("MANPATH", format!("{}:", folder.display()));
    assert_eq!(says(&mut verify), "");
    let threshold = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    let score = says(Command::new("systemd-analyze").args(threshold).arg(&unit));
    println!("{}", score.lines().last().unwrap());

    says(Command::new("shellcheck").args(["-s", "dash"]).arg(contrib(INIT_SCRIPT)));
    let mode = fs::metadata(contrib(INIT_SCRIPT)).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "OpenRC runs only an executable script");
    let mut grep = Command::new("grep");
    grep.args(["-rlE", "--exclude-dir=node_modules", "^#!.*(bash|/sh)$", ".ci", "contrib"]);
    let scripts = says(grep.current_dir(env!("CARGO_MANIFEST_DIR")));
    assert!(scripts.contains(".ci/run\n") && scripts.contains("contrib/release\n"), "{scripts}");
    let mut shellcheck = Command::new("shellcheck");
    says(shellcheck.args(scripts.lines()).current_dir(env!("CARGO_MANIFEST_DIR")));
    for file in FILES.iter().filter(|file| file.ends_with(".yaml")) {
        says(
            Command::new("python3")
                .args(["-c", "import sys, yaml; yaml.safe_load(open(sys.argv[1]))"])
                .arg(contrib(file)),
        );
    }
}

/// Each of its functions is a step, but for those that steps use.
#[test]
fn ci_runs_all_its_steps_and_names_them_where_it_is_asked_for_another() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".ci/run");
    let refused = Command::new(&script).arg("no-such-step").output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    let (_, steps) = said.split_once("no-such-step: expected some of ").unwrap();
    let steps: BTreeSet<&str> = steps.split_whitespace().collect();
    let text = fs::read_to_string(script).unwrap();
    let functions: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_suffix("() {")).collect();
    let shared = BTreeSet::from(["again", "need", "with_programs", "with_python"]);
    assert_eq!(&functions - &shared, steps);
}

/// Starts the exporter after a script that hides something, in a separate mount namespace.
fn with_something_hidden(script: &str, namespaces: &[&str]) -> Exporter {
    let mut unshare = without_variables(Command::new("unshare"));
    unshare.args(["--mount", "--kill-child", "--fork"]).args(namespaces);
    Exporter::start(unshare.args(["sh", "-c", &format!("{script}\nexec \"$@\""), "sh", PROGRAM]))
}

#[test]
#[ignore = "needs root, Debian's openssh-server and procps"]
fn what_a_container_hides_each_gives_a_sign() {
    let sshd = Sshd::start();
    let login = sshd.login(&sshd.user("hidden"));
    let reported = |metrics: &str| -> u32 {
        let line = samples(metrics, "users_reported").pop().unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let sessions = |metrics: &str| samples(metrics, "each_session_currently_active").len();

    let as_nobody = "set -- setpriv --pdeathsig KILL --reuid=65534 --regid=65534 --clear-groups";
    let proc = |options: &str| format!("mount -t proc -o {options} none /proc; {as_nobody} \"$@\"");
    let in_group =
        format!("mount -t proc -o hidepid=2,gid=4242 none /proc; {as_nobody} --regid=4242 \"$@\"")
            .replace(" --regid=65534", "");
    let no_records = "mount -t tmpfs none /run && mkdir -p /run/systemd/sessions && \
                      for folder in /usr/lib/*/security; do mount -t tmpfs none \"$folder\"; done";
    for (name, script, namespaces, unseen, remedy) in [
        ("no records", no_records, &[][..], "login_records", "libpam-systemd"),
        ("no files", "mount -t tmpfs none /run", &[], "session_files", "/run/utmp"),
        ("other PIDs", "", &["--pid", "--mount-proc"], "host_processes", "--pid=host"),
        ("hidepid=1", &proc("hidepid=1"), &[], "other_users_processes", "gid="),
        ("hidepid=2", &proc("hidepid=2"), &[], "other_users_processes", "gid="),
        ("the group", &in_group, &[], "", ""),
        ("nothing hidden", "", &[], "", ""),
    ] {
        let exporter = with_something_hidden(script, namespaces);
        let metrics = exporter.metrics();
        let sources = samples(&metrics, "session_source_visible");
        println!("{name}: users_reported {}, sessions {}", reported(&metrics), sessions(&metrics));
        assert_eq!(sources.len(), 4, "{name}: {metrics}");
        for source in sources {
            // Whether this machine records logins without utmp depends on its packages.
            if name == "no files" && source.contains("login_records") {
                continue;
            }
            let seen = if unseen.is_empty() || !source.contains(unseen) { " 1" } else { " 0" };
            assert!(source.ends_with(seen), "{name}: {source}");
        }
        let page = exporter.get("/").body;
        if unseen.is_empty() {
            assert!(sessions(&metrics) >= 1, "{name}: {metrics}");
            assert!(!page.contains("Sessions may be missing:"), "{name}: {page}");
        } else {
            assert_eq!(sessions(&metrics), 0, "{name}: {metrics}");
            assert!(exporter.log()[1].contains(remedy), "{name}: {:?}", exporter.log());
            assert!(page.contains("Sessions may be missing:") && page.contains(remedy), "{page}");
            assert!(page.contains("No sessions are visible."), "{name}: {page}");
        }
    }
    drop(login);
}

/// In a separate network namespace, where the port in the rules is free.
#[test]
#[ignore = "needs root, Debian's nftables, prometheus (for its user) and busybox"]
fn the_firewall_rules_let_only_root_and_prometheus_connect() {
    let script = r#"
        busybox ip link set lo up && nft -f "$1" || exit
        "$2" --w.command 'echo no table' 2>/dev/null &
        until busybox wget -q -O /dev/null http://127.0.0.1:9839/-/healthy; do sleep 0.05; done
        for user in root prometheus nobody; do
            setpriv --reuid "$user" --clear-groups \
                busybox wget -q -O /dev/null http://127.0.0.1:9839/metrics 2>/dev/null
            echo "$user $?"
        done
        kill $!
    "#;
    let output = Command::new("timeout")
        .args(["30", "unshare", "--net", "sh", "-c", script, "sh"])
        .args([contrib("systemd/local-users.nft"), PROGRAM.into()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(said, "root 0\nprometheus 0\nnobody 1\n", "{output:?}");
}
