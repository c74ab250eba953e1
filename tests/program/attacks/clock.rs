//! The clock is set an hour back and forward, as on a machine whose time was wrong when it started.

use std::{
    fs,
    time::{Duration, Instant},
};

use what::{
    cache::Cache,
    cli::{self, Task},
    clock::{self, Moment},
    collector::Collector,
    exposition::Format,
};

use crate::{
    attacks::siege::{alone, binary},
    harness::{Exporter, FakeW, TABLE, until},
};

const HOUR: Duration = Duration::from_secs(3600);

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
    let options = config.options();
    for change in [|unix: Duration| unix - HOUR, |unix| unix + HOUR, |_| Duration::ZERO] {
        let interval = Duration::from_secs(5);
        let mut now = Moment { unix: Duration::from_secs(1_790_000_000), ..clock::system() };
        let mut collector = Collector::new(now, options.clone());
        let mut cache = Cache::new(interval);
        for _ in 0..3 {
            assert!(cache.fresh(now.instant, now).is_none());
            collector.begin(now);
            now = after(now, Duration::from_millis(20));
            now.unix = change(now.unix);
            let answers = cache.keep(collector.ended(now, Ok(TABLE.as_bytes().to_vec())));
            let metrics = answers.metrics(Format::Text, &options);
            let metrics = String::from_utf8(metrics.to_vec()).unwrap();
            assert!(metrics.contains("user=\"alice\""), "{metrics}");
            assert!(metrics.contains("what_w_duration_seconds 0.02\n"), "{metrics}");
            none_negative(&metrics);
            now = after(now, interval - Duration::from_millis(1));
            now.unix = change(now.unix);
            assert!(cache.fresh(now.instant, now).is_some());
            now = after(now, Duration::from_millis(1));
        }
    }
}

fn after(moment: Moment, time: Duration) -> Moment {
    let Moment { instant, since_boot, unix } = moment;
    Moment { instant: instant + time, since_boot: since_boot + time, unix: unix + time }
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
            .args(["--scrape.interval=5s", "--w.command", &fake.command()]);
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
