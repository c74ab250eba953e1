//! The job with TLS, a password and a client certificate from the fleet's configuration, run by
//! Debian's Prometheus.

use std::fs;

use super::files::{Files, MUTUAL, PASSWORD, users};
use crate::{
    harness::{Exporter, FakeW, until},
    prometheus::Prometheus,
};

/// The fleet's configuration with this target, as it is but for the paths, the times and the rules.
fn scraping(files: &Files, target: &str) -> Prometheus {
    files.write("targets.yml", &format!("- targets: ['{target}']\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/prometheus/prometheus-fleet.yml");
    let mut fleet = fs::read_to_string(path).unwrap();
    let own = |file: &str| files.path(file).display().to_string();
    for (ours, the_tests) in [
        ("file: what.password", format!("file: {}", own("password"))),
        ("ca_file: what-ca.crt", format!("ca_file: {}", own("ca.crt"))),
        ("what-client.crt", own("client.crt")),
        ("what-client.key", own("client.key")),
        ("targets/tls/*.yml\"]", format!("{}\"]", own("targets.yml"))),
        ("  - alerts.yml\n  - site.yml\n", String::new()),
        (": 15s", ": 1s".to_owned()),
        (": 10s", ": 1s".to_owned()),
    ] {
        assert!(fleet.contains(ours), "{ours}");
        fleet = fleet.replace(ours, &the_tests);
    }
    Prometheus::configured(&fleet)
}

fn value(prometheus: &Prometheus, query: &str) -> Option<String> {
    let found = prometheus.query(query);
    found.first().map(|first| first["value"][1].as_str().unwrap().to_owned())
}

#[test]
#[ignore = "needs Debian's prometheus"]
fn prometheus_scrapes_with_https_a_password_and_a_client_certificate() {
    let files = Files::new(&format!("{MUTUAL}{}", users()));
    files.write("password", PASSWORD);
    let fake = FakeW::new("cat $TABLE");
    let arguments = ["--scrape.interval=0", "--web.config.file", &files.web()];
    let exporter = Exporter::of(&fake.command(), &arguments);
    let prometheus = scraping(&files, &exporter.address);
    let alice = "what_user_sessions_currently_active{job='what-tls', user='alice'}";
    until("alice", || value(&prometheus, alice).as_deref() == Some("2"));
    println!("{}", prometheus.query(alice)[0]);

    // The certificates are renewed and the password is changed while Prometheus scrapes.
    files.copy("renewed.crt", "server.crt");
    files.copy("renewed.key", "server.key");
    let other = bcrypt::hash("another", 4).unwrap();
    files.write("web.yml", &format!("{MUTUAL}basic_auth_users: {{prometheus: {other}}}\n"));
    until("it is refused", || value(&prometheus, "up{job='what-tls'}").as_deref() == Some("0"));
    files.write("password", "another");
    until("it is let in", || value(&prometheus, "up{job='what-tls'}").as_deref() == Some("1"));
    println!("{:#?}", exporter.log());
}

#[test]
#[ignore = "needs Debian's prometheus"]
fn prometheus_is_refused_without_the_certificate_or_the_password() {
    for (file, other) in
        [("password", None), ("client", Some("foreign")), ("client", Some("expired"))]
    {
        let files = Files::new(&format!("{MUTUAL}{}", users()));
        files.write("password", if file == "password" { "wrong" } else { PASSWORD });
        files.copy("client.crt", "right.crt");
        files.copy("client.key", "right.key");
        if let Some(other) = other {
            files.copy(&format!("{other}.crt"), "client.crt");
            files.copy(&format!("{other}.key"), "client.key");
        }
        let fake = FakeW::new("cat $TABLE");
        let exporter = Exporter::of(&fake.command(), &["--web.config.file", &files.web()]);
        let prometheus = scraping(&files, &exporter.address);
        until("the refusal", || value(&prometheus, "up{job='what-tls'}").as_deref() == Some("0"));
        assert_eq!(value(&prometheus, "what_up"), None);
        assert_eq!(fake.runs(), 0);
        // It was not down for another reason.
        files.write("password", PASSWORD);
        files.copy("right.crt", "client.crt");
        files.copy("right.key", "client.key");
        until("it is let in", || value(&prometheus, "up{job='what-tls'}").as_deref() == Some("1"));
    }
}
