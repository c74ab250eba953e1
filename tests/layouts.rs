//! Prints each layout with random fields, as the programs' sources do, and reads it back. The
//! result must be the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::{
    collection::vec, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner,
};
use what::{
    table::elapsed::Elapsed,
    table::login::Login,
    table::{Row, read},
};

/// The fields that a row was printed from.
#[derive(Clone, Debug)]
struct Fields {
    user: String,
    tty: String,
    /// Whether Linux has such a terminal.
    has_terminal: bool,
    from: String,
    login: String,
    idle: String,
    jcpu: String,
    pcpu: String,
    what: String,
}

/// The texts of a column. They have no blanks at the ends, because those look like padding, and
/// blanks inside only where a text is cut.
fn word(longest: usize) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("[!-~]{{1,{longest}}}")).unwrap()
}

/// A name of up to this many bytes, and whether Linux has such a terminal.
fn tty(longest: usize) -> impl Strategy<Value = (String, bool)> {
    let terminals = vec!["tty1", "ttyS0", "ttyAMA0", "hvc0", "console", "lxc/tty1", "pts/1234"];
    let others = vec!["", "seat0", "web cons", ":0", ":pts/3:S", "tty+5", "ftpd4711"];
    prop_oneof![
        (0..10_000u32).prop_map(|number| (format!("pts/{number}"), true)),
        select(terminals).prop_map(|name| (name.to_owned(), true)),
        select(others).prop_map(|name| (name.to_owned(), false)),
        word(longest - 1).prop_map(|name| (format!("?{name}"), false)),
    ]
}

/// Texts that fit their column, and longer ones.
fn days() -> impl Strategy<Value = u32> {
    prop_oneof![2..10u32, 10..100u32, 100..100_000u32]
}

fn procps_elapsed() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..=60u32, 0..100u32).prop_map(|(seconds, part)| format!(" {seconds:2}.{part:02}s")),
        (1..60u32, 0..60u32).prop_map(|(minutes, seconds)| format!(" {minutes:2}:{seconds:02} ")),
        (1..48u32, 0..60u32).prop_map(|(hours, minutes)| format!(" {hours:2}:{minutes:02}m")),
        days().prop_map(|days| format!(" {days:2}days")),
        Just("   ?   ".to_owned()),
        Just("       ".to_owned()),
        Just(" ?xdm? ".to_owned()),
    ]
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn procps_login() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..24u32, 0..60u32).prop_map(|(hour, minute)| format!(" {hour:02}:{minute:02}  ")),
        (select(&WEEKDAYS[..]), 0..24u32).prop_map(|(day, hour)| format!(" {day}{hour:02}  ")),
        (1..29u32, select(&MONTHS[..]), 0..100u32)
            .prop_map(|(day, month, year)| format!(" {day:02}{month}{year:02}")),
    ]
}

fn what() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just(" both ends ".to_owned()), "[ -~]{0,80}", "\\PC{0,40}"]
}

/// Texts of letters with one, two, three and four bytes.
fn user() -> impl Strategy<Value = String> {
    prop_oneof![word(40), "[!-~é-ÿ][!-~é-ÿ一-三😀]{0,20}"]
}

fn procps_fields() -> impl Strategy<Value = Fields> {
    let from = prop_oneof![Just(String::new()), word(300)];
    let elapsed = procps_elapsed;
    (user(), tty(12), from, procps_login(), elapsed(), elapsed(), elapsed(), what()).prop_map(
        |(user, (tty, has_terminal), from, login, idle, jcpu, pcpu, what)| Fields {
            user,
            tty,
            has_terminal,
            from,
            login,
            idle,
            jcpu,
            pcpu,
            what,
        },
    )
}

/// Cuts as C's `%.*s` does, even in the middle of a letter.
fn cut(text: &str, width: usize) -> &[u8] {
    text.as_bytes().get(..width).unwrap_or(text.as_bytes())
}

/// Cuts and pads as C's `%-*.*s` does, by bytes.
fn column(text: &str, width: usize) -> Vec<u8> {
    let mut column = cut(text, width).to_vec();
    column.resize(width, b' ');
    column
}

/// Reads a table, which must have the same number of rows, and compares them.
fn check(printed: &[u8], expected: &[Row]) -> Result<(), TestCaseError> {
    let shown = String::from_utf8_lossy(printed);
    let table =
        read(printed).map_err(|error| TestCaseError::fail(format!("{error:#}\n{shown}")))?;
    prop_assert_eq!(&table.rows, expected, "{}", shown);
    Ok(())
}

#[derive(Clone, Debug)]
struct Procps {
    user: usize,
    from: Option<usize>,
    version: Version,
    short: bool,
}

/// Versions of procps, by their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Before December 2002: two blanks before WHAT.
    To2002,
    /// Up to 3.3.2: FROM's header is 16 wide.
    To332,
    /// 3.3.3 to 4.0.4: FROM's header is one narrower than the column.
    To404,
    /// 4.0.5 and later, Debian 13.
    From405,
}

fn procps() -> impl Strategy<Value = Procps> {
    use Version::*;
    let version = select(vec![To2002, To332, To404, From405]);
    (8..=32usize, proptest::option::of(8..=256usize), version, any::<bool>()).prop_map(
        |(user, from, version, short)| {
            let old = matches!(version, To2002 | To332);
            Procps { user, from: from.map(|width| if old { 16 } else { width }), version, short }
        },
    )
}

impl Procps {
    fn header(&self) -> String {
        let user = self.user;
        let to_404 = self.version == Version::To404;
        let from = self.from.map(|width| if to_404 { width - 1 } else { width });
        let from = from.map_or(String::new(), |width| format!("{:width$}", "FROM"));
        let rest = match (self.short, self.version) {
            (false, Version::To2002) => "  LOGIN@   IDLE   JCPU   PCPU  WHAT",
            (false, Version::To332 | Version::To404) => "  LOGIN@   IDLE   JCPU   PCPU WHAT",
            (false, Version::From405) => " LOGIN@   IDLE   JCPU   PCPU  WHAT",
            (true, Version::To2002) => "   IDLE  WHAT",
            (true, _) => "   IDLE WHAT",
        };
        format!("{:user$} TTY      {from}{rest}\n", "USER")
    }

    fn row(&self, fields: &Fields) -> Vec<u8> {
        let Fields { user, tty, from, login, idle, jcpu, pcpu, .. } = fields;
        let gap = if self.version == Version::To2002 { "  " } else { " " };
        let (user, tty) = (column(user, self.user), column(tty, 8));
        let from = self.from.map_or(Vec::new(), |width| column(from, width));
        let figures = match self.short {
            true => format!("{idle}{gap}{}\n", self.what(fields)),
            false => format!("{login}{idle}{jcpu}{pcpu}{gap}{}\n", self.what(fields)),
        };
        [&user[..], b" ", &tty, b" ", &from, figures.as_bytes()].concat()
    }

    /// If the column before it is empty, its own blanks look like the layout's.
    fn what<'f>(&self, fields: &'f Fields) -> &'f str {
        match self.short && fields.idle.trim().is_empty() {
            true => fields.what.trim_start(),
            false => &fields.what,
        }
    }

    fn expected<'f>(&self, fields: &'f Fields) -> Row<'f> {
        let elapsed = |text: &str| Elapsed::procps(text.trim().as_bytes());
        Row {
            user: cut(&fields.user, self.user),
            tty: cut(&fields.tty, 8),
            from: self.from.map_or(b"", |width| cut(&fields.from, width)),
            login: (!self.short).then(|| Login::procps(fields.login.trim().as_bytes()).unwrap()),
            idle: elapsed(&fields.idle).filter(|_| fields.has_terminal),
            cpu: elapsed(&fields.jcpu).filter(|_| fields.has_terminal && !self.short),
            logind: None,
            what: Some(self.what(fields).as_bytes()),
        }
    }
}

fn bsd_login() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..=12u32, 0..60u32, select(vec!["AM", "PM"]))
            .prop_map(|(hour, minute, half)| format!("{hour:2}:{minute:02}{half}")),
        (0..24u32, 0..60u32).prop_map(|(hour, minute)| format!("{hour:2}:{minute:02}  ")),
        (select(&WEEKDAYS[..]), 1..=12u32, select(vec!["AM", "PM"]))
            .prop_map(|(day, hour, half)| format!("{day}{hour:02}{half}")),
        (select(&WEEKDAYS[..]), 0..24u32).prop_map(|(day, hour)| format!("{day}{hour:02}  ")),
        (1..29u32, select(&MONTHS[..]), 0..100u32)
            .prop_map(|(day, month, year)| format!("{day:02}{month}{year:02}")),
    ]
}

fn bsd_idle() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("     - ".to_owned()),
        (0..60u32).prop_map(|minutes| format!("    {minutes:2} ")),
        (1..36u32, 0..60u32).prop_map(|(hours, minutes)| format!(" {hours:2}:{minutes:02} ")),
        Just(" 1day  ".to_owned()),
        Just("  1day ".to_owned()),
        days().prop_map(|days| format!(" {days}days ")),
    ]
}

fn bsd_fields() -> impl Strategy<Value = Fields> {
    (word(32), prop_oneof!["[a-z0-9]{1,5}", word(12)], word(60), bsd_login(), bsd_idle(), what())
        .prop_map(|(user, tty, from, login, idle, what)| Fields {
            user,
            tty,
            has_terminal: false,
            from,
            login,
            idle,
            jcpu: String::new(),
            pcpu: String::new(),
            what,
        })
}

fn bsd_row<'f>(fields: &'f Fields, user: usize, tty: usize, from: usize) -> Row<'f> {
    let tty = cut(&fields.tty, tty);
    let has_terminal = tty.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'/')
        && !tty.starts_with(b"seat");
    Row {
        user: cut(&fields.user, user),
        tty,
        from: cut(&fields.from, from),
        login: Login::bsd(fields.login.trim().as_bytes()),
        idle: Elapsed::bsd(fields.idle.trim().as_bytes()).filter(|_| has_terminal),
        cpu: None,
        logind: None,
        what: Some(fields.what.as_bytes()),
    }
}

fn uutils_fields() -> impl Strategy<Value = Fields> {
    let long_names = vec!["lxc/console", "lxc/tty10", "3270/tty10"];
    let tty = prop_oneof![
        tty(8),
        (10_000..10_000_000u32).prop_map(|number| (format!("pts/{number}"), true)),
        select(long_names).prop_map(|name| (name.to_owned(), true)),
    ];
    let login = prop_oneof![
        (0..24u32, 0..60u32).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}")),
        (select(&WEEKDAYS[..]), 1..32u32).prop_map(|(weekday, day)| format!("{weekday}{day:02}")),
    ];
    let idle = prop_oneof![
        (0..60u32, 0..100u32).prop_map(|(seconds, part)| format!("{seconds}.{part:02}s")),
        (1..60u32, 0..60u32).prop_map(|(minutes, seconds)| format!("{minutes}:{seconds:02}")),
        (1..48u32, 0..60u32).prop_map(|(hours, minutes)| format!("{hours}:{minutes:02}m")),
        days().prop_map(|days| format!("{days}days")),
    ];
    // For each number of decimals: narrower than the column, as wide, and wider.
    let ticks = || {
        let whole = prop_oneof![0..100u64, 100..10_000u64, 0..1_000_000_000u64];
        (whole, prop_oneof![Just(0), (0..10u64).prop_map(|tenths| tenths * 10), 0..100u64])
            .prop_map(|(whole, hundredths)| whole * 100 + hundredths)
    };
    let hundredths = |ticks: u64| ticks as f64 / 100.0;
    ("[!-~é-ÿ]\\PC{0,20}", tty, login, idle, ticks(), ticks(), what()).prop_map(
        move |(user, (tty, has_terminal), login, idle, jcpu, pcpu, what)| {
            let pcpu = hundredths(pcpu).to_string();
            // It touches WHAT. Without two decimals, the digits of both would be one number.
            let touches = pcpu.len() >= 6 && pcpu.rfind('.') != Some(pcpu.len() - 3);
            let what = if touches {
                what.trim_start_matches(|char: char| char == '.' || char.is_ascii_digit())
            } else {
                &what
            };
            Fields {
                user: user.chars().take(8).collect(),
                tty,
                has_terminal,
                from: String::new(),
                login,
                idle,
                jcpu: format!("{:.2}", hundredths(jcpu)),
                pcpu,
                what: what.to_owned(),
            }
        },
    )
}

/// As the program prints it, padded by characters.
fn uutils_table(all: &[Fields], short: bool, users: usize) -> String {
    let header = match short {
        true => "USER     TTY      IDLE   WHAT",
        false => "USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT",
    };
    let counted = if users == 1 { "1 user".to_owned() } else { format!("{users} users") };
    let mut printed =
        format!(" 16:57:30 up  7:06,  {counted},  load average: 1.48, 1.07, 0.96\n{header}\n");
    for Fields { user, tty, login, idle, jcpu, pcpu, what, .. } in all {
        printed += &match short {
            true => format!("{user:<9}{tty:<9}{idle:<7}{what}\n"),
            false => format!("{user:<9}{tty:<10}{login:<9}{idle:<6} {jcpu:<7}{pcpu:<6}{what}\n"),
        };
    }
    printed
}

fn uutils_row(fields: &Fields, short: bool) -> Row<'_> {
    let Fields { user, tty, has_terminal, idle, jcpu, what, .. } = fields;
    let cpu = Elapsed::decimal(jcpu.as_bytes()).filter(|_| *has_terminal && !short);
    Row {
        user: user.trim_end_matches(' ').as_bytes(),
        tty: tty.as_bytes(),
        from: b"",
        login: None,
        idle: Elapsed::procps(idle.as_bytes()).filter(|_| *has_terminal),
        cpu,
        logind: None,
        what: Some(what.as_bytes()),
    }
}

/// The values that a strategy generates in as many cases as a test runs.
fn some_of<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..256).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// The name of a kind of row, and whether a row is of that kind.
type RowKind = (&'static str, fn(&Fields) -> bool);

fn assert_each_is_met(all: &[Fields], kinds: &[RowKind]) {
    for (kind, is_met) in kinds {
        assert!(all.iter().any(is_met), "never {kind}");
    }
}

#[test]
fn rows_of_uutils_are_of_every_kind() {
    assert_each_is_met(
        &some_of(uutils_fields()),
        &[
            ("a processor time that leaves a blank", |row| row.jcpu.len() < 7),
            ("one that fills its column", |row| row.jcpu.len() == 7),
            ("one that overruns it", |row| row.jcpu.len() > 7),
            ("a whole PCPU", |row| !row.pcpu.contains('.')),
            ("one with a decimal", |row| row.pcpu.rfind('.') == row.pcpu.len().checked_sub(2)),
            ("one that fills its column", |row| row.pcpu.len() == 6),
            ("one that overruns it", |row| row.pcpu.len() > 6),
            ("both that touch", |row| row.jcpu.len() >= 7 && row.pcpu.len() >= 6),
            ("a user of eight letters", |row| row.user.chars().count() == 8),
            ("one of more bytes than letters", |row| !row.user.is_ascii()),
            ("a terminal that overruns its column", |row| row.tty.len() > 10),
            ("seconds", |row| row.idle.ends_with('s') && row.idle.contains('.')),
            ("minutes", |row| row.idle.ends_with(|last: char| last.is_ascii_digit())),
            ("hours", |row| row.idle.ends_with('m')),
            ("days", |row| row.idle.ends_with("days")),
            ("days that fill the column", |row| row.idle.len() >= 7),
        ],
    );
}

#[test]
fn rows_of_procps_are_of_every_kind() {
    assert_each_is_met(
        &some_of(procps_fields()),
        &[
            ("seconds", |row| row.idle.ends_with('s') && row.idle.contains('.')),
            ("minutes", |row| row.idle.contains(':') && row.idle.ends_with(' ')),
            ("hours", |row| row.idle.ends_with('m')),
            ("days", |row| row.idle.ends_with("days") && row.idle.len() == 7),
            ("days that overrun the column", |row| row.idle.len() > 7),
            ("an idle time that is not known", |row| row.idle == "   ?   "),
            ("that of X", |row| row.idle == " ?xdm? "),
            ("none", |row| row.idle.trim().is_empty()),
            ("no terminal", |row| row.tty.is_empty()),
            ("a user that is cut", |row| row.user.len() > 32),
            ("one of more bytes than letters", |row| !row.user.is_ascii()),
            ("a host that is cut", |row| row.from.len() > 256),
            ("no host", |row| row.from.is_empty()),
            ("a command that begins with a blank", |row| row.what.starts_with(' ')),
            ("none", |row| row.what.is_empty()),
        ],
    );
    let layouts = some_of(procps());
    for version in [Version::To2002, Version::To332, Version::To404, Version::From405] {
        for (short, shows_from) in [(false, false), (false, true), (true, false), (true, true)] {
            let is_met = |layout: &Procps| {
                (layout.version, layout.short, layout.from.is_some())
                    == (version, short, shows_from)
            };
            assert!(layouts.iter().any(is_met), "never {version:?}, {short}, {shows_from}");
        }
    }
}

proptest! {
    #[test]
    fn procps_3_and_4(layout in procps(), all in vec(procps_fields(), 0..6)) {
        let mut printed = format!(" 00:17:39 up  1:25, 34 users,  load average: 2.72, 2.33, 1.90\n{}", layout.header()).into_bytes();
        printed.extend(all.iter().flat_map(|fields| layout.row(fields)));
        let expected: Vec<Row> = all.iter().map(|fields| layout.expected(fields)).collect();
        check(&printed, &expected)?;
    }

    #[test]
    fn freebsd_and_macos(user in 8..=32usize, tty in 5..=8usize, from in 5..=40usize, all in vec(bsd_fields(), 0..6)) {
        let mut printed = format!("{:user$} {:tty$} {:from$}  LOGIN@  IDLE WHAT\n", "USER", "TTY", "FROM").into_bytes();
        printed.extend(all.iter().flat_map(|fields| {
            let (name, line, host) = (column(&fields.user, user), column(&fields.tty, tty), column(&fields.from, from));
            let figures = format!("{}{}{}\n", fields.login, fields.idle, fields.what);
            [&name[..], b" ", &line, b" ", &host, b" ", figures.as_bytes()].concat()
        }));
        let expected: Vec<Row> = all.iter().map(|fields| bsd_row(fields, user, tty, from)).collect();
        check(&printed, &expected)?;
    }

    #[test]
    fn openbsd_and_old_netbsd(all in vec(bsd_fields(), 0..6)) {
        let mut printed = b"USER    TTY FROM              LOGIN@  IDLE WHAT\n".to_vec();
        printed.extend(all.iter().flat_map(|fields| {
            // The name alone is never cut.
            let name = column(&fields.user, fields.user.len().max(8));
            let (line, host) = (column(&fields.tty, 2), column(&fields.from, 16));
            let figures = format!("{}{}{}\n", fields.login, fields.idle, fields.what);
            [&name[..], b" ", &line, b" ", &host, b" ", figures.as_bytes()].concat()
        }));
        let expected: Vec<Row> = all.iter().map(|fields| bsd_row(fields, 32, 2, 16)).collect();
        check(&printed, &expected)?;
    }

    #[test]
    fn busybox(all in vec((word(32), tty(32).prop_filter("never blank", |tty| !tty.0.is_empty()), "[ -~]{0,60}", 0..24u32, 0..60u32, select(&MONTHS[..]), 1..29u32), 0..6)) {
        let mut printed = "USER\t\tTTY\t\tIDLE\tTIME\t\t HOST\n".to_owned();
        let mut times = Vec::new();
        for (user, (tty, _), host, hour, minute, month, day) in &all {
            let (idle, time) = (format!("{hour:02}:{minute:02}"), format!("{month} {day:2} {hour:02}:{minute:02}:07"));
            printed += &format!("{user:15} {tty:15} {idle:7} {time:16} {host}\n");
            times.push((idle, time));
        }
        let expected: Vec<Row> = all.iter().zip(&times).map(|((user, (tty, has_terminal), host, ..), (idle, time))| Row {
            user: user.as_bytes(),
            tty: tty.as_bytes(),
            from: host.trim_end_matches(' ').as_bytes(),
            login: Login::yearless(time.as_bytes()),
            idle: Elapsed::busybox(idle.as_bytes()).filter(|_| *has_terminal),
            cpu: None,
            logind: None,
            what: None,
        }).collect();
        check(printed.as_bytes(), &expected)?;
    }

    #[test]
    fn uutils(short: bool, all in vec(uutils_fields(), 1..6), off in 0..3usize) {
        let printed = uutils_table(&all, short, all.len());
        let expected: Vec<Row> = all.iter().map(|fields| uutils_row(fields, short)).collect();
        // If a terminal's name touches IDLE, their digits can be read in two ways. Then neither is
        // used.
        let touches = short && all.iter().any(|fields| fields.tty.len() >= 9);
        if !touches || read(printed.as_bytes()).is_ok() {
            check(printed.as_bytes(), &expected)?;
        }
        let miscounted = uutils_table(&all, short, all.len() + 1 - off);
        prop_assert!(off == 1 || read(miscounted.as_bytes()).is_err(), "{}", miscounted);
        let uncounted = printed.split_once('\n').unwrap().1;
        prop_assert!(read(uncounted.as_bytes()).is_err(), "{}", uncounted);
    }

    #[test]
    fn anything_is_read_or_refused_and_never_a_panic(bytes in vec(any::<u8>(), 0..400), header in select(vec![
        &b"USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT\n"[..],
        b"USER     TTY       LOGIN@   IDLE   JCPU   PCPU  WHAT\n",
        b"USER\t\tTTY\t\tIDLE\tTIME\t\t HOST\n",
        b"USER     TTY             LOGIN@              FROM\n",
        b"USER    TTY FROM              LOGIN@  IDLE WHAT\n",
        b"",
    ])) {
        let _ = read(&[header, &bytes].concat());
    }
}
