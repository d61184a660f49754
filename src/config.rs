//! `polder.toml`: settings of the engine and catalogs that are declared instead of created.
//!
//! ```toml
//! [engine]
//! memory_limit = "4GB"
//!
//! [catalogs.shop]
//! connector = "postgres"
//! url = "postgres://app@db:5432/shop"
//! password = "env:SHOP_PASSWORD"
//! ```
//!
//! An unknown key is an error: a misspelt limit must not be a limit that is not there.

use crate::requests;
use polder_catalog::{Error, OptionKind, OptionSpec, Options, Result, SqlState};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Limits and sizes of the engine.
    #[serde(default)]
    pub engine: EngineConfig,
    /// Limits of what is served.
    #[serde(default)]
    pub server: ServerConfig,
    /// Declared catalogs, by name: `connector`, and the options that `WITH (...)` takes.
    #[serde(default)]
    pub catalogs: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

/// Limits and sizes of the engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// Memory for sorting, joining and grouping, over all queries: `512MB`, `4GB`. What exceeds it spills to disk or fails.
    pub memory_limit: Option<String>,
    /// How many threads one query uses at most; the machine's cores if not given.
    pub target_partitions: Option<usize>,
    /// How long a statement may run: `30s`, `5m`. No limit if not given.
    pub statement_timeout: Option<String>,
    /// How long the ids of requests are kept, counted from the newest entry of the log: `7 days`.
    pub request_retention: Option<String>,
    /// How many records of the log a checkpoint of the tables may lag.
    pub checkpoint_records: Option<u64>,
    /// Where queries spill; the system's temporary directory if not given.
    pub spill_directory: Option<String>,
}

/// Limits of `polder serve`: of its listeners, and of the statements of its clients.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Connections that each listener serves at once; more wait.
    pub connections: Option<usize>,
    /// How long a statement may run, unless its session says otherwise: `1h`.
    pub statement_timeout: Option<String>,
    /// How long a transaction may wait for its next statement, unless its session says otherwise: `10m`.
    pub idle_in_transaction_session_timeout: Option<String>,
    /// The greatest result of a statement: `64GB`.
    pub result_limit: Option<String>,
    /// How many hundredths of the memory one query may use.
    pub query_memory_percent: Option<u8>,
}

/// One configuration key, for the generated reference.
pub struct KeyDoc {
    /// `section.key`.
    pub key: &'static str,
    /// The type of its value, with an example.
    pub value: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// Every key of the file.
pub const KEYS: &[KeyDoc] = &[
    KeyDoc {
        key: "engine.memory_limit",
        value: "size, `\"4GB\"`",
        doc: "Memory for sorting, joining and grouping, over all queries. What exceeds it spills to disk, or the query fails. \
              Three quarters of the machine's memory if not given.",
    },
    KeyDoc {
        key: "engine.target_partitions",
        value: "integer, `4`",
        doc: "How many threads one query uses at most. The machine's cores if not given.",
    },
    KeyDoc {
        key: "engine.statement_timeout",
        value: "duration, `\"5m\"`",
        doc: "How long a statement may run. No limit if not given.",
    },
    KeyDoc {
        key: "engine.request_retention",
        value: "duration, `\"7 days\"`",
        doc: "How long the ids of requests (`SET request_id`) are kept. A request that comes again after that is done again. \
              Seven days if not given.",
    },
    KeyDoc {
        key: "engine.checkpoint_records",
        value: "integer, `200000`",
        doc: "How many records of the log the checkpoint of Polder's own tables may lag: so many are read again when the engine is \
              opened. 200,000 if not given.",
    },
    KeyDoc {
        key: "engine.spill_directory",
        value: "path",
        doc: "Where queries spill. The system's temporary directory if not given.",
    },
    KeyDoc {
        key: "server.connections",
        value: "integer, `1000`",
        doc: "Connections that each listener of `polder serve` serves at once; more wait. 1000 if not given.",
    },
    KeyDoc {
        key: "server.statement_timeout",
        value: "duration, `\"1h\"`",
        doc: "How long a statement of a client may run, unless its session sets `statement_timeout`. What \
              `engine.statement_timeout` says, or one hour, if not given; `\"0s\"` for no limit.",
    },
    KeyDoc {
        key: "server.idle_in_transaction_session_timeout",
        value: "duration, `\"10m\"`",
        doc: "How long a transaction of a client may wait for its next statement, unless its session sets the setting of this \
              name. Ten minutes if not given; `\"0s\"` for no limit.",
    },
    KeyDoc {
        key: "server.result_limit",
        value: "size, `\"64GB\"`",
        doc: "The greatest result of a client's statement, in bytes of its rows in memory. 64 GB if not given; `\"0\"` for no limit.",
    },
    KeyDoc {
        key: "server.query_memory_percent",
        value: "integer 1 to 100, `50`",
        doc: "How much of `engine.memory_limit` one query of a client may use. 50 if not given.",
    },
    KeyDoc {
        key: "catalogs.NAME.connector",
        value: "text, `\"postgres\"`",
        doc: "Attaches a catalog under NAME. The other keys of the section are the connector's options.",
    },
];

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// 58P01 if it cannot be read, 22023 with the line if it is not right.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::fix(SqlState::NO_FILE, format!("could not read {}", path.display())).with_detail(error.to_string())
        })?;
        Self::parse(&text).map_err(|error| error.at(path.display()))
    }

    /// Reads and checks a text.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            Error::fix(SqlState::PARAMETER, "the configuration is not right")
                .with_detail(error.to_string().trim().to_string())
                .with_hint("docs/reference/configuration.md lists the keys")
        })?;
        config.engine.memory_bytes()?;
        config.engine.requests_kept()?;
        config.server.check()?;
        Ok(config)
    }

    /// A declared catalog's connector and options, as `CREATE CATALOG` would give them.
    pub(crate) fn catalog(name: &str, keys: &BTreeMap<String, toml::Value>) -> Result<(String, Vec<(String, String)>)> {
        let mut connector = None;
        let mut options = Vec::new();
        for (key, value) in keys {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
                _ => {
                    let message = format!("catalogs.{name}.{key} must be a text, a number or a boolean");
                    return Err(Error::fix(SqlState::PARAMETER, message));
                }
            };
            if key == "connector" { connector = Some(text) } else { options.push((key.clone(), text)) }
        }
        let connector = connector.ok_or_else(|| {
            Error::fix(SqlState::PARAMETER, format!("catalogs.{name} has no connector"))
                .with_hint("add connector = \"postgres\" or another")
        })?;
        Ok((connector, options))
    }
}

/// The one key whose value is a duration and is needed when the engine is opened.
const REQUEST_RETENTION: &[OptionSpec] =
    &[OptionSpec::new("engine.request_retention", OptionKind::Duration, "how long the ids of requests are kept")];

impl EngineConfig {
    /// How long the ids of requests are kept.
    pub(crate) fn requests_kept(&self) -> Result<Duration> {
        let (name, text) = (REQUEST_RETENTION[0].name, self.request_retention.as_deref().unwrap_or(requests::KEPT));
        let options = Options::validate(REQUEST_RETENTION, [(name.to_string(), text.to_string())])?;
        options.duration(name).ok_or_else(|| Error::report("a duration was checked and is none"))
    }

    /// The memory limit in bytes, if given.
    pub(crate) fn memory_bytes(&self) -> Result<Option<usize>> {
        let Some(text) = &self.memory_limit else { return Ok(None) };
        parse_size(text).map(Some).ok_or_else(|| {
            Error::fix(SqlState::PARAMETER, format!("engine.memory_limit cannot be \"{text}\""))
                .with_hint("write a number with a unit: \"512MB\", \"4GB\"")
        })
    }
}

/// The keys whose values are durations.
const SERVER: &[OptionSpec] = &[
    OptionSpec::new("server.statement_timeout", OptionKind::Duration, "how long a statement may run"),
    OptionSpec::new(
        "server.idle_in_transaction_session_timeout",
        OptionKind::Duration,
        "how long a transaction may wait for its next statement",
    ),
];

impl ServerConfig {
    /// # Errors
    /// 22023 for a value that means nothing.
    pub(crate) fn check(&self) -> Result<()> {
        let given = [&self.statement_timeout, &self.idle_in_transaction_session_timeout];
        let given = SERVER.iter().zip(given).filter_map(|(spec, text)| Some((spec.name.to_string(), text.clone()?)));
        Options::validate(SERVER, given)?;
        self.result_bytes()?;
        let wrong =
            |key: &str, hint: &str| Error::fix(SqlState::PARAMETER, format!("{key} cannot be that")).with_hint(hint);
        if self.connections == Some(0) {
            return Err(wrong("server.connections", "write a number from 1"));
        }
        if self.query_memory_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return Err(wrong("server.query_memory_percent", "write a number from 1 to 100"));
        }
        Ok(())
    }

    /// Connections of one listener.
    pub(crate) fn connections(&self) -> usize {
        self.connections.unwrap_or(1000)
    }

    pub(crate) fn query_memory_percent(&self) -> u8 {
        self.query_memory_percent.unwrap_or(50)
    }

    /// The greatest result in bytes; None for no limit.
    pub(crate) fn result_bytes(&self) -> Result<Option<u64>> {
        const DEFAULT: &str = "64GB";
        let text = self.result_limit.as_deref().unwrap_or(DEFAULT);
        let bytes = parse_size(text).ok_or_else(|| {
            Error::fix(SqlState::PARAMETER, format!("server.result_limit cannot be \"{text}\""))
                .with_hint("write a number with a unit: \"512MB\", \"64GB\"")
        })?;
        Ok(Some(bytes as u64).filter(|bytes| *bytes > 0))
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" | "K" => 1 << 10,
        "MB" | "M" => 1 << 20,
        "GB" | "G" => 1 << 30,
        "TB" | "T" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    //! A mistake in the file is found when it is read.

    use super::*;

    #[test]
    fn catalogs_take_the_options_of_their_connector() {
        let text = "[catalogs.shop]\nconnector = \"postgres\"\nurl = \"postgres://db\"\npool_size = 3\n";
        let config = Config::parse(text).unwrap();
        let (connector, options) = Config::catalog("shop", &config.catalogs["shop"]).unwrap();
        assert_eq!(connector, "postgres");
        let expected = [("pool_size", "3"), ("url", "postgres://db")];
        assert_eq!(options, expected.map(|(key, value)| (key.to_string(), value.to_string())));
    }

    #[test]
    fn limits_that_mean_nothing_are_errors_and_zero_is_none() {
        for text in
            ["connections = 0", "result_limit = \"much\"", "query_memory_percent = 101", "statement_timeout = \"1\""]
        {
            let error = Config::parse(&format!("[server]\n{text}")).unwrap_err();
            assert_eq!(error.state(), SqlState::PARAMETER, "{text}");
        }
        let server = |text: &str| Config::parse(text).unwrap().server;
        assert_eq!(server("[server]\nresult_limit = \"0\"").result_bytes().unwrap(), None);
        assert_eq!(server("").result_bytes().unwrap(), Some(64 << 30));
        assert_eq!((server("").connections(), server("").query_memory_percent()), (1000, 50));
    }

    #[test]
    fn unknown_keys_and_wrong_sizes_are_errors() {
        assert!(Config::parse("[engine]\nmemory = \"1GB\"").unwrap_err().detail().unwrap().contains("memory"));
        assert!(Config::parse("[engine]\nmemory_limit = \"much\"").unwrap_err().message().contains("much"));
        assert_eq!(
            Config::parse("[engine]\nmemory_limit = \"2 GB\"").unwrap().engine.memory_bytes().unwrap(),
            Some(2 << 30)
        );
    }
}
