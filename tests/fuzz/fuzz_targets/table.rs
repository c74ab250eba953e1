//! Any output of `w` is read or refused, and rendered to UTF-8 text. There is no panic, there are
//! never more rows than lines, uutils' `w` has as many rows as its first line counts, and no value
//! is one that `w` cannot know.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use what::{
    calendar::Span,
    clock::{self, Moment},
    exposition::Format,
    metrics::{self, Options},
    session::{self, CommandShown},
    snapshot::{Listing, Snapshot},
    table::{self, Table},
};

/// Whether uutils' `w` printed it: the long form's header is also procps', whose rows have a login
/// time.
fn is_of_uutils(printed: &[u8], table: &Table) -> bool {
    let mut head = printed.split(|&byte| byte == b'\n').take(2);
    head.any(|line| match line {
        b"USER     TTY      IDLE   WHAT" => true,
        b"USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT" => {
            table.rows.iter().any(|row| row.login.is_none())
        }
        _ => false,
    })
}

fuzz_target!(|printed: &[u8]| {
    let Ok(table) = table::read(printed) else { return };
    assert!(table.rows.len() < printed.iter().filter(|&&byte| byte == b'\n').count());
    if is_of_uutils(printed, &table) {
        assert_eq!(table.users_reported, Some(table.rows.len() as u64));
    }
    let run = Span { began: 1_795_479_355, ended: 1_795_479_356 };
    let sessions = session::of_table(&table, run, CommandShown::Full);
    for session in &sessions {
        assert!(session.login.is_none_or(|login| login.unix >= 0 && table.is_in_utc(run)));
        assert!(!session.tty.is_empty() || (session.idle.is_none() && session.cpu.is_none()));
    }
    let options =
        Options { prefix: "what".to_owned(), timestamps: true, command: CommandShown::Full };
    let ended = Moment { unix: Duration::from_secs(1_795_479_356), ..clock::system() };
    let users_reported = table.users_reported;
    let snapshot = Snapshot {
        ended,
        took: Some(Duration::ZERO),
        result: Ok(Listing {
            sessions,
            users_reported,
            lists_fewer: false,
            visibility: None,
            in_utc: true,
        }),
        runs: [0, 1, 0, 0],
        last_success: None,
        process: None,
    };
    for format in [Format::Text, Format::OpenMetrics] {
        let text = String::from_utf8(metrics::render(format, &options, &snapshot)).expect("UTF-8");
        assert!(text.ends_with('\n'));
    }
});
