//! Moments in formats: ISO 8601 with milliseconds unless a strftime-like format is given.

use std::time::SystemTime;

use jiff::Timestamp;

/// ISO 8601 with milliseconds, as protobuf's JSON has timestamps.
pub fn iso8601(at: SystemTime) -> String {
    let mut out = String::new();
    write(&mut out, at, None);
    out
}

/// Appends `at`. `%3f`, `%6f`, `%9f`, `%f` (nanoseconds) and `%s` work as in Envoy beside strftime's own.
pub(super) fn write(out: &mut String, at: SystemTime, format: Option<&str>) {
    let Ok(at) = Timestamp::try_from(at) else { return };
    match format {
        None => out.push_str(&at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
        Some(format) => {
            // Envoy's %f are nanoseconds of nine digits; jiff's would drop trailing zeros.
            let format = format.replace("%f", "%9f");
            let text = jiff::fmt::strtime::format(format.as_bytes(), at);
            out.push_str(text.as_deref().unwrap_or("-"));
        }
    }
}
