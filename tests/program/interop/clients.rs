//! Other programs send 1 to 200 requests at a time, more than there are connections to the loop. No
//! request is lost.

use std::process::Command;

use crate::{
    harness::{Exporter, FakeW},
    interop::{python, script},
};

const PARALLEL: [usize; 4] = [1, 16, 100, 200];

/// Requests of each client at a time, one after the other.
const EACH: usize = 20;

/// Runs a client at each level of parallelism. Its arguments are the URL, the number at a time, and
/// the total number.
fn ask_with(client: impl Fn(&str, usize, usize) -> Command, check: impl Fn(&str, usize)) {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    exporter.metrics();
    let url = format!("http://{}/metrics", exporter.address);
    for parallel in PARALLEL {
        let count = parallel * EACH;
        let output = client(&url, parallel, count).output().unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        println!("{parallel} at a time: {}", output.status);
        assert!(output.status.success(), "{parallel} at a time: {err}{out}");
        check(&out, count);
    }
    assert_eq!(exporter.log().len(), 1, "{:?}", exporter.log());
}

/// The client prints a line for each answer.
fn are_all_200(out: &str, count: usize) {
    let others: Vec<&str> = out.lines().filter(|&line| line != "200").collect();
    assert!(others.is_empty(), "{} of {count}: {others:?}", others.len());
    assert_eq!(out.lines().count(), count);
}

#[test]
#[ignore = "needs Debian's curl"]
fn curl_loses_nothing() {
    let curl = |url: &str, parallel: usize, count: usize| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--parallel", "--parallel-immediate"]);
        curl.args(["--parallel-max", &parallel.to_string(), "--max-time", "60"]);
        curl.args(["--output", "/dev/null", "--write-out", "%{http_code}\n"]);
        curl.arg(format!("{url}?[1-{count}]"));
        curl
    };
    ask_with(curl, are_all_200);
}

#[test]
#[ignore = "needs Debian's apache2-utils"]
fn ab_loses_nothing() {
    for keeps in [false, true] {
        let ab = |url: &str, parallel: usize, count: usize| {
            let mut ab = Command::new("ab");
            ab.args(keeps.then_some("-k")).args(["-q", "-s", "60"]);
            ab.args(["-c", &parallel.to_string(), "-n", &count.to_string(), url]);
            ab
        };
        ask_with(ab, |out, count| {
            let figure = |name: &str| {
                let value = out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                value.map(|value| value.trim().parse::<usize>().unwrap())
            };
            assert_eq!(figure("Complete requests"), Some(count), "{out}");
            assert_eq!(figure("Failed requests"), Some(0), "{out}");
            assert_eq!(figure("Non-2xx responses"), None, "{out}");
        });
    }
}

#[test]
#[ignore = "needs Debian's wrk"]
fn wrk_loses_nothing() {
    for fields in [&[][..], &["-H", "Connection: close"]] {
        let wrk = |url: &str, parallel: usize, _| {
            let mut wrk = Command::new("wrk");
            wrk.args(["-t", "1", "-d", "2s", "--timeout", "30s", "-c", &parallel.to_string()]);
            wrk.args(fields).arg(url);
            wrk
        };
        ask_with(wrk, |out, _| {
            println!("{out}");
            assert!(!out.contains("Socket errors") && !out.contains("Non-2xx"), "{out}");
            assert!(!out.contains(" 0 requests in"), "{out}");
        });
    }
}

#[test]
#[ignore = "needs Python's requests"]
fn requests_loses_nothing() {
    ask_with(
        |url, parallel, count| asks(python("requests_client.py"), url, parallel, count),
        are_all_200,
    );
}

#[test]
#[ignore = "needs Python's aiohttp"]
fn aiohttp_loses_nothing() {
    ask_with(
        |url, parallel, count| asks(python("aiohttp_client.py"), url, parallel, count),
        are_all_200,
    );
}

#[test]
#[ignore = "needs node"]
fn fetch_loses_nothing() {
    let node = || {
        let mut node = Command::new("node");
        node.arg(script("fetch.mjs"));
        node
    };
    ask_with(|url, parallel, count| asks(node(), url, parallel, count), are_all_200);
}

fn asks(mut client: Command, url: &str, parallel: usize, count: usize) -> Command {
    client.args([url, &parallel.to_string(), &count.to_string()]);
    client
}
