//! Moments in formats: ISO 8601 with milliseconds unless a strftime-like format is given.

use std::time::SystemTime;

use jiff::{Timestamp, tz::TimeZone};

/// ISO 8601 with milliseconds, as protobuf's JSON has timestamps.
pub fn iso8601(at: SystemTime) -> String {
    let mut out = String::new();
    write(&mut out, at, None, false);
    out
}

/// Appends `at`, in UTC or in the machine's time zone. `%3f`, `%6f`, `%9f`, `%f` (nanoseconds) and `%s` work as in Envoy
/// beside strftime's own.
pub(super) fn write(out: &mut String, at: SystemTime, format: Option<&str>, local: bool) {
    let Ok(at) = Timestamp::try_from(at) else { return };
    let zone = if local { TimeZone::system() } else { TimeZone::UTC };
    let at = at.to_zoned(zone);
    match format {
        None if local => out.push_str(&at.strftime("%Y-%m-%dT%H:%M:%S.%3f%z").to_string()),
        None => out.push_str(&at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
        Some(format) => {
            // Envoy's %f are nanoseconds of nine digits; jiff's would drop trailing zeros.
            let format = format.replace("%f", "%9f");
            let text = jiff::fmt::strtime::format(format.as_bytes(), &at);
            out.push_str(text.as_deref().unwrap_or("-"));
        }
    }
}
