//! How a line of the log looks: spdlog's patterns, which `--log-format` and `application_log_config` are written in, with
//! Envoy's two additions `%_` and `%j`.

use std::fmt::{self, Write};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::components;

/// Envoy's default.
pub(super) const DEFAULT: &str = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v";

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
    /// `--log-format-escaped`: `%v` is written as `%_` is.
    escaped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// A strftime format of one moment.
    Time(&'static str),
    Flag(char),
}

/// spdlog's flags of time as `jiff` writes them.
const TIMES: &[(char, &str)] = &[
    ('Y', "%Y"),
    ('C', "%y"),
    ('m', "%m"),
    ('d', "%d"),
    ('H', "%H"),
    ('I', "%I"),
    ('M', "%M"),
    ('S', "%S"),
    ('p', "%p"),
    ('a', "%a"),
    ('A', "%A"),
    ('b', "%b"),
    ('h', "%b"),
    ('B', "%B"),
    ('c', "%a %b %e %H:%M:%S %Y"),
    ('D', "%m/%d/%y"),
    ('x', "%m/%d/%y"),
    ('T', "%H:%M:%S"),
    ('X', "%H:%M:%S"),
    ('R', "%H:%M"),
    ('r', "%I:%M:%S %p"),
    ('e', "%3f"),
    ('f', "%6f"),
    ('F', "%9f"),
    ('E', "%s"),
    ('z', "%:z"),
];

/// Flags of the event, of the process and of the thread.
const FLAGS: &str = "vtPlLn_jg#s@!";

impl Pattern {
    pub(super) fn new(text: &str, escaped: bool) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let ('%', Some(flag)) = (c, chars.clone().next()) else {
                plain.push(c);
                continue;
            };
            chars.next();
            let time = TIMES.iter().find(|(known, _)| *known == flag);
            let piece = match time {
                Some((_, strftime)) => Piece::Time(strftime),
                None if FLAGS.contains(flag) => Piece::Flag(flag),
                None => {
                    // An unknown flag stays as it is; `%%` is a percent sign.
                    plain.push('%');
                    if flag != '%' {
                        plain.push(flag);
                    }
                    continue;
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(piece);
        }
        pieces.push(Piece::Text(plain.into()));
        Self { pieces, escaped }
    }

    fn write(&self, out: &mut impl Write, facts: &Facts<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.write_str(text)?,
                Piece::Time(strftime) => write!(out, "{}", facts.time.strftime(strftime))?,
                Piece::Flag(flag) => self.flag(*flag, out, facts)?,
            }
        }
        out.write_char('\n')
    }

    fn flag(&self, flag: char, out: &mut impl Write, facts: &Facts<'_>) -> fmt::Result {
        match flag {
            'v' if !self.escaped => out.write_str(facts.message),
            'v' | '_' => escape(facts.message, out),
            'j' => json_escape(facts.message, out),
            't' => write!(out, "{}", facts.thread),
            'P' => write!(out, "{}", std::process::id()),
            'l' => out.write_str(facts.level.0),
            'L' => out.write_str(facts.level.1),
            'n' => out.write_str(facts.component),
            'g' => out.write_str(facts.file),
            's' => out.write_str(facts.file.rsplit('/').next().unwrap_or_default()),
            '@' => write!(out, "{}:{}", facts.file, facts.line),
            '!' => out.write_str(facts.module),
            _ => write!(out, "{}", facts.line),
        }
    }
}

/// What a line says.
struct Facts<'a> {
    time: &'a jiff::Zoned,
    thread: i32,
    /// Envoy's name and its letter.
    level: (&'static str, &'static str),
    component: &'static str,
    module: &'a str,
    file: &'a str,
    line: u32,
    message: &'a str,
}

impl<S, N> FormatEvent<S, N> for Pattern
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut message = Message::default();
        event.record(&mut message);
        let facts = Facts {
            time: &jiff::Zoned::now(),
            thread: crate::sys::thread_id(),
            level: level(*metadata.level()),
            component: components::of_target(metadata.target()),
            module: metadata.module_path().unwrap_or_default(),
            file: metadata.file().unwrap_or_default(),
            line: metadata.line().unwrap_or_default(),
            message: message.finish(),
        };
        self.write(&mut writer, &facts)
    }
}

fn level(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::TRACE => ("trace", "T"),
        Level::DEBUG => ("debug", "D"),
        Level::INFO => ("info", "I"),
        Level::WARN => ("warning", "W"),
        Level::ERROR => ("error", "E"),
    }
}

/// The sentence, then `name=value` for every other field.
#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Message {
    fn finish(&mut self) -> &str {
        self.text.push_str(&self.fields);
        &self.text
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// C's escapes, so that a line stays one line.
fn escape(text: &str, out: &mut impl Write) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\\' => out.write_str("\\\\")?,
            '"' => out.write_str("\\\"")?,
            '\'' => out.write_str("\\'")?,
            c if c.is_ascii_control() => write!(out, "\\{:03o}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

/// As the inside of a JSON string.
fn json_escape(text: &str, out: &mut impl Write) -> fmt::Result {
    let quoted = serde_json::Value::from(text).to_string();
    out.write_str(quoted.get(1..quoted.len() - 1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pattern: &str, escaped: bool) -> String {
        let time: jiff::Timestamp = "2026-01-02T03:04:05.006007008Z".parse().unwrap();
        let time = time.to_zoned(jiff::tz::TimeZone::UTC);
        let facts = Facts {
            time: &time,
            thread: 7,
            level: level(Level::WARN),
            component: components::of_target("pillion::cluster::outlier"),
            module: "pillion::cluster::outlier",
            file: "proxy/src/cluster/outlier.rs",
            line: 42,
            message: "\"a\"\nb",
        };
        let mut out = String::new();
        Pattern::new(pattern, escaped).write(&mut out, &facts).unwrap();
        out
    }

    #[test]
    fn patterns_of_envoy_and_of_istio() {
        assert_eq!(
            line(DEFAULT, true),
            "[2026-01-02 03:04:05.006][7][warning][upstream] [proxy/src/cluster/outlier.rs:42] \\\"a\\\"\\nb\n"
        );
        assert_eq!(
            line("%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t", false),
            "2026-01-02T03:04:05.006007Z\twarning\tenvoy upstream proxy/src/cluster/outlier.rs:42\t\"a\"\nb\tthread=7\n"
        );
        let json = line(
            r#"{"level":"%l","time":"%Y-%m-%dT%T.%fZ","scope":"envoy %n","msg":"%j","caller":"%g:%#","thread":"%t"}"#,
            false,
        );
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["msg"], &json["scope"]),
            (&"\"a\"\nb".into(), &"envoy upstream".into())
        );
    }

    #[test]
    fn every_flag_of_time_is_written_and_unknown_ones_stay() {
        for (flag, _) in TIMES {
            let text = line(&format!("%{flag}"), false);
            assert!(text.len() > 1 && !text.contains('%'), "%{flag}: {text}");
        }
        assert_eq!(
            line("100%% %q %s %L %z %E", false),
            "100% %q outlier.rs W +00:00 1767323045\n"
        );
        assert_eq!(line("%", false), "%\n");
    }
}
