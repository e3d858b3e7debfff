//! Durations ("1.500s") and timestamps (RFC 3339) as protobuf's JSON mapping writes them.

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Digits of a nanosecond.
const FRACTION_DIGITS: usize = 9;
/// google.protobuf.Duration: at most about 10,000 years either way.
const MAX_DURATION_SECONDS: i64 = 315_576_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const DAYS_PER_400_YEARS: i64 = 146_097;
/// From 0000-03-01, where the calendar below begins, to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what google.protobuf.Timestamp may hold.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Seconds and nanoseconds, of the same sign.
pub(super) fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (whole, fraction) = number
        .split_once('.')
        .map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
    let seconds = digits(whole)?;
    let nanos = fraction.map_or(Some(0), parse_fraction)?;
    if seconds > MAX_DURATION_SECONDS {
        return None;
    }
    Some(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

pub(super) fn format_duration(seconds: i64, nanos: i32) -> String {
    let total = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
    let sign = if total < 0 { "-" } else { "" };
    let unit = NANOS_PER_SECOND as u128;
    let (whole, rest) = (total.unsigned_abs() / unit, total.unsigned_abs() % unit);
    format!("{sign}{whole}{}s", format_fraction(rest as u32))
}

/// `2024-02-01T12:00:00.5Z`, or with an offset such as `+01:00`.
pub(super) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let (date, time) = text.split_once('T')?;
    let &[year, month, day] = parts(date, '-', &[4, 2, 2])?.as_slice() else {
        return None;
    };
    let (clock, offset) = match time.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => {
            let sign = time.rfind(['+', '-'])?;
            let &[hours, minutes] = parts(&time[sign + 1..], ':', &[2, 2])?.as_slice() else {
                return None;
            };
            let seconds = hours * 3600 + minutes * 60;
            (
                &time[..sign],
                if time[sign..].starts_with('+') {
                    seconds
                } else {
                    -seconds
                },
            )
        }
    };
    let (clock, nanos) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, parse_fraction(fraction)?),
        None => (clock, 0),
    };
    let &[hour, minute, second] = parts(clock, ':', &[2, 2, 2])?.as_slice() else {
        return None;
    };
    let real_day = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !real_day || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    TIMESTAMP_SECONDS.contains(&seconds).then_some((seconds, nanos))
}

/// Times outside the years 1 to 9999 are not representable; they come out as the nearest that is.
pub(super) fn format_timestamp(seconds: i64, nanos: i32) -> String {
    let seconds = seconds.clamp(*TIMESTAMP_SECONDS.start(), *TIMESTAMP_SECONDS.end());
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let clock = seconds.rem_euclid(SECONDS_PER_DAY);
    let fraction = format_fraction(u32::try_from(nanos).unwrap_or_default());
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parts(text: &str, separator: char, widths: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(separator).collect();
    let fits = parts.len() == widths.len() && parts.iter().zip(widths).all(|(part, width)| part.len() == *width);
    fits.then(|| parts.into_iter().map(digits).collect())?
}

fn parse_fraction(text: &str) -> Option<i32> {
    let value = i32::try_from(digits(text)?).ok()?;
    let missing = FRACTION_DIGITS.checked_sub(text.len())?;
    Some(value * 10_i32.pow(missing as u32))
}

/// None, 3, 6 or 9 digits, whichever suffices.
fn format_fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Years run from March, so that the leap day is the last of its year; then a month's first day is a linear function.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * DAYS_PER_400_YEARS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_EPOCH
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_EPOCH;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_400_YEARS), days.rem_euclid(DAYS_PER_400_YEARS));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
