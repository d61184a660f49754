//! PostgreSQL's settings that drivers and tools ask for. Most have one value here: asked for another, they refuse, rather than
//! promise what is not done.

use polder_catalog::{Error, Result, SqlState};

/// One of them.
pub(super) struct Compatible {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
    /// Other ways to say the default; None for a setting that takes anything, since nothing depends on it.
    ways: Option<&'static [&'static str]>,
}

/// Told to every client of PostgreSQL's protocol when it connects, as PostgreSQL does.
pub(crate) const REPORTED: &[&str] = &[
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "datestyle",
    "intervalstyle",
    "timezone",
    "integer_datetimes",
    "standard_conforming_strings",
];

/// The name that clients expect, which is not all lower case for each.
pub(crate) fn reported_name(name: &str) -> &str {
    match name {
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        "timezone" => "TimeZone",
        name => name,
    }
}

const fn fixed(
    name: &'static str,
    default: &'static str,
    ways: &'static [&'static str],
    doc: &'static str,
) -> Compatible {
    Compatible { name, default, doc, ways: Some(ways) }
}

const fn free(name: &'static str, default: &'static str, doc: &'static str) -> Compatible {
    Compatible { name, default, doc, ways: None }
}

const ON: &[&str] = &["true", "yes", "1"];

pub(super) const COMPATIBLE: &[Compatible] = &[
    free("application_name", "", "The name that the client gives itself."),
    fixed("bytea_output", "hex", &[], "How binary values are written as text."),
    fixed("client_encoding", "UTF8", &["unicode"], "How texts of clients are encoded."),
    free("client_min_messages", "notice", "Which notices a client asks for; there are few."),
    fixed("datestyle", "ISO, MDY", &["iso"], "How dates are written as text."),
    fixed(
        "default_transaction_isolation",
        "serializable",
        &["repeatable read", "read committed", "read uncommitted"],
        "Transactions are serializable, which is all that a weaker level promises and more.",
    ),
    free(
        "extra_float_digits",
        "1",
        "Floating-point numbers are written with as many digits as it takes to read them again.",
    ),
    fixed("integer_datetimes", "on", ON, "Times are whole microseconds in the binary format."),
    fixed("intervalstyle", "postgres", &[], "How intervals are written as text."),
    fixed(
        "search_path",
        "\"$user\", public",
        &["public", "public, pg_catalog", "pg_catalog, public", "\"$user\", public, pg_catalog"],
        "Where names without a schema are looked up.",
    ),
    fixed("server_encoding", "UTF8", &[], "How texts are kept."),
    fixed("server_version", "16.6 (Polder)", &[], "The PostgreSQL whose protocol is spoken."),
    fixed("server_version_num", "160006", &[], "The same as a number."),
    fixed("standard_conforming_strings", "on", ON, "A backslash in '...' is a backslash."),
    fixed(
        "timezone",
        "UTC",
        &["gmt", "etc/utc", "z"],
        "The time zone of instants; they are written with their offset.",
    ),
    fixed(
        "transaction_isolation",
        "serializable",
        &["repeatable read", "read committed", "read uncommitted"],
        "The level of the current transaction.",
    ),
    fixed("transaction_read_only", "off", &["false", "no", "0"], "Whether the current transaction only reads."),
];

pub(super) fn find(name: &str) -> Option<&'static Compatible> {
    COMPATIBLE.iter().find(|setting| setting.name == name)
}

impl Compatible {
    /// What the setting is once it was set to `value`.
    ///
    /// # Errors
    /// 22023 for what is not offered.
    pub(super) fn accept(&self, value: &str) -> Result<String> {
        let Some(ways) = self.ways else { return Ok(value.to_string()) };
        let meant = plain(value);
        // `SET search_path = ''` and the like empty a value; it is the default that holds.
        if plain(self.default) == meant || ways.iter().any(|way| plain(way) == meant) || meant == "default" {
            return Ok(self.default.to_string());
        }
        Err(Error::fix(SqlState::PARAMETER, format!("{} can only be {}", self.name, self.default))
            .with_detail(format!("\"{value}\" was asked for")))
    }
}

/// Without what makes no difference: case, spaces, quotes, hyphens.
fn plain(value: &str) -> String {
    value.chars().filter(|letter| !matches!(letter, ' ' | '"' | '-' | '\'')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_taken() {
        for (name, value) in
            [("client_encoding", "utf-8"), ("datestyle", "ISO"), ("search_path", "public"), ("timezone", "Etc/UTC")]
        {
            let setting = find(name).unwrap();
            assert_eq!(setting.accept(value).unwrap(), setting.default, "{name}");
        }
        assert_eq!(find("application_name").unwrap().accept("psql").unwrap(), "psql");
        assert_eq!(find("client_encoding").unwrap().accept("latin1").unwrap_err().state(), SqlState::PARAMETER);
    }

    #[test]
    fn what_is_reported_exists() {
        assert!(REPORTED.iter().all(|name| find(name).is_some()));
    }
}
