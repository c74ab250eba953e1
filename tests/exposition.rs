//! An independent parser reads the answer back to the same labels, for any names of users,
//! terminals, hosts and commands, in both formats. No sample appears twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use openmetrics_parser::{
    MetricNumber, MetricsExposition, OpenMetricsValue, PrometheusValue, openmetrics, prometheus,
};
use proptest::{collection::vec, prelude::*};
use what::{
    calendar::Span,
    clock::{self, Moment},
    exposition::Format,
    metrics::{self, Options},
    process_metrics::ProcessUse,
    session::{self, CommandShown},
    snapshot::{Listing, Snapshot},
    table::{Logind, Row, Table, elapsed::Elapsed},
};

/// Samples by name and labels.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Both parsers treat a carriage return as a line end. Prometheus does not.
const STAND_IN: &str = "\u{e00d}";

fn parsed(text: &str, format: Format) -> Samples {
    let text = text.replace('\r', STAND_IN);
    match format {
        Format::Text => collected(
            prometheus::parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}\n{text}")),
            |value| match value {
                PrometheusValue::Gauge(number) | PrometheusValue::Unknown(number) => {
                    number.as_f64()
                }
                PrometheusValue::Counter(counter) => counter.value.as_f64(),
                other => panic!("{other:?}"),
            },
        ),
        Format::OpenMetrics => collected(
            openmetrics::parse_openmetrics(&text).unwrap_or_else(|error| panic!("{error}\n{text}")),
            |value| match value {
                OpenMetricsValue::Gauge(number) => number.as_f64(),
                OpenMetricsValue::Counter(counter) => counter.value.as_f64(),
                OpenMetricsValue::Info => MetricNumber::Int(1).as_f64(),
                other => panic!("{other:?}"),
            },
        ),
    }
}

fn collected<T, V>(exposition: MetricsExposition<T, V>, number: impl Fn(&V) -> f64) -> Samples
where
    V: openmetrics_parser::RenderableMetricValue + Clone,
    T: Clone,
{
    let mut samples = Samples::new();
    for (name, family) in &exposition.families {
        for sample in family.iter_samples() {
            let labels = sample.get_labelset().unwrap();
            let labels = labels
                .iter()
                .map(|(key, value)| (key.clone(), value.replace(STAND_IN, "\r")))
                .collect();
            let before = samples.insert((name.clone(), labels), number(&sample.value));
            assert_eq!(before, None, "{name} twice");
        }
    }
    samples
}

/// The samples of a family, by the values of these labels.
fn family<const N: usize>(
    samples: &Samples,
    name: &str,
    labels: [&str; N],
) -> BTreeMap<[String; N], f64> {
    let of_name = samples.iter().filter(|((family, _), _)| family == name);
    of_name.map(|((_, found), value)| (labels.map(|label| found[label].clone()), *value)).collect()
}

#[derive(Clone, Debug)]
struct Texts {
    user: Vec<u8>,
    tty: Vec<u8>,
    from: Vec<u8>,
    what: Vec<u8>,
}

fn texts() -> impl Strategy<Value = Texts> {
    // A few difficult names, so that sessions share labels, and arbitrary bytes.
    let trouble = vec(
        prop_oneof![
            Just(b'"'),
            Just(b'\\'),
            Just(b'\n'),
            Just(b'\r'),
            Just(b'a'),
            Just(0),
            Just(0xff),
            Just(b'{')
        ],
        0..3,
    );
    let text = move || prop_oneof![trouble.clone(), vec(any::<u8>(), 0..12)];
    (text(), text(), text(), text()).prop_map(|(user, tty, from, what)| Texts {
        user,
        tty,
        from,
        what,
    })
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn counted<const N: usize>(keys: impl Iterator<Item = [String; N]>) -> BTreeMap<[String; N], f64> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_insert(0.0) += 1.0);
    counts
}

fn render(rows: Vec<Row>, format: Format) -> String {
    let table = Table {
        users_reported: Some(7),
        unlisted: None,
        time_of_day: None,
        shows_from: true,
        rows,
    };
    let sessions = session::of_table(&table, Span { began: 0, ended: 0 }, CommandShown::Full);
    let options =
        Options { prefix: "what".to_owned(), timestamps: true, command: CommandShown::Full };
    let unix = Duration::from_millis(1_795_479_356_789);
    let ended = Moment { unix, ..clock::system() };
    let users_reported = table.users_reported;
    let snapshot = Snapshot {
        ended,
        took: Some(Duration::from_micros(4321)),
        result: Ok(Listing {
            sessions,
            users_reported,
            lists_fewer: false,
            visibility: None,
            in_utc: true,
        }),
        runs: [1, 2, 3, 4],
        last_success: Some(ended),
        process: ProcessUse::read(),
    };
    String::from_utf8(metrics::render(format, &options, &snapshot)).expect("valid UTF-8")
}

proptest! {
    #[test]
    fn any_text_comes_back_as_the_same_label(all in vec(texts(), 0..8)) {
        for format in [Format::Text, Format::OpenMetrics] {
            let rows = all.iter().map(row).collect();
            let samples = parsed(&render(rows, format), format);
            let three = |texts: &Texts| [lossy(&texts.from), lossy(&texts.user), lossy(&texts.tty)];
            let each = counted(all.iter().map(three));
            prop_assert_eq!(family(&samples, "what_each_session_currently_active", ["ip", "user", "tty"]), each);
            let users = counted(all.iter().map(|texts| [lossy(&texts.user)]));
            prop_assert_eq!(family(&samples, "what_users_currently_active", []), BTreeMap::from([([], users.len() as f64)]));
            prop_assert_eq!(family(&samples, "what_user_sessions_currently_active", ["user"]), users);
            let commands = counted(all.iter().map(|texts| {
                let [ip, user, tty] = three(texts);
                // NUL bytes separate and end the arguments in some versions of uutils' `w`.
                let command = lossy(&texts.what).trim_end_matches('\0').replace('\0', " ");
                [ip, user, tty, command]
            }));
            prop_assert_eq!(family(&samples, "what_each_session_command_info", ["ip", "user", "tty", "command"]), commands);
            let origins = family(&samples, "what_sessions_currently_active", ["origin"]);
            prop_assert_eq!(origins.len(), 2);
            prop_assert_eq!(origins.values().sum::<f64>(), all.len() as f64);
        }
    }
}

proptest! {
    #[test]
    fn hundredths_are_served_as_printed_and_their_sums_are_exact(all in vec(prop_oneof![0..1000u64, 0..1_000_000_000u64], 1..5)) {
        let printed = |hundredths: u64| format!("{}.{:02}", hundredths / 100, hundredths % 100);
        let texts = Texts { user: b"alice".to_vec(), tty: b"pts/0".to_vec(), from: vec![], what: vec![] };
        let elapsed = |hundredths: &u64| Elapsed::decimal(printed(*hundredths).as_bytes());
        let with = |hundredths| Row { cpu: elapsed(hundredths), idle: elapsed(hundredths), ..row(&texts) };
        let served = render(all.iter().map(with).collect(), Format::Text);
        let labels = r#"{ip="",user="alice",tty="pts/0"}"#;
        let expected = |name: &str, hundredths: u64| {
            let value = match (hundredths / 100, hundredths % 100) {
                (whole, 0) => format!("{whole}"),
                (whole, part) if part % 10 == 0 => format!("{whole}.{}", part / 10),
                _ => printed(hundredths),
            };
            format!("what_each_session_{name}_seconds{labels} {value} ")
        };
        let sum = all.iter().sum();
        let least = all.iter().copied().min().unwrap();
        for line in [expected("cpu", sum), expected("idle", least)] {
            prop_assert!(served.contains(&line), "{}\n{}", line, served);
        }
    }
}

proptest! {
    #[test]
    fn what_logind_knows_is_there_once_for_each_that_differs(services in vec(0..3usize, 0..8)) {
        let names = [b"sshd".as_slice(), b"log\"in", b""];
        let texts = Texts { user: b"alice".to_vec(), tty: vec![], from: vec![], what: vec![] };
        let with = |service: &usize| {
            let (remote, class, kind) = (Some(true), b"user".as_slice(), b"tty".as_slice());
            let logind = Logind { remote, class, kind, service: names[*service], seat: b"" };
            Row { logind: Some(logind), ..row(&texts) }
        };
        let expected: BTreeMap<_, _> = services.iter().map(|service| ([lossy(names[*service])], 1.0)).collect();
        for format in [Format::Text, Format::OpenMetrics] {
            let rendered = render(services.iter().map(with).collect(), format);
            let samples = parsed(&rendered, format);
            let name = if format == Format::Text { "what_each_session_info" } else { "what_each_session" };
            prop_assert_eq!(family(&samples, name, ["service"]), expected.clone());
            // logind's word, whatever FROM looks like.
            let remote = services.len() as f64;
            prop_assert_eq!(family(&samples, "what_sessions_currently_active", ["origin"])[&["remote".to_owned()]], remote);
        }
    }
}

fn row(texts: &Texts) -> Row<'_> {
    Row {
        user: &texts.user,
        tty: &texts.tty,
        from: &texts.from,
        login: None,
        idle: None,
        cpu: None,
        logind: None,
        what: Some(&texts.what),
    }
}

#[test]
fn every_golden_answer_is_read_by_an_independent_parser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut count = 0;
    let folders = fs::read_dir(root.join("captures")).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.chain([root.join("documented")]).filter(|folder| folder.is_dir()) {
        for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "prom") {
                let samples = parsed(&fs::read_to_string(&file).unwrap(), Format::Text);
                assert!(samples.keys().any(|(name, _)| name == "what_up"), "{}", file.display());
                count += 1;
            }
        }
    }
    assert!(count >= 250, "{count}");
}

#[test]
fn both_formats_hold_the_same_samples_and_no_value_is_negative() {
    let texts = Texts {
        user: b"alice".to_vec(),
        tty: b"pts/0".to_vec(),
        from: b"203.0.113.7".to_vec(),
        what: b"vim".to_vec(),
    };
    let render = |format| parsed(&render(vec![row(&texts)], format), format);
    // In OpenMetrics, the family of a counter or an info is named without the suffix.
    let named = |samples: Samples| -> BTreeMap<_, _> {
        let base =
            |name: &str| name.trim_end_matches("_total").trim_end_matches("_info").to_owned();
        samples.into_iter().map(|((name, labels), value)| ((base(&name), labels), value)).collect()
    };
    let (text, openmetrics) = (named(render(Format::Text)), named(render(Format::OpenMetrics)));
    let names = |samples: &Samples| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&text), names(&openmetrics));
    assert!(text.values().chain(openmetrics.values()).all(|value| *value >= 0.0));
}
