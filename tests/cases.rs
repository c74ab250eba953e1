//! Reads every table in `fixtures/cases`, one test each, and compares the result with the `.read`
//! file of the same name, which a person wrote. A new case needs no code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Failed, Trial};
use what::{
    calendar::{Span, utc},
    session::{self, CommandShown, Origin, Session},
    table::{self, Table, elapsed::Elapsed, login::LoginTime, resolution::Resolution},
};

/// 2026-11-24, a Tuesday: the day on which every table was printed.
const DAY: i64 = 1_795_478_400;

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases = files.filter(|file| file.extension().is_some_and(|extension| extension == "txt"));
    let tests: Vec<Trial> = cases
        .map(|case| {
            let name = case.file_stem().unwrap().to_str().unwrap().to_owned();
            Trial::test(name, move || is_as_expected(&case))
        })
        .collect();
    assert!(!tests.is_empty(), "the cases are missing");
    libtest_mimic::run(&arguments, tests).exit();
}

fn is_as_expected(case: &PathBuf) -> Result<(), Failed> {
    let printed = fs::read(case).unwrap();
    let expected = fs::read_to_string(case.with_extension("read")).unwrap();
    let lines: Vec<&str> = expected.lines().collect();
    let refusal: Vec<&str> =
        lines.iter().filter_map(|line| line.strip_prefix("refused: ")).collect();
    match table::read(&printed) {
        Ok(table) => {
            let read = sessions(&table, &printed);
            if read == lines {
                return Ok(());
            }
            Err(format!("read as\n{}\nnot as\n{expected}", read.join("\n")).into())
        }
        Err(error) => {
            let message = format!("{error:#}");
            if !refusal.is_empty() && refusal.iter().all(|text| message.contains(text)) {
                return Ok(());
            }
            Err(format!("refused with\n{message}\nnot\n{expected}").into())
        }
    }
}

/// The sessions of a table that was printed at the time in its first line.
fn sessions(table: &Table, printed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(printed);
    let clock: Vec<i64> = text
        .trim_start()
        .split([':', ' '])
        .take(3)
        .map(|figure| figure.parse().unwrap_or(0))
        .collect();
    let now = DAY + clock.iter().fold(0, |sum, figure| sum * 60 + figure);
    let run = Span { began: now, ended: now };
    session::of_table(table, run, CommandShown::Full).iter().map(line).collect()
}

fn line(session: &Session) -> String {
    let Session { ip, user, tty, command, origin, login, idle, cpu, .. } = session;
    let origin = match origin {
        Origin::Local => "local",
        Origin::Remote => "remote",
    };
    let login = login.map_or("-".to_owned(), moment);
    let what = command.as_deref().unwrap_or("-");
    format!(
        "user={user} tty={tty} from={ip} {origin} login={login} idle={} cpu={} what={what}",
        seconds(idle),
        seconds(cpu)
    )
}

fn moment(login: LoginTime) -> String {
    let (year, month, day, hour, minute, second) = utc(login.unix);
    let date = format!("{year}-{month:02}-{day:02}");
    match login.resolution {
        Resolution::Second => format!("{date}T{hour:02}:{minute:02}:{second:02}"),
        Resolution::Minute => format!("{date}T{hour:02}:{minute:02}"),
        Resolution::Hour => format!("{date}T{hour:02}h"),
        Resolution::Day => date,
    }
}

fn seconds(elapsed: &Option<Elapsed>) -> String {
    let seconds = elapsed.map(|elapsed| elapsed.duration.as_millis() as f64 / 1000.0);
    seconds.map_or("-".to_owned(), |seconds| seconds.to_string())
}
