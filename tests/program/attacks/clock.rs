//! The clock is set an hour back and forward, as on a machine whose time was wrong when it started.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use what::{
    cache::Cache,
    cli::{self, Task},
    clock::{Clock, Moment},
    collector::Collector,
    command::child::{Meanwhile, Next},
    exposition::Format,
    landing_page::Settings,
};

use crate::{
    attacks::siege::{alone, binary},
    harness::{Exporter, FakeW, TABLE, until},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Two clocks that the test sets.
#[derive(Clone)]
struct Time(Arc<Mutex<Moment>>);

impl Time {
    fn new() -> Time {
        Time(Arc::new(Mutex::new(Moment {
            instant: Instant::now(),
            unix: Duration::from_secs(1_790_000_000),
        })))
    }

    fn clock(&self) -> Clock {
        let time = self.clone();
        Box::new(move || *time.0.lock().unwrap())
    }

    fn passes(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        now.instant += time;
        now.unix += time;
    }

    fn is_set(&self, change: impl Fn(Duration) -> Duration) {
        let mut now = self.0.lock().unwrap();
        now.unix = change(now.unix);
    }
}

/// No sample of an answer is below zero.
fn none_negative(metrics: &str) {
    let negative: Vec<&str> = metrics
        .lines()
        .filter(|line| {
            !line.starts_with('#')
                && line.rsplit(' ').next().is_some_and(|value| value.starts_with('-'))
        })
        .collect();
    assert!(negative.is_empty(), "{negative:#?}");
}

#[test]
fn the_cache_expires_by_elapsed_time_whatever_the_clock_says() {
    let Ok(Task::Serve(config)) = cli::parse([].into_iter(), [].into_iter()) else {
        panic!("no flags are enough");
    };
    for change in [|unix: Duration| unix - HOUR, |unix| unix + HOUR, |_| Duration::ZERO] {
        let time = Time::new();
        let runs = Arc::new(AtomicU32::new(0));
        let (counted, passing) = (Arc::clone(&runs), time.clone());
        // The clock is set in the middle of the second run.
        let run = Box::new(move |_: &mut Meanwhile| {
            if counted.fetch_add(1, Ordering::Relaxed) == 1 {
                passing.is_set(change);
            }
            passing.passes(Duration::from_millis(20));
            Ok(TABLE.as_bytes().to_vec())
        });
        let interval = Duration::from_secs(5);
        let collector = Collector::new(run, time.clock(), config.options());
        let mut cache = Cache::new(interval, time.clock(), collector);
        let settings = Settings {
            host: "host".to_owned(),
            endpoint: config.metrics_endpoint.clone(),
            interval,
            command: config.metrics_command,
        };
        let mut served = |path: &str| {
            let now = time.0.lock().unwrap().instant;
            if cache.fresh(now).is_none() {
                cache.refresh(&mut |_| Next::Wait);
            }
            let answers = cache.fresh(now).unwrap();
            let body = match path {
                "/" => answers.page(&settings),
                _ => answers.metrics(Format::Text, &config.options()),
            };
            String::from_utf8(body.to_vec()).unwrap()
        };
        for expected in 1..=3 {
            let metrics = served("/metrics");
            assert!(metrics.contains("user=\"alice\""), "{metrics}");
            assert!(metrics.contains("what_w_duration_seconds 0.02\n"), "{metrics}");
            none_negative(&metrics);
            assert_eq!(runs.load(Ordering::Relaxed), expected);
            time.is_set(change);
            assert!(served("/").contains("alice"), "{}", served("/"));
            time.passes(interval - Duration::from_millis(1));
            time.is_set(change);
            assert_eq!(served("/metrics"), metrics);
            assert_eq!(runs.load(Ordering::Relaxed), expected);
            time.passes(Duration::from_millis(1));
        }
    }
}

/// libfaketime shifts the time of day for the program, and leaves the monotonic clock alone.
#[test]
#[ignore = "needs Debian's faketime"]
fn the_program_serves_on_after_its_clock_is_set() {
    let _alone = alone();
    for shift in ["-1h", "+1h"] {
        let fake = FakeW::new("cat $TABLE");
        let file = fake.folder.join("shift");
        fs::write(&file, "+0").unwrap();
        let mut command = binary();
        command
            .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1")
            .env("FAKETIME_TIMESTAMP_FILE", &file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .args(["--scrape.interval=2s", "--w.command", &fake.command()]);
        let exporter = Exporter::start(&mut command);
        let first = last_success(&exporter.metrics());
        fs::write(&file, shift).unwrap();
        // A second later the result is still cached, although an hour has passed by the clock.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            none_negative(&exporter.metrics());
            assert_eq!(exporter.get("/").status, 200);
        }
        assert_eq!(fake.runs(), 1);
        let mut metrics = String::new();
        until("the next run", || {
            metrics = exporter.metrics();
            fake.runs() == 2
        });
        none_negative(&metrics);
        let moved = last_success(&metrics) - first;
        println!("{shift}: the time of the last success moved by {moved} s");
        assert!((moved.abs() - 3600.0).abs() < 10.0, "{moved}");
    }
}

fn last_success(metrics: &str) -> f64 {
    let name = "what_w_last_success_timestamp_seconds ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().parse().unwrap()
}
