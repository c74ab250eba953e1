//! Measures the steps from the output of `w` to the answer: reading a table, finding its sessions,
//! rendering them, and serving a cached answer. The tables have 1 to 20,000 rows. A row should cost
//! the same in all of them, so the report gives the time per row.

#![allow(clippy::expect_used)]
// criterion's macro makes a public function.
#![allow(missing_docs)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use what::{
    cache::Cache,
    calendar::Span,
    clock::{self, Moment},
    collector::Collector,
    exposition::Format,
    metrics::{self, Options},
    session::{self, CommandShown, Session},
    snapshot::{Listing, Snapshot},
    table::{self, Table},
};

const ROWS: [usize; 5] = [1, 10, 100, 1_000, 20_000];
/// 2026-11-24 00:17:39 UTC, the time in the first line of the tables.
const NOW: i64 = 1_795_479_459;

/// A user, a terminal and an address for the row with this number.
fn labels(number: usize) -> (String, String, String) {
    (
        format!("user{:03}", number % 200),
        format!("pts/{:04}", number % 10_000),
        format!("203.0.{}.{}", number / 250, number % 250),
    )
}

/// Prints a table with this number of rows.
fn print(rows: usize, header: &str, row: impl Fn(usize) -> String) -> Vec<u8> {
    let mut table =
        format!(" 00:17:39 up  1:25, {rows} users,  load average: 2.72, 2.33, 1.90\n{header}\n");
    for number in 0..rows {
        table.push_str(&row(number));
        table.push('\n');
    }
    table.into_bytes()
}

/// As procps prints it in the exporter's environment.
fn procps(rows: usize) -> Vec<u8> {
    let header = format!("{:32} TTY      {:256}  LOGIN@   IDLE   JCPU   PCPU WHAT", "USER", "FROM");
    print(rows, &header, |number| {
        let (user, tty, from) = labels(number);
        format!("{user:32} {tty:8} {from:256} 00:16    1:05   0.02s  0.01s -bash")
    })
}

fn busybox(rows: usize) -> Vec<u8> {
    let header = "USER\t\tTTY\t\tIDLE\tTIME\t\t HOST";
    print(rows, header, |number| {
        let (user, tty, from) = labels(number);
        format!("{user:15} {tty:15} 00:05   Nov 24 00:16:07  {from}")
    })
}

fn toybox(rows: usize) -> Vec<u8> {
    print(rows, "USER     TTY             LOGIN@              FROM", |number| {
        let (user, tty, from) = labels(number);
        format!("{user:8} {tty:9} Tue Nov 24 00:16:07 2026 ({from:.12})")
    })
}

fn uutils(rows: usize) -> Vec<u8> {
    let header = "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT";
    print(rows, header, |number| {
        let (user, tty, _) = labels(number);
        format!("{user:8} {tty:9} Tue24    1:05   0.02   0     -bash")
    })
}

fn freebsd(rows: usize) -> Vec<u8> {
    let header = "USER       TTY      FROM                                    LOGIN@  IDLE WHAT";
    print(rows, header, |number| {
        let (user, tty, from) = labels(number);
        format!("{user:10} {tty:8} {from:38} 12:16AM     5 -bash")
    })
}

fn read(printed: &[u8]) -> Table<'_> {
    table::read(printed).expect("the benchmark's own table")
}

fn found(table: &Table) -> Vec<Session> {
    let run = Span { began: NOW, ended: NOW };
    session::of_table(table, run, CommandShown::None)
}

fn options() -> Options {
    Options { prefix: "what".to_owned(), timestamps: false, command: CommandShown::None }
}

fn snapshot(sessions: Vec<Session>) -> Snapshot {
    let ended = Moment { unix: Duration::from_secs(NOW.unsigned_abs()), ..clock::system() };
    Snapshot {
        ended,
        took: Some(Duration::ZERO),
        result: Ok(Listing {
            sessions,
            users_reported: Some(1),
            lists_fewer: false,
            visibility: None,
            in_utc: true,
        }),
        runs: [1, 0, 0, 0],
        last_success: Some(ended),
        process: None,
    }
}

fn render(snapshot: &Snapshot, format: Format) -> Vec<u8> {
    metrics::render(format, &options(), snapshot)
}

/// Measures a function, and reports the time divided by the number of rows.
fn per_row<R>(criterion: &mut Criterion, name: &str, rows: usize, what: impl Fn() -> R) {
    let divisor = u32::try_from(rows).expect("a number of rows");
    criterion.bench_function(&format!("{name}, {rows} rows"), |bencher| {
        bencher.iter_custom(|times| {
            let began = Instant::now();
            for _ in 0..times {
                black_box(what());
            }
            began.elapsed() / divisor
        })
    });
}

fn reading(criterion: &mut Criterion) {
    let mut layout = |name: &str, layout: fn(usize) -> Vec<u8>| {
        for rows in ROWS {
            let printed = layout(rows);
            let name = format!("a row: read from {name}");
            per_row(criterion, &name, rows, || read(black_box(&printed)));
        }
    };
    layout("procps", procps);
    layout("busybox", busybox);
    layout("toybox", toybox);
    layout("uutils", uutils);
    layout("freebsd", freebsd);
}

fn rendering(criterion: &mut Criterion) {
    for rows in ROWS {
        let printed = procps(rows);
        let table = read(&printed);
        let snapshot_of_table = snapshot(found(&table));
        per_row(criterion, "a row: found to be a session", rows, || found(black_box(&table)));
        for (name, format) in [("text", Format::Text), ("openmetrics", Format::OpenMetrics)] {
            let name = format!("a row: rendered as {name}");
            per_row(criterion, &name, rows, || render(black_box(&snapshot_of_table), format));
        }
        per_row(criterion, "a row: from w's output to both formats", rows, || {
            let table = read(black_box(&printed));
            let snapshot = snapshot(found(&table));
            [Format::Text, Format::OpenMetrics].map(|format| render(&snapshot, format))
        });
    }
}

/// The time of a cached answer, for any number of rows.
fn serving(criterion: &mut Criterion) {
    for rows in ROWS {
        let printed = procps(rows);
        let now = clock::system();
        let mut cache = Cache::new(Duration::from_secs(60 * 60));
        cache.keep(Collector::new(now, options()).ended(now, Ok(printed)));
        let options = options();
        criterion.bench_function(&format!("an answer: cached, of {rows} rows"), |bencher| {
            bencher.iter(|| {
                let now = black_box(clock::system());
                let snapshot = cache.fresh(now.instant, now);
                snapshot.map(|snapshot| snapshot.metrics(Format::Text, &options))
            })
        });
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = pure;
    config = short();
    targets = reading, rendering, serving
}
criterion_main!(pure);
