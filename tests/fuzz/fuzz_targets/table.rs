//! Whatever `w` prints is read or refused, and rendered to text that is UTF-8; never a panic, never more rows than lines.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use what::{
    command::Outcome,
    exposition::Format,
    metrics::{self, Options, Scrape},
    session::{self, CommandShown},
    table,
    table::login::Span,
};

fuzz_target!(|printed: &[u8]| {
    let Ok(table) = table::read(printed) else { return };
    assert!(table.rows.len() < printed.iter().filter(|&&byte| byte == b'\n').count());
    let run = Span { began: 1_795_479_355, ended: 1_795_479_356 };
    let sessions = session::of_table(&table, run, CommandShown::Full);
    let options =
        Options { prefix: "what".to_owned(), timestamps: true, command: CommandShown::Full };
    let scrape = Scrape {
        outcome: Outcome::Ok,
        took: Duration::from_millis(8),
        ended: Duration::from_secs(1_795_479_356),
        sessions: Some(&sessions),
        visibility: None,
        users_reported: table.users_reported,
        runs: [0, 1, 0, 0],
        last_success: None,
        process: None,
    };
    for format in [Format::Text, Format::OpenMetrics] {
        let text = String::from_utf8(metrics::render(format, &options, &scrape)).expect("UTF-8");
        assert!(text.ends_with('\n'));
        assert!(sessions.iter().filter_map(|session| session.login).all(|login| login.unix >= 0));
    }
});
