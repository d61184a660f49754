//! The options of `CREATE CATALOG ... USING postgres WITH (...)`.

use crate::types::{ReadingRules, Unrepresentable};
use polder_catalog::{Error, OptionKind, OptionSpec, Options, Result, Secret, SqlState};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub(crate) const SPECS: &[OptionSpec] = &[
    OptionSpec::new("url", OptionKind::Text, "Where the database is: postgres://user@host:5432/database. It holds no password."),
    OptionSpec::new("host", OptionKind::Text, "Name, address or socket directory of the server, in place of a url."),
    OptionSpec::new("port", OptionKind::Integer(1, 65_535), "Port of the server; 5432 if neither this nor the url says."),
    OptionSpec::new("user", OptionKind::Text, "Role to log in as; takes the place of the url's."),
    OptionSpec::new("password", OptionKind::Secret, "Where the role's password is kept; read at each connect."),
    OptionSpec::new("dbname", OptionKind::Text, "Database to read; takes the place of the url's."),
    OptionSpec::new(
        "sslmode",
        OptionKind::Choice(&["disable", "prefer", "require", "verify-ca", "verify-full"]),
        "How the connection is encrypted and the server verified. Without it: disable on loopback, verify-full elsewhere.",
    ),
    OptionSpec::new("sslrootcert", OptionKind::Text, "PEM file of the authorities to trust, in place of the system's."),
    OptionSpec::new(
        "pool_size",
        OptionKind::Integer(1, 1_000),
        "Most connections that scans use at once. Reading the server's catalog uses one more.",
    )
    .default("4"),
    OptionSpec::new("connect_timeout", OptionKind::Duration, "How long a connect may take.").default("10s"),
    OptionSpec::new(
        "unrepresentable",
        OptionKind::Choice(&["error", "null", "text"]),
        "What becomes of a value that the Arrow type has not, such as infinity in a date: the query fails, the value is \
         NULL, or columns of such types are read as text.",
    )
    .default("error"),
    OptionSpec::new(
        "numeric_scale",
        OptionKind::Integer(0, 38),
        "Digits after the point of numeric without precision. Without it, the column's statistics decide.",
    ),
    OptionSpec::new(
        "access",
        OptionKind::Choice(&["read", "write"]),
        "Whether the catalog may be written. With read, its sessions are read-only at the server.",
    )
    .default("read"),
    OptionSpec::new("application_name", OptionKind::Text, "How sessions are named in pg_stat_activity, before the query's id.")
        .default("polder"),
];

/// The options, understood.
#[derive(Clone, Debug)]
pub(crate) struct PgOptions {
    /// Without a password, which is read at each connect.
    pub(crate) config: Config,
    pub(crate) password: Option<Secret>,
    pub(crate) ssl: SslVerification,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) rules: ReadingRules,
    pub(crate) read_only: bool,
    pub(crate) application_name: String,
}

/// libpq's `sslmode`, by what is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SslVerification {
    Disable,
    /// Encrypted if the server can, never verified.
    Prefer,
    /// Encrypted, not verified (with root certificates: as `verify-ca`, like libpq).
    Require,
    /// The certificate is from a trusted authority.
    Authority,
    /// And it names the host.
    Full,
}

impl PgOptions {
    /// # Errors
    /// 22023 naming the option, before anything is connected to.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let (mut config, url_sslmode, url_root) = match options.text("url") {
            Some(url) => parse_url(url)?,
            None => (Config::new(), None, None),
        };
        if let Some(host) = options.text("host") {
            if !config.get_hosts().is_empty() {
                return Err(Error::fix(SqlState::PARAMETER, "options \"url\" and \"host\" both name a server")
                    .with_hint("give one of them"));
            }
            config.host(host);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Error::fix(SqlState::PARAMETER, "no server is named")
                .with_hint("write url = 'postgres://user@host:5432/database', or host, port, user and dbname"));
        }
        if let Some(port) = options.integer("port") {
            config.port(u16::try_from(port).expect("the option's bounds are those of a port"));
        }
        if let Some(user) = options.text("user") {
            config.user(user);
        }
        if let Some(dbname) = options.text("dbname") {
            config.dbname(dbname);
        }
        let root_certificates = options.text("sslrootcert").map(PathBuf::from).or(url_root);
        let ssl = ssl_verification(options.text("sslmode").map(str::to_string).or(url_sslmode), &config)?;
        Ok(Self {
            config,
            password: options.secret("password"),
            ssl,
            root_certificates,
            pool_size: options.integer("pool_size").and_then(|n| usize::try_from(n).ok()).unwrap_or(4),
            connect_timeout: options.duration("connect_timeout").unwrap_or(Duration::from_secs(10)),
            rules: ReadingRules {
                unrepresentable: match options.text("unrepresentable") {
                    Some("null") => Unrepresentable::Null,
                    Some("text") => Unrepresentable::Text,
                    _ => Unrepresentable::Error,
                },
                numeric_scale: options.integer("numeric_scale").and_then(|scale| u8::try_from(scale).ok()),
            },
            read_only: options.text("access") != Some("write"),
            application_name: options.text("application_name").unwrap_or("polder").to_string(),
        })
    }
}

/// Reads the url. The driver does not know `sslrootcert` and the verifying sslmodes, so they are taken out first.
fn parse_url(url: &str) -> Result<(Config, Option<String>, Option<PathBuf>)> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut sslmode = None;
    let mut root = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => sslmode = Some(value.to_string()),
            Some(("sslrootcert", value)) => root = Some(PathBuf::from(value)),
            Some(("password", _)) => return Err(password_in_url()),
            _ => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { base.to_string() } else { format!("{base}?{}", rest.join("&")) };
    // The driver's message is not repeated: it may hold a part of the url.
    let config: Config = url.parse().map_err(|_| {
        Error::fix(SqlState::PARAMETER, "option \"url\" cannot be read")
            .with_hint("write url = 'postgres://user@host:5432/database'")
    })?;
    if config.get_password().is_some() {
        return Err(password_in_url());
    }
    Ok((config, sslmode, root))
}

fn password_in_url() -> Error {
    Error::fix(SqlState::PARAMETER, "option \"url\" holds a password in plain text")
        .with_hint("leave it out of the url and write password = 'env:NAME' or password = 'file:PATH'")
}

fn ssl_verification(word: Option<String>, config: &Config) -> Result<SslVerification> {
    Ok(match word.as_deref() {
        Some("disable") => SslVerification::Disable,
        Some("prefer" | "allow") => SslVerification::Prefer,
        Some("require") => SslVerification::Require,
        Some("verify-ca") => SslVerification::Authority,
        Some("verify-full") => SslVerification::Full,
        Some(other) => {
            return Err(Error::fix(SqlState::PARAMETER, format!("option \"sslmode\" cannot be '{other}'"))
                .with_hint("it takes disable | prefer | require | verify-ca | verify-full"));
        }
        None if is_local(config) => SslVerification::Disable,
        None => SslVerification::Full,
    })
}

/// Whether every host is this machine.
fn is_local(config: &Config) -> bool {
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    });
    hosts && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}
