//! A Prometheus for the test, and its query API.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::harness::{folder, free_port, until_ready};

pub struct Prometheus {
    process: Child,
    port: u16,
}

impl Prometheus {
    /// Scrapes this address every second. `more` has further settings of the job, as YAML indented
    /// by four.
    pub fn scraping(target: &str, job: &str) -> Prometheus {
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nscrape_configs:\n  - job_name: what\n    static_configs: [{{targets: ['{target}']}}]\n{job}"
        );
        Prometheus::configured(&configuration)
    }

    pub fn configured(configuration: &str) -> Prometheus {
        Prometheus::started(
            Command::new("prometheus"),
            ["--config.file", "--storage.tsdb.path", "--web.listen-address"],
            configuration,
        )
    }

    /// Another program with this API, and its flags for the configuration, the storage and the
    /// address.
    pub fn started(mut command: Command, flags: [&str; 3], configuration: &str) -> Prometheus {
        let folder = folder();
        fs::write(folder.join("prometheus.yml"), configuration).unwrap();
        let port = free_port();
        command.arg(format!("{}={}", flags[0], folder.join("prometheus.yml").display()));
        command.arg(format!("{}={}", flags[1], folder.join("data").display()));
        command.arg(format!("{}=127.0.0.1:{port}", flags[2]));
        let log = folder.join("log");
        let output = File::create(&log).unwrap();
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().unwrap();
        let mut prometheus = Prometheus { process, port };
        until_ready("Prometheus", &mut prometheus.process, &log, || {
            get(port, "/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.0 200"))
        });
        prometheus
    }

    /// The series that an instant query returns.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let escaped = query.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02x}");
            text
        });
        let answer = get(self.port, &format!("/api/v1/query?query={escaped}")).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let json: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(json["status"], "success", "{query}: {json}");
        json["data"]["result"].as_array().unwrap().clone()
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
