//! Hours of use in a minute: many scrapes and runs of `w`, some of which fail. Nothing may grow.
//! `SOAK_SECONDS` makes it longer.

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    attacks::siege::{Address, Calm, alone, exporter, recovery, scrape},
    harness::{Answer, Exporter, FakeW, PATIENCE},
};

/// Scrapes per second by each of four clients. Two keep their connection, and two connect for each
/// scrape.
const PACE: u32 = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Usage {
    resident_kb: u64,
    threads: u64,
    descriptors: usize,
}

impl Usage {
    fn of(exporter: &Exporter) -> Usage {
        Usage {
            resident_kb: exporter.status("VmRSS"),
            threads: exporter.status("Threads"),
            descriptors: exporter.descriptors(),
        }
    }

    fn most(self, other: Usage) -> Usage {
        Usage {
            resident_kb: self.resident_kb.max(other.resident_kb),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

#[test]
#[ignore = "takes a minute, or SOAK_SECONDS"]
fn nothing_grows_under_many_scrapes_and_failing_runs() {
    let _alone = alone();
    let seconds = std::env::var("SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    // One process number in ten ends with this digit.
    let fake = FakeW::new("");
    let w = fake.folder.join("w");
    let table = fake.folder.join("table");
    let script = format!("case $$ in *7) exit 1;; esac\nexec cat {}\n", table.display());
    std::fs::write(&w, script).unwrap();
    let exporter = exporter(&fake.command(), &["--scrape.interval=10ms"]);
    let calm = Calm::of(&exporter);
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let (scrapes, [early, late]) = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn({
                    let exporter = &exporter;
                    move || client(exporter, number % 2 == 0, end)
                })
            })
            .collect();
        let usage = watch(&exporter, began, end);
        let scrapes: u32 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        (scrapes, usage)
    });
    println!("{scrapes} scrapes; early at most {early:?}, late at most {late:?}");
    assert!(u64::from(scrapes) > seconds * 150, "the machine was too slow: {scrapes}");
    assert!(late.resident_kb <= early.resident_kb + 256, "{early:?} {late:?}");
    assert!(
        late.threads <= early.threads + 1 && late.descriptors <= early.descriptors + 4,
        "{early:?} {late:?}"
    );
    let metrics = exporter.metrics();
    let count = |outcome: &str| -> f64 {
        let name = format!("what_w_runs_total{{outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    let (ok, failed) = (count("ok"), count("failed"));
    println!("{ok} runs were well, {failed} failed");
    assert!(failed > ok / 20.0 && failed < ok / 5.0);
    assert_eq!(count("timeout") + count("unreadable"), 0.0);
    assert_eq!(exporter.children(), "");
    calm.uses_no_more(&exporter, recovery());
}

/// Scrapes at this rate until the end. Every scrape must be answered. Returns their number.
fn client(exporter: &Exporter, keeps: bool, end: Instant) -> u32 {
    let mut kept: Option<TcpStream> = keeps.then(|| exporter.connect());
    let mut count = 0;
    let mut next = Instant::now();
    while Instant::now() < end {
        match &mut kept {
            Some(stream) => {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                assert_eq!(Answer::read_one(stream).status, 200);
            }
            None => {
                let took = scrape(exporter.address(), PATIENCE).unwrap();
                if took > Duration::from_millis(250) {
                    println!("a scrape took {took:?}");
                }
            }
        }
        count += 1;
        next += Duration::from_secs(1) / PACE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    count
}

/// The largest use from a tenth to half of the time, and in the last half.
fn watch(exporter: &Exporter, began: Instant, end: Instant) -> [Usage; 2] {
    let whole = end - began;
    let mut halves = [None, None];
    let mut minute = 0;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
        let now = Usage::of(exporter);
        let past = began.elapsed();
        if past.as_secs() / 60 >= minute {
            println!("minute {minute}: {now:?}");
            minute += 1;
        }
        if past > whole / 10 {
            let half = &mut halves[usize::from(past > whole / 2)];
            *half = Some(half.map_or(now, |most: Usage| most.most(now)));
        }
    }
    halves.map(Option::unwrap)
}
