//! What the user may have meant by a name that is not known.

/// What other exporters have, and the flags for it here. The log needs none.
const OF_OTHERS: [(&str, &[&str]); 7] = [
    ("web.listen-address", &["--listen.host", "--listen.port"]),
    ("listen-address", &["--listen.host", "--listen.port"]),
    ("web.telemetry-path", &["--metrics.endpoint"]),
    ("telemetry-path", &["--metrics.endpoint"]),
    ("metrics.path", &["--metrics.endpoint"]),
    ("log.level", &[]),
    ("log.format", &[]),
];

/// What to use instead of a setting that other exporters have, written as a flag or as a variable.
/// `here` is how the setting of a flag is written in the same place.
pub(super) fn instead_of_others(written: &str, here: impl Fn(&str) -> String) -> Option<String> {
    let plain = |name: &str| name.replace(['.', '-'], "_").to_ascii_lowercase();
    let (_, flags) = OF_OTHERS.iter().find(|(name, _)| plain(name) == plain(written))?;
    Some(match flags {
        [] => "the log has one line per event, and there is nothing to set".to_owned(),
        flags => {
            let flags: Vec<String> = flags.iter().map(|flag| here(flag)).collect();
            format!("use {}", flags.join(" and "))
        }
    })
}

/// What to do instead of writing a flag that is not one of these, with one dash or two.
pub(super) fn instead_of<'n>(flag: &str, flags: impl Iterator<Item = &'n str>) -> String {
    let written = flag.trim_start_matches('-');
    if let Some(advice) = instead_of_others(written, str::to_owned) {
        return advice;
    }
    match nearest(written, flags.filter_map(|name| name.strip_prefix("--"))) {
        Some(name) => format!("did you mean --{name}?"),
        None => "see --help".to_owned(),
    }
}

/// The name that is nearest to what was written, if one is near: one that has most of the written
/// characters, in the same order. A character that it lacks counts like two that were left out,
/// because `--port` is `--listen.port` rather than `--once`.
pub(super) fn nearest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let rated = names.filter_map(|name| {
        let common = common(written, name);
        let lacking = written.len() - common;
        let distance = 2 * lacking + (name.len() - common);
        let is_near = 4 * lacking <= written.len() && distance <= 2 * written.len();
        is_near.then_some((distance, name))
    });
    rated.min().map(|(_, name)| name)
}

/// The length of the longest sequence of bytes that both have in the same order, with others
/// between them or not.
fn common(a: &str, b: &str) -> usize {
    // For what was read of `a`: the length for each beginning of `b`.
    let mut lengths = vec![0; b.len() + 1];
    for x in a.bytes() {
        let mut before_both = 0;
        for (index, y) in b.bytes().enumerate() {
            let before_x = lengths[index + 1];
            lengths[index + 1] =
                if x == y { before_both + 1 } else { before_x.max(lengths[index]) };
            before_both = before_x;
        }
    }
    lengths[b.len()]
}
