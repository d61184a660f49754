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
    fn unknown_keys_and_wrong_sizes_are_errors() {
        assert!(Config::parse("[engine]\nmemory = \"1GB\"").unwrap_err().detail().unwrap().contains("memory"));
        assert!(Config::parse("[engine]\nmemory_limit = \"much\"").unwrap_err().message().contains("much"));
        assert_eq!(
            Config::parse("[engine]\nmemory_limit = \"2 GB\"").unwrap().engine.memory_bytes().unwrap(),
            Some(2 << 30)
        );
    }
}
