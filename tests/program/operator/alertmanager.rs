//! An Alertmanager for the test, and what it sends.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use serde_json::Value;

use super::with;
use crate::harness::{folder, free_port, until_ready};

/// How the sample sends a mail. In the tests a webhook takes its place.
const MAIL: &str = "    email_configs:
      - to: ops@example.com
        from: alertmanager@example.com
        smarthost: \"localhost:25\"
        require_tls: false
";

/// An Alertmanager that sends its notifications to the test.
pub struct Alertmanager {
    process: Child,
    pub port: u16,
    notifications: Arc<Mutex<Vec<Notification>>>,
}

struct Notification {
    received: Instant,
    body: Value,
}

impl Alertmanager {
    /// Sends every alert at once.
    pub fn of_every_alert() -> Alertmanager {
        let configuration = "route: {receiver: mail, group_by: ['...'], group_wait: 0s, group_interval: 1s}\nreceivers:\n  - name: mail\n";
        Alertmanager::configured(&format!("{configuration}{MAIL}"))
    }

    /// Every mail goes to the test instead.
    pub fn configured(configuration: &str) -> Alertmanager {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hook = listener.local_addr().unwrap();
        let notifications = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&notifications);
        // Lives as long as the test.
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| take(stream, &received))
        });
        let folder: PathBuf = folder();
        let webhook = format!("    webhook_configs:\n      - url: 'http://{hook}/'\n");
        let configuration = with(configuration, &[(MAIL, &webhook)]);
        fs::write(folder.join("alertmanager.yml"), configuration).unwrap();
        let port = free_port();
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", folder.join("alertmanager.yml").display()));
        command.arg(format!("--storage.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        // No cluster, so it needs no second port.
        command.arg("--cluster.listen-address=");
        let log = folder.join("log");
        let output = File::create(&log).unwrap();
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().unwrap();
        let mut alertmanager = Alertmanager { process, port, notifications };
        until_ready("Alertmanager", &mut alertmanager.process, &log, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        alertmanager
    }

    /// The last notification of this alert for this user.
    pub fn last(&self, alert: &str, user: &str) -> Option<Value> {
        let notifications = self.notifications.lock().unwrap();
        let mut latest = notifications.iter().rev().flat_map(|received| alerts(&received.body));
        latest
            .find(|received| {
                received["labels"]["alertname"] == alert && received["labels"]["user"] == user
            })
            .cloned()
    }

    /// What a person is told of a host: each news about an alert, and when it came. If a
    /// notification about many hosts says the same again, beside news about another, it is no news.
    pub fn news(&self, host: &str) -> Vec<(Instant, String)> {
        let mut news: Vec<(Instant, String)> = Vec::new();
        for notification in self.notifications.lock().unwrap().iter() {
            let is_of_one = notification.body["groupLabels"]["instance"].is_string();
            for alert in alerts(&notification.body).filter(|alert| instance(alert) == host) {
                let label = |name: &str| alert["labels"][name].as_str();
                let user = label("user").map_or(String::new(), |user| format!(" of {user}"));
                let (status, name) = (alert["status"].as_str().unwrap(), label("alertname"));
                let told = format!("{status}: {}{user}", name.unwrap());
                let last = news.iter().rev().find(|(_, last)| same_alert(last, &told));
                if is_of_one || last.is_none_or(|(_, last)| *last != told) {
                    news.push((notification.received, told));
                }
            }
        }
        news
    }
}

fn alerts(notification: &Value) -> impl Iterator<Item = &Value> {
    notification["alerts"].as_array().into_iter().flatten()
}

fn instance(alert: &Value) -> &str {
    alert["labels"]["instance"].as_str().unwrap_or_default()
}

/// Whether two news are about one alert.
fn same_alert(one: &str, other: &str) -> bool {
    let alert = |news: &str| news.split_once(": ").map(|(_, alert)| alert.to_owned());
    alert(one) == alert(other)
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads one POST, and keeps the notification in it.
fn take(stream: TcpStream, received: &Mutex<Vec<Notification>>) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_ok() {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        received.lock().unwrap().push(Notification { received: Instant::now(), body });
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = reader.into_inner().write_all(answer);
    }
}
