//! Proxies and load balancers in front of the exporter, with persistent connections on both sides.

use std::{
    fs,
    io::{self, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::harness::{
    Answer, Exporter, FakeW, PATIENCE, folder, free_port, signal, until, until_ready,
};

/// Clients of a proxy at a time, and the requests of each.
const CLIENTS: usize = 16;
const EACH: usize = 25;

/// Counts the connections that a proxy makes to the exporter.
struct Relay {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    fn before(exporter: &Exporter) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay {
            address: listener.local_addr().unwrap().to_string(),
            connections: Arc::default(),
        };
        let (count, exporter) = (Arc::clone(&relay.connections), exporter.address.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&exporter) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    from.set_nodelay(true).unwrap();
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        relay
    }
}

/// A proxy, in the foreground and in a separate process group.
struct Proxy {
    process: Child,
    address: String,
}

impl Proxy {
    fn start(command: &mut Command, folder: &Path, port: u16) -> Proxy {
        let log = folder.join("log");
        let output = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        command.process_group(0);
        let address = format!("127.0.0.1:{port}");
        let mut proxy = Proxy { process: command.spawn().unwrap(), address };
        until_ready("the proxy", &mut proxy.process, &log, || {
            TcpStream::connect(&proxy.address).is_ok()
        });
        proxy
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        let mut stream = self.connect();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read_to_end(&mut stream)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = self.process.id();
        signal("TERM", &pid.to_string());
        for _ in 0..100 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        signal("KILL", &format!("-{pid}"));
        let _ = self.process.wait();
    }
}

/// Checks everything that a proxy could break. A proxy gets a folder, its own address and the
/// exporter's.
fn passes_through(command: impl Fn(&Path, u16, &str) -> Command, more: impl Fn(&Proxy)) {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=0"]);
    let relay = Relay::before(&exporter);
    let (folder, port) = (folder(), free_port());
    let proxy = Proxy::start(&mut command(&folder, port, &relay.address), &folder, port);
    formats_and_methods(&proxy);
    nothing_is_kept(&proxy, &fake);
    connections_are_kept(&proxy, &relay);
    more(&proxy);
    drop(exporter);
    let healthy = proxy.ask("GET", "/-/healthy", "").status;
    assert!([502, 503].contains(&healthy), "{healthy} of an exporter that is gone");
}

fn formats_and_methods(proxy: &Proxy) {
    let openmetrics = "Accept: application/openmetrics-text;version=1.0.0\r\n";
    for _ in 0..2 {
        let text = proxy.ask("GET", "/metrics", "");
        assert_eq!(text.status, 200, "{}", text.head);
        let kind = text.header("Content-Type");
        assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(text.body.contains("user=\"alice\"") && !text.body.contains("# EOF"), "{text:?}");
        let other = proxy.ask("GET", "/metrics", openmetrics);
        let kind = other.header("Content-Type").unwrap();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        assert!(other.body.ends_with("# EOF\n"), "{}", other.body);
        let head = proxy.ask("HEAD", "/metrics", "");
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("Content-Type"), text.header("Content-Type"));
    }
    assert_eq!(proxy.ask("GET", "/-/healthy", "").body, "healthy\n");
    assert_eq!(proxy.ask("GET", "/nothing", "").status, 404);
    assert_eq!(proxy.ask("GET", "/", "").status, 200);
}

/// A caching proxy does not cache these answers, so a user who logs out disappears at once.
fn nothing_is_kept(proxy: &Proxy, fake: &FakeW) {
    fake.becomes("sed 's/alice/carol/' $TABLE");
    for path in ["/metrics", "/"] {
        let body = proxy.ask("GET", path, "").body;
        assert!(body.contains("carol") && !body.contains("alice"), "{body}");
    }
    fake.becomes("cat $TABLE");
}

fn connections_are_kept(proxy: &Proxy, relay: &Relay) {
    let before = relay.connections.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut stream = proxy.connect();
                for _ in 0..EACH {
                    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                    assert_eq!(Answer::read_one(&mut stream).status, 200);
                }
            });
        }
    });
    let made = relay.connections.load(Ordering::Relaxed) - before;
    println!("{made} connections for {} requests", CLIENTS * EACH);
    assert!(made < CLIENTS * EACH / 4, "{made}");
}

fn configured(program: &str, folder: &Path, text: &str) -> Command {
    let file = folder.join("configuration");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command.arg("-f").arg(file);
    command
}

#[test]
#[ignore = "needs Debian's nginx"]
fn nginx_passes_everything_through() {
    let nginx = |folder: &Path, port: u16, exporter: &str| {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};\n"))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;
            events {{}}
            http {{
                access_log off;
                {temporary}
                proxy_cache_path cache keys_zone=cache:1m;
                upstream exporter {{ server {exporter}; keepalive 16; }}
                server {{
                    listen 127.0.0.1:{port};
                    proxy_http_version 1.1;
                    proxy_set_header Connection \"\";
                    proxy_cache cache;
                    proxy_cache_valid any 10m;
                    location / {{ proxy_pass http://exporter; }}
                }}
            }}"
        );
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        command.args(["-e", "stderr"]);
        command
    };
    passes_through(nginx, |_| {});
}

#[test]
#[ignore = "needs Debian's haproxy"]
fn haproxy_passes_everything_through_and_finds_the_exporter_well() {
    let haproxy = |folder: &Path, port: u16, exporter: &str| {
        let text = format!(
            "defaults
                mode http
                timeout connect 5s
                timeout client 30s
                timeout server 30s
            frontend clients
                bind 127.0.0.1:{port}
                stats enable
                stats uri /haproxy
                default_backend exporters
            backend exporters
                option httpchk
                server exporter {exporter} check inter 200ms\n"
        );
        let mut command = configured("haproxy", folder, &text);
        command.arg("-db");
        command
    };
    passes_through(haproxy, |proxy| {
        let check = |name: &str| {
            let table = proxy.ask("GET", "/haproxy;csv", "").body;
            let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
            let titles = lines.find(|row| row[0] == "# pxname").unwrap();
            let column = titles.iter().position(|&title| title == name).unwrap();
            let row = lines.find(|row| row[..2] == ["exporters", "exporter"]).unwrap();
            row[column].to_owned()
        };
        until("the check", || check("check_status") == "L7OK");
        assert_eq!([check("check_code"), check("status")], ["204", "UP"]);
    });
}

#[test]
#[ignore = "needs Debian's varnish"]
fn varnish_passes_everything_through_and_keeps_nothing() {
    let varnish = |folder: &Path, port: u16, exporter: &str| {
        let mut command = Command::new("varnishd");
        command
            .args(["-F", "-j", "none", "-s", "malloc,16m"])
            .arg("-n")
            .arg(folder.join("varnish"));
        command.args(["-a", &format!("127.0.0.1:{port}"), "-b", exporter]);
        command
    };
    passes_through(varnish, |_| {});
}

#[test]
#[ignore = "needs Debian's apache2"]
fn apache_passes_everything_through() {
    let apache = |folder: &Path, port: u16, exporter: &str| {
        let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http"]
            .map(|name| {
                format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
            })
            .concat();
        let text = format!(
            "ServerRoot {0}
            PidFile {0}/pid
            ErrorLog {0}/error.log
            DefaultRuntimeDir {0}
            ServerName localhost
            {modules}
            Listen 127.0.0.1:{port}
            ProxyPass / http://{exporter}/\n",
            folder.display()
        );
        let mut command = configured("apache2", folder, &text);
        command.arg("-DFOREGROUND");
        command
    };
    passes_through(apache, |_| {});
}
