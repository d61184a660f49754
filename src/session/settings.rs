//! Settings of a session: `SET name = value`, `RESET name`, `SHOW name`.

use super::compatible::{self, COMPATIBLE};
use crate::config::Config;
use datafusion::prelude::SessionConfig;
use polder_catalog::{Error, OptionKind, OptionSpec, Options, Result, SqlState};
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of our own. DataFusion's are passed on under their own names (`datafusion.execution.batch_size`).
pub(crate) const SPECS: &[OptionSpec] = &[
    OptionSpec::new(
        "pushdown",
        OptionKind::Boolean,
        "Whether sources take over filters, limits, aggregates and joins. Off gives the same rows, slower: a way to check.",
    )
    .default("on"),
    OptionSpec::new(
        "request_id",
        OptionKind::Text,
        "The name of the next statement that changes rows: sent again with the same words, it returns its first outcome and has \
         no second effect. It serves once.",
    ),
    OptionSpec::new(
        "wait",
        OptionKind::Choice(&["outcome", "effects", "none"]),
        "What a statement that changes rows waits for. With `effects` a CALL also waits for what it has emitted to other shards, \
         and what that has. With `none` it goes on in the background under its request id, and \
         `WAIT FOR 'request id'` tells its outcome.",
    )
    .default("outcome"),
    OptionSpec::new(
        "read_after",
        OptionKind::Text,
        "A token of `SHOW POSITION`: reads wait until all that they touch reflects it, so that what was written there is seen here.",
    ),
    OptionSpec::new(
        "caused_by",
        OptionKind::Text,
        "A token of `SHOW POSITION`: what is written comes after it, beside all that the session has read and written itself. A write \
         waits until the log has it.",
    ),
    OptionSpec::new(
        "read_after_timeout",
        OptionKind::Duration,
        "How long a read waits for `read_after`, and a write for `caused_by`.",
    )
    .default("10s"),
    OptionSpec::new("statement_timeout", OptionKind::Duration, "How long a statement may run, in milliseconds if no unit is given; `0s` for no limit.")
        .default("0s"),
    OptionSpec::new(
        "idle_in_transaction_session_timeout",
        OptionKind::Duration,
        "How long a transaction may wait for its next statement before it is rolled back and its connection ends; `0s` for no \
         limit.",
    )
    .default("0s"),
];

const IDLE_IN_TRANSACTION: &str = "idle_in_transaction_session_timeout";

const DATAFUSION: &str = "datafusion.";

/// The settings of one session.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    /// Values that `RESET` goes back to.
    defaults: BTreeMap<String, String>,
    /// What every statement asks for, read once.
    often: Often,
}

#[derive(Clone, Copy, Debug, Default)]
struct Often {
    pushdown: bool,
    statement_timeout: Option<Duration>,
    idle_in_transaction: Option<Duration>,
    is_not_waited_for: bool,
    waits_for_effects: bool,
}

impl Settings {
    /// The defaults, as the configuration file changes them; those of a client that is served are limits.
    pub(crate) fn new(config: &Config, is_served: bool) -> Self {
        let spec_defaults = SPECS.iter().filter_map(|spec| Some((spec.name.to_string(), spec.default?.to_string())));
        let compatible = COMPATIBLE.iter().map(|setting| (setting.name.to_string(), setting.default.to_string()));
        let mut defaults: BTreeMap<_, _> = spec_defaults.chain(compatible).collect();
        let timeout = config.engine.statement_timeout.as_deref();
        let server = &config.server;
        let served = [
            ("statement_timeout", server.statement_timeout.as_deref().or(timeout).unwrap_or("1h")),
            (IDLE_IN_TRANSACTION, server.idle_in_transaction_session_timeout.as_deref().unwrap_or("10m")),
        ];
        let local = timeout.map(|timeout| ("statement_timeout", timeout));
        let limits = if is_served { served.to_vec() } else { local.into_iter().collect() };
        defaults.extend(limits.into_iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let mut settings = Self { values: BTreeMap::new(), defaults, often: Often::default() };
        settings.read();
        settings
    }

    /// Whether sources may take over work.
    pub(crate) fn pushdown(&self) -> bool {
        self.often.pushdown
    }

    /// The name of the next statement that changes rows, if it was given one.
    pub(crate) fn request_id(&self) -> Option<String> {
        self.values.get("request_id").cloned()
    }

    /// What reads wait for, and how long.
    pub(crate) fn read_after(&self) -> Option<(String, Duration)> {
        let token = self.values.get("read_after").filter(|token| !token.is_empty())?;
        Some((token.clone(), self.options().duration("read_after_timeout").unwrap_or_default()))
    }

    /// What writes come after, and how long they wait for it.
    pub(crate) fn caused_by(&self) -> Option<(String, Duration)> {
        let token = self.values.get("caused_by").filter(|token| !token.is_empty())?;
        Some((token.clone(), self.options().duration("read_after_timeout").unwrap_or_default()))
    }

    /// Whether a statement that changes rows goes on in the background.
    pub(crate) fn is_not_waited_for(&self) -> bool {
        self.often.is_not_waited_for
    }

    /// Whether a call waits until other shards have done what it emits.
    pub(crate) fn waits_for_effects(&self) -> bool {
        self.often.waits_for_effects
    }

    /// How long a statement may run, if limited.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        self.often.statement_timeout
    }

    /// How long a transaction may wait for its next statement, if limited.
    pub(crate) fn idle_in_transaction(&self) -> Option<Duration> {
        self.often.idle_in_transaction
    }

    fn read(&mut self) {
        let options = self.options();
        self.often = Often {
            pushdown: options.boolean("pushdown"),
            statement_timeout: options.duration("statement_timeout").filter(|timeout| !timeout.is_zero()),
            idle_in_transaction: options.duration(IDLE_IN_TRANSACTION).filter(|time| !time.is_zero()),
            is_not_waited_for: self.value("wait") == "none",
            waits_for_effects: self.value("wait") == "effects",
        };
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// 22023 for a value that does not fit, 42704 for an unknown name.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.check_name(name)?;
        let value = &as_duration(name, value);
        if let Some(compatible) = compatible::find(name) {
            self.values.insert(name.to_string(), compatible.accept(value)?);
            return Ok(());
        }
        let value = &as_duration(name, value);
        if name.starts_with(DATAFUSION) {
            let mut config = SessionConfig::new();
            config.options_mut().set(name, value).map_err(Error::from_datafusion)?;
        } else {
            Options::validate(SPECS, [(name.to_string(), value.to_string())])?;
        }
        self.values.insert(name.to_string(), value.to_string());
        self.read();
        Ok(())
    }

    /// Goes back to the default.
    pub(crate) fn reset(&mut self, name: &str) -> Result<()> {
        if name == "all" {
            self.values.clear();
            self.read();
            return Ok(());
        }
        self.check_name(name)?;
        self.values.remove(name);
        self.read();
        Ok(())
    }

    /// Name, value and explanation of one setting, or of all.
    pub(crate) fn show(&self, name: &str) -> Result<Vec<[String; 3]>> {
        let all: Vec<_> =
            SPECS.iter().map(|spec| [spec.name.to_string(), self.value(spec.name), spec.doc.to_string()]).collect();
        let passed_on = self.datafusion().map(|(name, value)| [name.to_string(), value.to_string(), String::new()]);
        let compatible = COMPATIBLE
            .iter()
            .map(|setting| [setting.name.to_string(), self.value(setting.name), setting.doc.to_string()]);
        let all: Vec<_> = all.into_iter().chain(compatible).chain(passed_on).collect();
        if name == "all" {
            return Ok(all);
        }
        match all.into_iter().find(|setting| setting[0] == name) {
            Some(setting) => Ok(vec![setting]),
            None => self.show_default(name),
        }
    }

    /// What is set of DataFusion's own options.
    pub(crate) fn datafusion(&self) -> impl Iterator<Item = (&str, &str)> {
        let settings = self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        settings.filter(|(name, _)| name.starts_with(DATAFUSION))
    }

    fn show_default(&self, name: &str) -> Result<Vec<[String; 3]>> {
        let entry = SessionConfig::new().options().entries().into_iter().find(|entry| entry.key == name);
        let entry = entry.ok_or_else(|| unknown(name))?;
        Ok(vec![[entry.key, entry.value.unwrap_or_default(), entry.description.to_string()]])
    }

    /// What a setting of our own, or one of PostgreSQL's, is now.
    pub(crate) fn value(&self, name: &str) -> String {
        self.values.get(name).or_else(|| self.defaults.get(name)).cloned().unwrap_or_default()
    }

    fn check_name(&self, name: &str) -> Result<()> {
        let known = name.starts_with(DATAFUSION)
            || SPECS.iter().any(|spec| spec.name == name)
            || compatible::find(name).is_some();
        if known { Ok(()) } else { Err(unknown(name)) }
    }

    fn options(&self) -> Options {
        let values = SPECS.iter().map(|spec| (spec.name.to_string(), self.value(spec.name)));
        Options::validate(SPECS, values).unwrap_or_default()
    }
}

/// PostgreSQL's timeouts are milliseconds unless they have a unit, and drivers send them so.
fn as_duration(name: &str, value: &str) -> String {
    let is_duration = SPECS.iter().any(|spec| spec.name == name && spec.kind == OptionKind::Duration);
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_duration && is_number { format!("{value}ms") } else { value.to_string() }
}

fn unknown(name: &str) -> Error {
    Error::fix(SqlState::NO_OBJECT, format!("setting \"{name}\" does not exist"))
        .with_hint("SHOW ALL lists the settings; DataFusion's own are named datafusion.*")
}
