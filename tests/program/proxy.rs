//! Uses `contrib/nginx/what.conf` as an operator would: nginx with TLS and a password in front of
//! the exporter, and a Prometheus that scrapes through it.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::harness::{Exporter, FakeW, contrib, folder, free_port, sh, until, until_ready};
use crate::prometheus::Prometheus;

const PASSWORD: &str = "correct horse";

/// An nginx with this configuration, with other addresses and paths.
struct Nginx {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Nginx {
    fn before(exporter: &Exporter) -> Nginx {
        let folder = folder();
        let port = free_port();
        let shipped = contrib("nginx/what.conf");
        // The commands in the file's comments, with other names.
        let commands: Vec<&str> =
            shipped.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
        assert_eq!(commands.len(), 6, "{commands:?}");
        for command in commands {
            let command = command
                .replace("DNS:web1.example.com", "IP:127.0.0.1,IP:::1")
                .replace("openssl passwd -6", &format!("openssl passwd -6 '{PASSWORD}'"))
                .replace("/etc/nginx/", "");
            sh(&folder, &command);
        }
        let mut server = shipped;
        let own = |file: &str| folder.join(file).display().to_string();
        for (ours, the_tests) in [
            ("listen 9840 ", format!("listen 127.0.0.1:{port} ")),
            ("listen [::]:9840 ", format!("listen [::1]:{port} ")),
            ("127.0.0.1:9839", exporter.address.clone()),
            ("certificate /etc/nginx/what.crt", format!("certificate {}", own("what.crt"))),
            ("certificate_key /etc/nginx/what.key", format!("certificate_key {}", own("what.key"))),
            ("user_file /etc/nginx/", format!("user_file {}/", folder.display())),
        ] {
            assert!(server.contains(ours), "{ours} is not in what.conf");
            server = server.replace(ours, &the_tests);
        }
        if !has_ipv6() {
            server = server.replace(&format!("listen [::1]:{port} ssl;"), "");
        }
        fs::write(folder.join("what.conf"), server).unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};", folder.display()))
            .join("\n");
        let main = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{\nlog_format status '$status';\naccess_log {0}/statuses status;\n{temporary}\ninclude {0}/what.conf;\n}}\n",
            folder.display()
        );
        fs::write(folder.join("nginx.conf"), main).unwrap();
        let log = folder.join("log");
        let output = fs::File::create(&log).unwrap();
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .args(["-e", "stderr"]);
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().unwrap();
        let mut nginx = Nginx { process, port, folder };
        until_ready("nginx", &mut nginx.process, &log, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        nginx
    }

    fn scraped(&self, settings: &str) -> Prometheus {
        Prometheus::scraping(
            &format!("127.0.0.1:{}", self.port),
            &format!("    scheme: https\n{settings}"),
        )
    }

    /// The statuses of its answers so far.
    fn statuses(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("statuses")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    fn password(password: &str) -> String {
        format!("    basic_auth: {{username: prometheus, password: '{password}'}}\n")
    }

    fn authority(&self) -> String {
        format!("    tls_config: {{ca_file: {}/ca.crt}}\n", self.folder.display())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
#[ignore = "needs Debian's nginx, openssl and prometheus"]
fn prometheus_scrapes_through_nginx_with_a_password_and_an_authority_only() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    let nginx = Nginx::before(&exporter);
    let known = format!("{}{}", Nginx::password(PASSWORD), nginx.authority());
    let prometheus = nginx.scraped(&known);
    until("what_up is 1", || {
        let up = prometheus.query("what_up");
        up.first().is_some_and(|up| up["value"][1] == "1")
    });
    println!("{}", prometheus.query("what_user_sessions_currently_active{user=\"alice\"}")[0]);
    drop(prometheus);

    // A scrape has ended when both have logged it.
    until("the last scrape", || nginx.statuses().len() == fake.runs());
    let runs = fake.runs();
    for (settings, status) in [
        (nginx.authority(), Some("401")),
        (format!("{}{}", Nginx::password("wrong"), nginx.authority()), Some("401")),
        // Without the authority it does not send a request.
        (Nginx::password(PASSWORD), None),
    ] {
        let before = nginx.statuses().len();
        let prometheus = nginx.scraped(&settings);
        until("the refusal", || {
            let up = prometheus.query("up");
            up.first().is_some_and(|up| up["value"][1] == "0")
        });
        // nginx logs after it has answered. On a busy machine, the first scrape can end before
        // that.
        until("nginx's line", || status.is_none() || nginx.statuses().len() > before);
        assert_eq!(prometheus.query("what_up").len(), 0);
        drop(prometheus);
        let statuses = nginx.statuses().split_off(before);
        println!("{settings}{statuses:?}");
        assert_eq!(statuses.first().map(String::as_str), status);
        assert!(statuses.iter().all(|statuses| Some(statuses.as_str()) == status), "{statuses:?}");
    }
    assert_eq!(fake.runs(), runs, "a refused scrape came through");
}

/// The job for hosts with nginx, from the fleet's configuration, over IPv4 and IPv6.
#[test]
#[ignore = "needs Debian's nginx, openssl and prometheus"]
fn the_fleets_job_scrapes_through_nginx_with_https_and_a_password() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let nginx = Nginx::before(&exporter);
    let folder = folder();
    fs::create_dir_all(folder.join("targets/https")).unwrap();
    let mut targets = vec![format!("127.0.0.1:{}", nginx.port)];
    if has_ipv6() {
        targets.push(format!("[::1]:{}", nginx.port));
    } else {
        println!("skipped: IPv6, which this machine does not have");
    }
    let list = format!("- targets: ['{}']\n", targets.join("', '"));
    fs::write(folder.join("targets/https/all.yml"), list).unwrap();
    fs::write(folder.join("what.password"), PASSWORD).unwrap();
    let mut fleet = contrib("prometheus/prometheus-fleet.yml");
    for (ours, the_tests) in [
        ("/etc/prometheus/what.password", folder.join("what.password")),
        ("/etc/prometheus/what-ca.crt", nginx.folder.join("ca.crt")),
        ("targets/https/*.yml\"]", folder.join("targets/https/*.yml\"]")),
        ("  - alerts.yml\n  - site.yml\n", PathBuf::new()),
        (": 15s", PathBuf::from(": 1s")),
        (": 10s", PathBuf::from(": 1s")),
    ] {
        assert!(fleet.contains(ours), "{ours}");
        fleet = fleet.replace(ours, &the_tests.display().to_string());
    }
    let prometheus = Prometheus::configured(&fleet);
    for target in targets {
        let query = format!("what_up{{job='what-https', instance='{target}'}} == 1");
        until(&query, || !prometheus.query(&query).is_empty());
    }
}
