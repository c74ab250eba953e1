//! What stands between `w` and the answer: reading a table, finding its sessions, rendering them. In tables of 1 row to 20,000; a row
//! should cost the same in all of them, so the report counts rows.

#![allow(clippy::expect_used)]

use std::time::Duration;

use divan::{Bencher, black_box, counter::ItemsCount};
use what::{
    exposition::Format,
    login::Span,
    metrics::{self, Options, Scrape},
    run::Outcome,
    sessions::{self, CommandShown, Session},
    table::{self, Table},
};

const ROWS: [usize; 5] = [1, 10, 100, 1_000, 20_000];
/// 2026-11-24 00:17:39 UTC, as the first line of the tables says.
const NOW: i64 = 1_795_479_459;

fn main() {
    divan::main();
}

/// A user, a terminal and an address for the row of this number.
fn labels(number: usize) -> (String, String, String) {
    (
        format!("user{:03}", number % 200),
        format!("pts/{:04}", number % 10_000),
        format!("203.0.{}.{}", number / 250, number % 250),
    )
}

/// Prints a table of so many rows.
fn print(rows: usize, header: &str, row: impl Fn(usize) -> String) -> Vec<u8> {
    let mut table =
        format!(" 00:17:39 up  1:25, {rows} users,  load average: 2.72, 2.33, 1.90\n{header}\n");
    for number in 0..rows {
        table.push_str(&row(number));
        table.push('\n');
    }
    table.into_bytes()
}

/// As procps prints it in the environment that it is given.
fn procps(rows: usize) -> Vec<u8> {
    let header = format!(
        "{:32} TTY      {:256}  LOGIN@   IDLE   JCPU   PCPU WHAT",
        "USER", "FROM"
    );
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
    print(
        rows,
        "USER     TTY             LOGIN@              FROM",
        |number| {
            let (user, tty, from) = labels(number);
            format!("{user:8} {tty:9} Tue Nov 24 00:16:07 2026 ({from:.12})")
        },
    )
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

fn reading(bencher: Bencher, printed: &[u8]) {
    let rows = read(printed).rows.len();
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| read(black_box(printed)));
}

fn read(printed: &[u8]) -> Table<'_> {
    table::read(printed).expect("the benchmark's own table")
}

#[divan::bench(args = ROWS)]
fn read_procps(bencher: Bencher, rows: usize) {
    reading(bencher, &procps(rows));
}

#[divan::bench(args = ROWS)]
fn read_busybox(bencher: Bencher, rows: usize) {
    reading(bencher, &busybox(rows));
}

#[divan::bench(args = ROWS)]
fn read_toybox(bencher: Bencher, rows: usize) {
    reading(bencher, &toybox(rows));
}

#[divan::bench(args = ROWS)]
fn read_uutils(bencher: Bencher, rows: usize) {
    reading(bencher, &uutils(rows));
}

#[divan::bench(args = ROWS)]
fn read_freebsd(bencher: Bencher, rows: usize) {
    reading(bencher, &freebsd(rows));
}

fn found<'t>(table: &Table<'t>) -> Vec<Session<'t>> {
    let run = Span {
        began: NOW,
        ended: NOW,
    };
    sessions::of_table(table, run, CommandShown::None)
}

#[divan::bench(args = ROWS)]
fn find_sessions(bencher: Bencher, rows: usize) {
    let printed = procps(rows);
    let table = read(&printed);
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| found(black_box(&table)));
}

fn rendering(bencher: Bencher, rows: usize, format: Format) {
    let printed = procps(rows);
    let table = read(&printed);
    let sessions = found(&table);
    let options = Options {
        prefix: "what".to_owned(),
        timestamps: false,
        command: CommandShown::None,
    };
    let scrape = Scrape {
        outcome: Outcome::Ok,
        took: Duration::from_millis(8),
        ended: Duration::from_secs(NOW.unsigned_abs()),
        sessions: Some(&sessions),
        users_reported: table.users_reported,
        runs: [1, 0, 0, 0],
        last_success: Some(Duration::from_secs(NOW.unsigned_abs())),
        process: None,
    };
    bencher
        .counter(ItemsCount::new(rows))
        .bench_local(|| metrics::render(format, black_box(&options), black_box(&scrape)));
}

#[divan::bench(args = ROWS)]
fn render_text(bencher: Bencher, rows: usize) {
    rendering(bencher, rows, Format::Text);
}

#[divan::bench(args = ROWS)]
fn render_openmetrics(bencher: Bencher, rows: usize) {
    rendering(bencher, rows, Format::OpenMetrics);
}
