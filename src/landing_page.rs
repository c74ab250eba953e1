//! The landing page: shows people who is logged in. Everything that came from `w` is escaped, and
//! isolated so that it cannot change the direction of the text around it.

use std::{fmt::Write, time::Duration};

use crate::{
    about::{NAME, VERSION},
    calendar::{MONTHS, utc},
    clock::Moment,
    command::{Failure, FailureKind},
    plural::counted,
    run_log::NOT_IN_UTC,
    session::{CommandShown, Origin, Session},
    snapshot::{Listing, Snapshot},
    table::{login::LoginTime, resolution::Resolution},
    visibility::Visibility,
};

/// Allows no script, nothing from other hosts, and no style except the one below, by its hash.
pub const SECURITY_POLICY: &str = "default-src 'none'; style-src 'sha256-6TT055n4dJiKkP5Mee/c9Fn1Pejn42UGVzBbQlwquLE='; base-uri 'none'; \
                                   form-action 'none'; frame-ancestors 'none'";

// On a phone, a session takes two lines: who and from where, then since when and how long idle.
const STYLE: &str = ":root{color-scheme:light dark;--page:light-dark(#fff,#121212);--text:light-dark(#1a1a1a,#eee);\
--soft:light-dark(#595959,#ababab);--link:light-dark(#0645ad,#8ab4f8);--alarm:light-dark(#b3261e,#f2b8b5);--line:light-dark(#ccc,#444)}\
*{box-sizing:border-box}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:72rem;background:var(--page);color:var(--text)}\
h1{font-size:1.4rem;margin:.5rem 0;overflow-wrap:anywhere}\
p{margin:.5rem 0}\
a{color:var(--link)}\
.soft,footer{color:var(--soft);text-wrap:balance}\
.alarm{border-left:.3rem solid var(--alarm);padding:.5rem 1rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;margin:1rem 0;max-width:100%}\
th,td{text-align:left;vertical-align:top;padding:.3rem 1.5rem .3rem 0;border-bottom:1px solid var(--line)}\
th{font-weight:600}\
td{font-variant-numeric:tabular-nums}\
.short{white-space:nowrap}\
.from{overflow-wrap:break-word;max-width:24rem}\
.command{overflow-wrap:anywhere;min-width:10rem}\
@media(max-width:40rem){thead{display:none}table,tbody,tr{display:block}\
tr{padding:.2rem 0;border-bottom:1px solid var(--line)}\
td{display:inline-block;padding:0 .8rem 0 0;border:0;max-width:100%;overflow-wrap:anywhere}\
.short{white-space:normal}.from{max-width:100%}.command{min-width:0}.user{font-weight:600}\
[data-name]{color:var(--soft);font-size:.875rem}[data-name]::before{content:attr(data-name) \" \"}\
[data-name=since]{display:inline}[data-name=since]::before{content:\"\\a since \";white-space:pre}}";

/// What the page needs besides the result.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host.
    pub host: String,
    /// The path of the metrics.
    pub endpoint: String,
    /// How long a result is cached.
    pub interval: Duration,
    /// Whether there is a column for commands.
    pub command: CommandShown,
}

/// Renders the page of a result.
pub fn render(snapshot: &Snapshot, settings: &Settings) -> Vec<u8> {
    let mut page = String::new();
    let host = Escaped(&settings.host);
    put(
        &mut page,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Who is logged in to {host}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>Who is logged in to <bdi>{host}</bdi></h1>\n"
        ),
    );
    match &snapshot.result {
        Ok(listing) => put_listing(&mut page, listing, settings.command),
        Err(failure) => put_failure(&mut page, failure),
    }
    put_end(&mut page, snapshot.ended, settings);
    page.into_bytes()
}

fn put_end(page: &mut String, checked: Moment, settings: &Settings) {
    let cached = match settings.interval {
        Duration::ZERO => "nothing is cached".to_owned(),
        interval if interval.subsec_millis() > 0 => {
            format!("results are cached for {} ms", interval.as_millis())
        }
        interval => format!("results are cached for {}", length(interval, Resolution::Second)),
    };
    // The links are relative, so that they also work if a proxy serves the page under another path.
    put(
        page,
        format_args!(
            "<p class=\"soft\">Checked at {} UTC. Reload to refresh; {cached}.</p>\n\
             <footer>{NAME} {VERSION} · <a href=\".{}\">metrics</a> · \
             <a href=\"./-/healthy\">health</a></footer>\n</body>\n</html>\n",
            moment(checked.unix_seconds(), Resolution::Second),
            Escaped(&settings.endpoint)
        ),
    );
}

fn put_listing(page: &mut String, listing: &Listing, shown: CommandShown) {
    let problems: Vec<_> = listing.visibility.into_iter().flat_map(Visibility::problems).collect();
    for problem in &problems {
        put_alarm(page, "Sessions may be missing", problem);
    }
    if !listing.in_utc {
        put_alarm(page, "There are no login times", NOT_IN_UTC);
    }
    if !listing.sessions.is_empty() {
        put_sessions(page, &listing.sessions, shown);
    } else if problems.is_empty() && !listing.lists_fewer {
        page.push_str("<p>Nobody is logged in.</p>\n");
    } else {
        page.push_str("<p>No sessions are visible.</p>\n");
    }
}

fn put_sessions(page: &mut String, sessions: &[Session], shown: CommandShown) {
    let mut sessions: Vec<&Session> = sessions.iter().collect();
    // Shorter names first, so that pts/9 comes before pts/10.
    sessions.sort_by_key(|session| (&session.user, session.tty.len(), &session.tty));
    let users = sessions.chunk_by(|a, b| a.user == b.user).count();
    let remote = sessions.iter().filter(|session| session.origin == Origin::Remote).count();
    let origins = match (remote, sessions.len()) {
        (1, 1) => "remote".to_owned(),
        (0, 1) => "local".to_owned(),
        (0, _) => "all local".to_owned(),
        (remote, all) if remote == all => "all remote".to_owned(),
        (remote, _) => format!("{remote} remote"),
    };
    let has_times = sessions.iter().any(|session| session.login.is_some());
    let zone = if has_times { " Times are in UTC." } else { "" };
    put(
        page,
        format_args!(
            "<p>{} by {}, {origins}.{zone}</p>\n",
            counted(sessions.len() as u64, "session"),
            counted(users as u64, "user")
        ),
    );
    let command = if shown == CommandShown::None { "" } else { "<th>Command</th>" };
    put(
        page,
        format_args!(
            "<table>\n<thead><tr><th>User</th><th>TTY</th><th>From</th><th>Since</th><th>Idle</th>{command}</tr></thead>\n<tbody>\n"
        ),
    );
    for session in sessions {
        put_session(page, session, shown);
    }
    page.push_str("</tbody>\n</table>\n");
}

fn put_session(page: &mut String, session: &Session, shown: CommandShown) {
    let since = session.login.map(|LoginTime { unix, resolution }| moment(unix, resolution));
    let idle = session.idle.map(|idle| length(idle.duration, idle.resolution));
    let unknown = || "–".to_owned();
    put(
        page,
        format_args!(
            "<tr><td class=\"short user\"><bdi>{}</bdi></td><td class=\"short\"><bdi>{}</bdi></td><td class=\"from\"><bdi>{}</bdi></td>\
             <td class=\"short\" data-name=\"since\">{}</td><td class=\"short\" data-name=\"idle\">{}</td>",
            Escaped(&session.user),
            Escaped(&session.tty),
            Escaped(&session.ip),
            since.unwrap_or_else(unknown),
            idle.unwrap_or_else(unknown)
        ),
    );
    if shown != CommandShown::None {
        let command = session.command.as_deref().unwrap_or_default();
        put(page, format_args!("<td class=\"command\"><bdi>{}</bdi></td>", Escaped(command)));
    }
    page.push_str("</tr>\n");
}

fn put_failure(page: &mut String, failure: &Failure) {
    let what = match failure.kind {
        FailureKind::Failed => "w failed: ",
        FailureKind::Timeout => "",
        FailureKind::Unreadable => "the output of w cannot be read: ",
    };
    let why = format!("{what}{:#}", failure.error);
    put_alarm(page, "It is not known who is logged in", &why);
}

fn put_alarm(page: &mut String, what: &str, why: &str) {
    put(
        page,
        format_args!(
            "<p class=\"alarm\"><strong>{what}:</strong> <bdi>{}</bdi></p>\n",
            Escaped(why)
        ),
    );
}

/// Writing to a string does not fail.
fn put(page: &mut String, text: std::fmt::Arguments) {
    let _ = page.write_fmt(text);
}

/// A moment, as precise as it is known.
fn moment(unix: i64, resolution: Resolution) -> String {
    let (year, month, day, hour, minute, second) = utc(unix);
    // The month is from 1 to 12.
    let date = format!("{day} {} {year}", MONTHS[(month - 1) as usize]);
    match resolution {
        Resolution::Second => format!("{date}, {hour:02}:{minute:02}:{second:02}"),
        Resolution::Minute => format!("{date}, {hour:02}:{minute:02}"),
        Resolution::Hour => format!("{date}, {hour:02}:00–{:02}:00", hour + 1),
        Resolution::Day => date,
    }
}

/// A duration, as precise as it is known.
fn length(duration: Duration, resolution: Resolution) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match resolution {
        Resolution::Day => counted(days, "day"),
        _ if hours > 0 => format!("{hours} h {} min", minutes % 60),
        Resolution::Second if minutes > 0 => format!("{minutes} min {} s", seconds % 60),
        Resolution::Second => format!("{seconds} s"),
        Resolution::Minute | Resolution::Hour => format!("{minutes} min"),
    }
}

/// Whether it is a mark, embedding, override or isolate of the Unicode bidirectional algorithm.
fn turns_direction(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Displays text with HTML's special characters escaped. Control characters, and those that change
/// the direction of text, become visible.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                char if char.is_control() || turns_direction(char) => {
                    formatter.write_char('\u{fffd}')?
                }
                char => formatter.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::{
        clock,
        visibility::{LoginRecords, Place},
    };

    #[test]
    fn the_policy_allows_the_style_and_no_other() {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digest = Sha256::digest(STYLE);
        let bits: String =
            digest.iter().map(|byte| format!("{byte:08b}")).collect::<String>() + "00";
        let sixes = bits
            .as_bytes()
            .chunks(6)
            .map(|six| six.iter().fold(0, |sum, bit| sum * 2 + usize::from(bit - b'0')));
        let hash: String =
            sixes.filter_map(|six| ALPHABET.get(six).map(|&byte| char::from(byte))).collect();
        assert!(SECURITY_POLICY.contains(&format!("style-src 'sha256-{hash}='")), "{hash}=");
    }

    /// The relative luminance of `#rgb` or `#rrggbb`, as the Web Content Accessibility Guidelines
    /// (WCAG 2.2) define it.
    fn luminance(colour: &str) -> f64 {
        let digits = colour.strip_prefix('#').unwrap();
        let channel = |number: usize| {
            let digits = match digits.len() {
                3 => digits[number..=number].repeat(2),
                _ => digits[2 * number..2 * number + 2].to_owned(),
            };
            let value = f64::from(u8::from_str_radix(&digits, 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(1) + 0.0722 * channel(2)
    }

    #[test]
    fn contrast_meets_wcag_aa_in_both_schemes() {
        let colours = |name: &str| {
            let (_, rest) = STYLE.split_once(&format!("--{name}:light-dark(")).unwrap();
            let (light, rest) = rest.split_once(',').unwrap();
            [light, rest.split_once(')').unwrap().0].map(luminance)
        };
        let page = colours("page");
        // WCAG AA asks for 4.5 for text, and 3 for other signs.
        for (name, least) in [("text", 4.5), ("soft", 4.5), ("link", 4.5), ("alarm", 3.0)] {
            for (colour, page) in colours(name).into_iter().zip(page) {
                let contrast = (colour.max(page) + 0.05) / (colour.min(page) + 0.05);
                assert!(contrast >= least, "{name}: {contrast}");
            }
        }
        // No other colours are used.
        let (_, rules) = STYLE.split_once('}').unwrap();
        assert!(!rules.contains('#') && !rules.contains("rgb"), "{rules}");
        for name in rules.split("var(--").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
            assert!(["page", "text", "soft", "link", "alarm", "line"].contains(&name), "{name}");
        }
    }

    #[test]
    fn nothing_in_a_name_is_taken_for_markup_or_turns_the_line() {
        let hostile = "<b>&\"'\u{202e}\n\u{2066}ü";
        assert_eq!(
            Escaped(hostile).to_string(),
            "&lt;b&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}\u{fffd}ü"
        );
    }

    fn session(user: &str, from: &str, origin: Origin) -> Session {
        let (ip, user, tty) = (from.into(), user.into(), "pts/0".into());
        let (command, login, idle, cpu, info) = Default::default();
        Session { ip, user, tty, command, origin, login, idle, cpu, info }
    }

    fn listed(sessions: Vec<Session>, lists_fewer: bool, visibility: Option<Visibility>) -> String {
        let users_reported = None;
        let listing = Listing { sessions, users_reported, lists_fewer, visibility, in_utc: true };
        let mut page = String::new();
        put_listing(&mut page, &listing, CommandShown::None);
        page
    }

    #[test]
    fn nobody_is_logged_in_only_if_everything_can_be_seen() {
        let all = Visibility {
            session_files: true,
            login_records: LoginRecords::Complete,
            host_processes: true,
            other_users_processes: true,
            place: Place::Machine,
        };
        let none = Visibility { login_records: LoginRecords::WithoutSsh, ..all };
        for (lists_fewer, visibility, nobody) in [
            (false, Some(all), true),
            (false, None, true),
            (false, Some(none), false),
            (true, Some(all), false),
            (true, None, false),
        ] {
            let page = listed(Vec::new(), lists_fewer, visibility);
            assert_eq!(page.contains("<p>Nobody is logged in.</p>"), nobody, "{page}");
            assert_eq!(page.contains("<p>No sessions are visible.</p>"), !nobody, "{page}");
        }
        let page = listed(Vec::new(), false, Some(none));
        assert!(page.contains("Sessions may be missing:") && page.contains("libpam-systemd"));
        let alice = session("alice", "203.0.113.7", Origin::Remote);
        let page = listed(vec![alice], false, Some(none));
        assert!(!page.contains("Nobody is") && !page.contains("No sessions are"), "{page}");
    }

    #[test]
    fn the_sessions_are_counted_by_user_and_origin() {
        let local = || session("alice", "-", Origin::Local);
        let remote = |user| session(user, "203.0.113.7", Origin::Remote);
        for (sessions, counted) in [
            (vec![local()], "1 session by 1 user, local."),
            (vec![remote("bob")], "1 session by 1 user, remote."),
            (vec![local(), local()], "2 sessions by 1 user, all local."),
            (vec![remote("alice"), remote("bob")], "2 sessions by 2 users, all remote."),
            (vec![local(), remote("bob"), remote("bob")], "3 sessions by 2 users, 2 remote."),
        ] {
            let page = listed(sessions, false, None);
            assert!(page.contains(&format!("<p>{counted}</p>")), "{counted}: {page}");
        }
    }

    fn end(endpoint: &str, interval: Duration) -> String {
        let (host, endpoint) = ("host".to_owned(), endpoint.to_owned());
        let settings = Settings { host, endpoint, interval, command: CommandShown::None };
        let unix = Duration::from_secs(1_795_479_356);
        let mut page = String::new();
        put_end(&mut page, Moment { unix, ..clock::system() }, &settings);
        page
    }

    #[test]
    fn the_time_of_the_check_is_in_utc() {
        let end = end("/metrics", Duration::ZERO);
        assert!(end.contains(">Checked at 24 Nov 2026, 00:15:56 UTC."), "{end}");
    }

    #[test]
    fn the_link_to_the_metrics_is_relative_and_whole() {
        for endpoint in ["/metrics", "//metrics", "/"] {
            let end = end(endpoint, Duration::ZERO);
            assert!(end.contains(&format!("href=\".{endpoint}\"")), "{end}");
        }
    }

    #[test]
    fn the_scrape_interval_is_shown_whole() {
        for (ms, shown) in [
            (0, "; nothing is cached."),
            (500, "; results are cached for 500 ms."),
            (1_500, "; results are cached for 1500 ms."),
            (5_000, "; results are cached for 5 s."),
            (90_000, "; results are cached for 1 min 30 s."),
        ] {
            let end = end("/metrics", Duration::from_millis(ms));
            assert!(end.contains(shown), "{shown}: {end}");
        }
    }

    #[test]
    fn times_are_shown_as_precisely_as_they_are_known() {
        let moments = [Resolution::Second, Resolution::Minute, Resolution::Hour, Resolution::Day];
        let moments = moments.map(|resolution| moment(1_795_479_356, resolution));
        assert_eq!(
            moments,
            [
                "24 Nov 2026, 00:15:56",
                "24 Nov 2026, 00:15",
                "24 Nov 2026, 00:00–01:00",
                "24 Nov 2026"
            ]
        );
        let length = |seconds, resolution| length(Duration::from_secs(seconds), resolution);
        assert_eq!(length(7, Resolution::Second), "7 s");
        assert_eq!(length(73, Resolution::Second), "1 min 13 s");
        assert_eq!(length(3_780, Resolution::Minute), "1 h 3 min");
        assert_eq!(length(0, Resolution::Minute), "0 min");
        assert_eq!(length(86_400, Resolution::Day), "1 day");
    }
}
