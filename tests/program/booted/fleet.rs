//! The recipe for many hosts, `contrib/fleet`, tried on one that it reaches over ssh. Needs
//! `EXPORTER_RELEASE`, see `release`.

use std::fs;

use super::{
    logins,
    machine::{Machine, NAME},
    package::{SETTINGS, newer_package, transcribe},
    sessions,
};
use crate::{
    harness::{contrib, until},
    release,
};

#[test]
#[ignore = "boots a container, needs EXPORTER_RELEASE"]
fn the_recipe_for_many_hosts_lets_in_only_the_prometheus_that_has_a_certificate() {
    // The same packages as in another test, for the same tree.
    let packages = ["curl", "prometheus", "openssl", "apache2-utils"];
    let machine = Machine::boot_with("trixie", &packages, &[]);
    logins::prepare(&machine);
    logins::log_in(&machine);
    fs::create_dir(machine.path("/root/fleet")).unwrap();
    fs::copy(release::file("_", "-1_amd64.deb"), machine.path("/root/fleet/package.deb")).unwrap();
    machine.write("/root/fleet/install", contrib("fleet"));
    let client = "IdentityFile /root/key\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n";
    machine.write("/root/.ssh/config", client);

    // A newer one has other comments among the settings, to which the recipe has added one.
    let newer = newer_package(|files| {
        let settings = files.join(&SETTINGS[1..]);
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(settings, format!("# New.\n{text}")).unwrap();
    });
    fs::copy(newer, machine.path("/root/fleet/newer.deb")).unwrap();

    // The second time is an upgrade, and renews the certificates.
    for package in ["package.deb", "newer.deb"] {
        let said = transcribe(
            &machine,
            &format!("cd /root/fleet && bash install ./{package} {}", logins::FROM),
        );
        assert_eq!(said, format!("{}: installed, and answers over TLS", logins::FROM));
    }
    assert!(machine.says(&format!("dpkg-query -W {NAME}")).ends_with("-2"));
    machine.says(&format!("grep -q ^EXPORTER_LISTEN_HOST= {SETTINGS}"));
    transcribe(
        &machine,
        "ls -l /root/fleet /root/fleet/targets/tls && cat /root/fleet/targets/tls/fleet.yml",
    );
    let scrape = |options: &str| {
        let address = format!("https://{}:9839/metrics", logins::FROM);
        machine.run(&format!("cd /root/fleet && curl -s --cacert what-ca.crt {options} {address}"))
    };
    let mut seen = Vec::new();
    until("alice", || {
        let output = scrape("--cert what-client.crt --key what-client.key");
        seen = sessions(&String::from_utf8(output.stdout).unwrap());
        !seen.is_empty()
    });
    println!("(a scrape with the certificate) {seen:?}");
    assert!(seen.len() == 1 && seen[0].contains("user=\"alice\""), "{seen:?}");
    let refused = scrape("");
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");

    // Prometheus' own look at the job that the recipe names, without a password.
    let config = contrib("prometheus/prometheus-fleet.yml");
    let (before, job) = config.split_once("  - job_name: what-tls\n").unwrap();
    let password =
        "    basic_auth:\n      username: prometheus\n      password_file: what.password\n";
    assert!(job.contains(password), "{job}");
    let job = job.replacen(password, "", 1);
    machine
        .write("/etc/prometheus/prometheus.yml", format!("{before}  - job_name: what-tls\n{job}"));
    for file in ["alerts.yml", "site.yml"] {
        machine.write(&format!("/etc/prometheus/{file}"), contrib(&format!("prometheus/{file}")));
    }
    transcribe(
        &machine,
        "cd /root/fleet && cp -r what-ca.crt what-client.crt targets /etc/prometheus/
         install -m 640 -g prometheus what-client.key /etc/prometheus/
         systemctl restart prometheus",
    );
    let query = "promtool query instant http://127.0.0.1:9090 'what_each_session_currently_active'";
    let mut found = String::new();
    until("the session in Prometheus", || {
        found = String::from_utf8(machine.run(query).stdout).unwrap();
        found.contains("user=\"alice\"")
    });
    println!("# {query}\n{found}");
}
