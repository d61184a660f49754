//! The options of a catalog: the table that describes them, and their typed form.

use crate::format::Format;
use crate::location::Location;
use polder_catalog::{Error, OptionKind, OptionSpec, Options, Result, Secret, SqlState};
use std::time::Duration;

/// Every option of `CREATE CATALOG ... USING object_store WITH (...)`.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "location",
        OptionKind::Text,
        "where the files are: s3://bucket/prefix, file:///folder or the path of a folder",
    )
    .required(),
    OptionSpec::new("region", OptionKind::Text, "AWS region of the bucket; AWS_REGION or us-east-1 if not given"),
    OptionSpec::new(
        "endpoint",
        OptionKind::Text,
        "URL of a server that speaks S3, if it is not AWS: https://minio.example:9000",
    ),
    OptionSpec::new(
        "credentials",
        OptionKind::Choice(&["auto", "options", "environment", "none"]),
        "where credentials come from. auto: the options below if given, else the environment; environment: AWS_* \
         variables, web identity, container or instance role; none: unsigned requests, for public buckets",
    )
    .default("auto"),
    OptionSpec::new("access_key_id", OptionKind::Text, "access key id, together with secret_access_key"),
    OptionSpec::new("secret_access_key", OptionKind::Secret, "where the secret access key is kept"),
    OptionSpec::new("session_token", OptionKind::Secret, "where the session token of temporary credentials is kept"),
    OptionSpec::new("allow_http", OptionKind::Boolean, "permits an http:// endpoint that is not on this machine")
        .default("false"),
    OptionSpec::new(
        "virtual_hosted",
        OptionKind::Boolean,
        "puts the bucket into the host name (bucket.endpoint) instead of the path",
    )
    .default("false"),
    OptionSpec::new("retries", OptionKind::Integer(0, 20), "how often a failed request is tried again").default("3"),
    OptionSpec::new(
        "timeout",
        OptionKind::Duration,
        "how long the server may be silent before a request counts as failed, and is tried again",
    )
    .default("30s"),
    OptionSpec::new(
        "format",
        OptionKind::Choice(&["auto", "parquet", "csv", "tsv", "ndjson", "arrow"]),
        "the format of all files, whatever their names; auto tells it by the extension",
    )
    .default("auto"),
    OptionSpec::new("header", OptionKind::Boolean, "whether the first line of a CSV file names the columns")
        .default("true"),
    OptionSpec::new("delimiter", OptionKind::Text, "the character between CSV fields; \\t is a tab").default(","),
    OptionSpec::new("quote", OptionKind::Text, "the character around CSV fields").default("\""),
    OptionSpec::new("escape", OptionKind::Text, "the character that escapes a quote inside a CSV field"),
    OptionSpec::new("comment", OptionKind::Text, "CSV lines that begin with this character are skipped"),
    OptionSpec::new(
        "newlines_in_values",
        OptionKind::Boolean,
        "whether quoted CSV fields may hold line ends; if not, one large file is read by several threads",
    )
    .default("true"),
    OptionSpec::new(
        "types",
        OptionKind::Choice(&["auto", "text"]),
        "auto infers the types of CSV columns; text reads all as text",
    )
    .default("auto"),
    OptionSpec::new(
        "partition_types",
        OptionKind::Choice(&["auto", "text"]),
        "auto reads key=value folders as integers or dates where every value is one; text reads all as text",
    )
    .default("auto"),
    OptionSpec::new(
        "infer_rows",
        OptionKind::Integer(1, 10_000_000),
        "how many rows of each CSV or NDJSON file are read to learn its columns and types",
    )
    .default("1000"),
];

/// What the options say, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) location: Location,
    pub(crate) s3: S3Settings,
    pub(crate) read: ReadSettings,
}

/// How an S3 server is reached.
#[derive(Clone, Debug)]
pub(crate) struct S3Settings {
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) credentials: Credentials,
    /// Whether an endpoint that is not on this machine may be without TLS.
    pub(crate) allow_http: bool,
    pub(crate) virtual_hosted: bool,
    pub(crate) retries: usize,
    pub(crate) timeout: Duration,
}

/// Where credentials come from.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// Read from the options' secrets, anew for each request.
    Keys { access_key_id: String, secret_access_key: Secret, session_token: Option<Secret> },
    /// AWS_* variables, web identity, container or instance role.
    Environment,
    /// Unsigned requests.
    None,
}

/// How files become rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadSettings {
    /// The format of every file; `None` tells it by the name.
    pub(crate) format: Option<Format>,
    pub(crate) csv: CsvSettings,
    pub(crate) typed_partitions: bool,
    pub(crate) infer_rows: usize,
}

/// How CSV is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CsvSettings {
    pub(crate) header: bool,
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) escape: Option<u8>,
    pub(crate) comment: Option<u8>,
    pub(crate) newlines_in_values: bool,
    pub(crate) typed: bool,
}

impl Settings {
    /// Reads validated options. No I/O.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let location = Location::parse(options.text("location").unwrap_or_default())?;
        Ok(Self { location, s3: S3Settings::new(options)?, read: ReadSettings::new(options)? })
    }
}

impl S3Settings {
    fn new(options: &Options) -> Result<Self> {
        let allow_http = options.boolean("allow_http");
        let endpoint = options.text("endpoint").map(|text| checked_endpoint("option \"endpoint\"", text, allow_http));
        Ok(Self {
            region: options.text("region").map(str::to_string),
            endpoint: endpoint.transpose()?,
            credentials: Credentials::new(options)?,
            allow_http,
            virtual_hosted: options.boolean("virtual_hosted"),
            retries: options.integer("retries").and_then(|n| usize::try_from(n).ok()).unwrap_or(3),
            timeout: options.duration("timeout").unwrap_or(Duration::from_secs(30)),
        })
    }
}

impl Credentials {
    fn new(options: &Options) -> Result<Self> {
        let keys = match (options.text("access_key_id"), options.secret("secret_access_key")) {
            (Some(id), Some(secret_access_key)) => Some(Self::Keys {
                access_key_id: id.to_string(),
                secret_access_key,
                session_token: options.secret("session_token"),
            }),
            (None, None) => None,
            _ => {
                return Err(Error::fix(
                    SqlState::PARAMETER,
                    "options \"access_key_id\" and \"secret_access_key\" belong together",
                )
                .with_hint("give both, or neither to take credentials from the environment"));
            }
        };
        match (options.text("credentials").unwrap_or("auto"), keys) {
            ("auto" | "options", Some(keys)) => Ok(keys),
            ("auto" | "environment", None) => Ok(Self::Environment),
            ("none", None) => Ok(Self::None),
            ("options", None) => Err(Error::fix(
                SqlState::PARAMETER,
                "credentials = 'options' needs \"access_key_id\" and \"secret_access_key\"",
            )
            .with_hint("give them as access_key_id = '...', secret_access_key = 'env:NAME'")),
            (other, _) => Err(Error::fix(
                SqlState::PARAMETER,
                format!("credentials = '{other}' contradicts option \"access_key_id\""),
            )
            .with_hint("leave out access_key_id and secret_access_key, or use credentials = 'options'")),
        }
    }

    /// The word that CHECK CATALOG prints.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Keys { access_key_id, secret_access_key, .. } => {
                format!("options: access key {access_key_id}, secret from {secret_access_key}")
            }
            Self::Environment => "environment: AWS_* variables, web identity, container or instance role".to_string(),
            Self::None => "none: requests are not signed".to_string(),
        }
    }
}

impl ReadSettings {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            format: options.text("format").and_then(Format::named),
            csv: CsvSettings::new(options)?,
            typed_partitions: options.text("partition_types") != Some("text"),
            infer_rows: options.integer("infer_rows").and_then(|n| usize::try_from(n).ok()).unwrap_or(1000),
        })
    }
}

impl Default for ReadSettings {
    /// What a catalog without options has.
    fn default() -> Self {
        let csv = CsvSettings {
            header: true,
            delimiter: b',',
            quote: b'"',
            escape: None,
            comment: None,
            newlines_in_values: true,
            typed: true,
        };
        Self { format: None, csv, typed_partitions: true, infer_rows: 1000 }
    }
}

impl CsvSettings {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            header: options.boolean("header"),
            delimiter: byte(options, "delimiter")?.unwrap_or(b','),
            quote: byte(options, "quote")?.unwrap_or(b'"'),
            escape: byte(options, "escape")?,
            comment: byte(options, "comment")?,
            newlines_in_values: options.boolean("newlines_in_values"),
            typed: options.text("types") != Some("text"),
        })
    }
}

fn byte(options: &Options, name: &str) -> Result<Option<u8>> {
    let Some(text) = options.text(name) else { return Ok(None) };
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(Some(*byte)),
        br"\t" => Ok(Some(b'\t')),
        _ => Err(Error::fix(SqlState::PARAMETER, format!("option \"{name}\" cannot be '{text}'"))
            .with_hint("it takes one ASCII character, or \\t for a tab")),
    }
}

/// The endpoint that an option or variable holds, without a slash at its end.
pub(crate) fn checked_endpoint(name: &str, text: &str, allow_http: bool) -> Result<String> {
    let bad = |what: &str| {
        Error::fix(SqlState::PARAMETER, format!("{name} cannot be '{text}': {what}"))
            .with_hint("write endpoint = 'https://host:port'")
    };
    let url = url::Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::fix(SqlState::PARAMETER, format!("{name} must not hold credentials"))
            .with_hint("give them as access_key_id = '...', secret_access_key = 'env:NAME'"));
    }
    match url.scheme() {
        "https" => Ok(text.trim_end_matches('/').to_string()),
        "http" if allow_http || is_loopback(&url) => Ok(text.trim_end_matches('/').to_string()),
        "http" => Err(bad("http is neither encrypted nor authenticated")
            .with_hint("use https://, or set allow_http = true if the network is trusted")),
        _ => Err(bad("it is neither https:// nor http://")),
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
