//! The landing page: who is logged in, for a person. Knows HTML; everything that came from `w` is escaped and kept in its
//! own direction.

use std::{fmt::Write, time::Duration};

use crate::{
    command::Outcome,
    metrics::VERSION,
    scrape::Snapshot,
    session::{CommandShown, Origin, Session},
    table::login::{LoginTime, utc},
    table::resolution::Resolution,
};

/// No script, nothing from elsewhere, and of styles only the one below, by its hash.
pub const SECURITY_POLICY: &str = "default-src 'none'; style-src 'sha256-0CtDoRhfwsEUckPu46m8C5FsH5QxrDfL+yHyMaQTGJI='; base-uri 'none'; \
                                   form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = ":root{color-scheme:light dark;--line:#8884;--soft:#777;--alarm:#c33}\
*{box-sizing:border-box}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:72rem}\
h1{font-size:1.4rem;margin:.5rem 0}\
p{margin:.5rem 0}\
.soft,footer{color:var(--soft)}\
.alarm{border-left:.3rem solid var(--alarm);padding:.5rem 1rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;margin:1rem 0}\
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid var(--line)}\
th{font-weight:600}\
td{font-variant-numeric:tabular-nums}\
.time{white-space:nowrap}\
.long{overflow-wrap:anywhere}\
@media(max-width:40rem){thead{display:none}tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--line)}\
td{display:flex;gap:1rem;padding:.1rem 0;border:0}td::before{content:attr(data-name);flex:0 0 6rem;color:var(--soft)}\
td>*{min-width:0;overflow-wrap:anywhere}.time{white-space:normal}}";

/// The page of a result, but for the result's age, which differs at every visit.
#[derive(Debug)]
pub struct Page {
    before_age: String,
    after_age: String,
}

impl Page {
    /// The whole page, of a result of this age.
    pub fn at_age(&self, age: Duration) -> Vec<u8> {
        let age = length(age, Resolution::Second);
        [self.before_age.as_str(), &age, &self.after_age].concat().into_bytes()
    }
}

/// Renders the page of a result.
pub fn render(snapshot: &Snapshot, endpoint: &str, shown: CommandShown) -> Page {
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Who is logged in</title>\n");
    put(
        &mut page,
        format_args!("<style>{STYLE}</style>\n</head>\n<body>\n<h1>Who is logged in</h1>\n"),
    );
    match &snapshot.sessions {
        Some(sessions) => put_sessions(&mut page, sessions, shown),
        None => put_failure(&mut page, snapshot),
    }
    let taken = i64::try_from(snapshot.ended.unix.as_secs()).unwrap_or(i64::MAX);
    page.push_str("<p class=\"soft\">As of ");
    let before_age = page;
    let mut page = format!(
        " ago ({} UTC). The next scrape or visit runs w again once that is older than the scrape interval.</p>\n",
        moment(taken, Resolution::Second)
    );
    put(
        &mut page,
        format_args!(
            "<footer>prometheus-what-active-users-exporter {VERSION} · <a href=\"{0}\">{0}</a> · <a href=\"/-/healthy\">/-/healthy</a></footer>\n</body>\n</html>\n",
            Escaped(endpoint)
        ),
    );
    Page { before_age, after_age: page }
}

fn put_sessions(page: &mut String, sessions: &[Session], shown: CommandShown) {
    let mut users: Vec<&str> = sessions.iter().map(|session| session.user.as_ref()).collect();
    users.sort_unstable();
    users.dedup();
    let remote = sessions.iter().filter(|session| session.origin == Origin::Remote).count();
    put(
        page,
        format_args!(
            "<p>{} of {}, {remote} remote.</p>\n",
            counted(sessions.len(), "session"),
            counted(users.len(), "user")
        ),
    );
    if sessions.is_empty() {
        return;
    }
    let command = if shown == CommandShown::None { "" } else { "<th>Command</th>" };
    put(
        page,
        format_args!(
            "<table>\n<thead><tr><th>User</th><th>From</th><th>TTY</th><th>Since (UTC)</th><th>Idle</th>{command}</tr></thead>\n<tbody>\n"
        ),
    );
    for session in sessions {
        page.push_str("<tr>");
        put_text(page, "User", &session.user);
        put_long(page, "From", &session.ip);
        put_text(page, "TTY", &session.tty);
        put_time(
            page,
            "Since",
            session.login.map(|LoginTime { unix, resolution }| moment(unix, resolution)),
        );
        put_time(page, "Idle", session.idle.map(|idle| length(idle.duration, idle.resolution)));
        if shown != CommandShown::None {
            put_text(page, "Command", session.command.as_deref().unwrap_or_default());
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn put_failure(page: &mut String, snapshot: &Snapshot) {
    let what = match snapshot.outcome {
        Outcome::Timeout => "w took too long",
        Outcome::Unreadable => "What w printed could not be read",
        Outcome::Failed | Outcome::Ok => "w failed",
    };
    let complaint = snapshot.complaint.as_deref().unwrap_or_default();
    put(
        page,
        format_args!(
            "<p class=\"alarm\"><strong>{what}, so nobody knows.</strong><br><bdi>{}</bdi></p>\n",
            Escaped(complaint)
        ),
    );
}

fn put_text(page: &mut String, name: &str, text: &str) {
    put(page, format_args!("<td data-name=\"{name}\"><bdi>{}</bdi></td>", Escaped(text)));
}

/// A text that may be broken anywhere, so that it leaves room for the others.
fn put_long(page: &mut String, name: &str, text: &str) {
    put(
        page,
        format_args!("<td class=\"long\" data-name=\"{name}\"><bdi>{}</bdi></td>", Escaped(text)),
    );
}

fn put_time(page: &mut String, name: &str, text: Option<String>) {
    let text = text.unwrap_or_else(|| "–".to_owned());
    put(page, format_args!("<td data-name=\"{name}\"><span class=\"time\">{text}</span></td>"));
}

/// Writing to a string does not fail.
fn put(page: &mut String, text: std::fmt::Arguments) {
    let _ = page.write_fmt(text);
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A moment as exactly as it is known, and no more.
fn moment(unix: i64, resolution: Resolution) -> String {
    let (year, month, day, hour, minute, second) = utc(unix);
    let date = format!("{year:04}-{month:02}-{day:02}");
    match resolution {
        Resolution::Second => format!("{date} {hour:02}:{minute:02}:{second:02}"),
        Resolution::Minute => format!("{date} {hour:02}:{minute:02}"),
        Resolution::Hour => format!("{date}, {hour:02} h"),
        Resolution::Day => date,
    }
}

/// A duration as exactly as it is known, and no more.
fn length(duration: Duration, resolution: Resolution) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match resolution {
        Resolution::Day => counted(usize::try_from(days).unwrap_or(usize::MAX), "day"),
        _ if hours > 0 => format!("{hours} h {} min", minutes % 60),
        Resolution::Second if minutes > 0 => format!("{minutes} min {} s", seconds % 60),
        Resolution::Second => format!("{seconds} s"),
        Resolution::Minute | Resolution::Hour => format!("{minutes} min"),
    }
}

/// The marks, embeddings, overrides and isolates of the Unicode bidirectional algorithm.
fn turns_direction(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text with what HTML could take for its own replaced, and control characters and turns of direction made visible.
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
                // Nor may a name turn the direction of what is read.
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
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

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

    #[test]
    fn nothing_in_a_name_is_taken_for_markup_or_turns_the_line() {
        let hostile = "<b>&\"'\u{202e}\n\u{2066}ü";
        assert_eq!(
            Escaped(hostile).to_string(),
            "&lt;b&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}\u{fffd}ü"
        );
    }

    #[test]
    fn times_are_shown_as_exactly_as_they_are_known() {
        let moments = [Resolution::Second, Resolution::Minute, Resolution::Hour, Resolution::Day];
        let moments = moments.map(|resolution| moment(1_795_479_356, resolution));
        assert_eq!(
            moments,
            ["2026-11-24 00:15:56", "2026-11-24 00:15", "2026-11-24, 00 h", "2026-11-24"]
        );
        let length = |seconds, resolution| length(Duration::from_secs(seconds), resolution);
        assert_eq!(length(7, Resolution::Second), "7 s");
        assert_eq!(length(73, Resolution::Second), "1 min 13 s");
        assert_eq!(length(3_780, Resolution::Minute), "1 h 3 min");
        assert_eq!(length(0, Resolution::Minute), "0 min");
        assert_eq!(length(86_400, Resolution::Day), "1 day");
    }
}
