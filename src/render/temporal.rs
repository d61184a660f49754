//! Dates, times and spans in ISO 8601, over the whole range of their integers.
//!
//! Chrono ends at the year 262142, PostgreSQL at 294276 and a 64-bit count of seconds much later, so the calendar is
//! computed here: days to a date as in Howard Hinnant's `civil_from_days`.

use std::fmt::Write;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// `2024-02-29`; years outside 0 to 9999 carry a sign: `+12345-01-01`, `-0043-03-15`.
pub(super) fn write_date(days: i64, out: &mut String) {
    let (year, month, day) = civil(days);
    let written = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
    };
    written.expect("a String takes all text");
}

/// `2024-02-29T12:34:56.789`, without an offset.
pub(super) fn write_timestamp(seconds: i64, nanos: u32, out: &mut String) {
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push('T');
    write_time(seconds.rem_euclid(SECONDS_PER_DAY), nanos, out);
}

/// `12:34:56.789`; the fraction ends with its last digit that is not zero.
pub(super) fn write_time(second_of_day: i64, nanos: u32, out: &mut String) {
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    write!(out, "{hour:02}:{minute:02}:{second:02}").expect("a String takes all text");
    write_fraction(nanos, out);
}

/// `Z`, `+02:00`, or `+00:19:32` for a zone of old.
pub(super) fn write_offset(seconds: i32, out: &mut String) {
    if seconds == 0 {
        return out.push('Z');
    }
    let (sign, seconds) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
    write!(out, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60).expect("a String takes all text");
    if seconds % 60 != 0 {
        write!(out, ":{:02}", seconds % 60).expect("a String takes all text");
    }
}

/// `P1Y2M-3DT4H5M6.7S`: each part with its own sign, as PostgreSQL's `intervalstyle = iso_8601`; zero is `PT0S`.
pub(super) fn write_span(months: i64, days: i64, nanos: i128, out: &mut String) {
    let start = out.len();
    out.push('P');
    for (count, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if count != 0 {
            write!(out, "{count}{unit}").expect("a String takes all text");
        }
    }
    write_clock(nanos, out);
    if out.len() == start + 1 {
        out.push_str("T0S");
    }
}

fn write_clock(nanos: i128, out: &mut String) {
    if nanos == 0 {
        return;
    }
    out.push('T');
    let seconds = nanos / i128::from(NANOS_PER_SECOND);
    for (count, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
        if count != 0 {
            write!(out, "{count}{unit}").expect("a String takes all text");
        }
    }
    let (second, fraction) = (seconds % 60, nanos % i128::from(NANOS_PER_SECOND));
    if second != 0 || fraction != 0 {
        let sign = if nanos < 0 { "-" } else { "" };
        write!(out, "{sign}{}", second.abs()).expect("a String takes all text");
        write_fraction(u32::try_from(fraction.abs()).expect("less than a second"), out);
        out.push('S');
    }
}

fn write_fraction(nanos: u32, out: &mut String) {
    if nanos != 0 {
        let digits = format!("{nanos:09}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years start in March here, so that the leap day is the last day of a year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
