//! One public error. Its [`Kind`] says what to do, its [`SqlState`] is what clients of every protocol see.

use datafusion_common::{Column, DataFusionError, SchemaError};
use std::fmt;

/// The result of every fallible function of the contract.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Try again later: the system was busy, unreachable or restarting.
    Retry,
    /// Change the statement, the option or the value: the same call fails again.
    Fix,
    /// Open the connection, file or engine anew: this handle is of no more use.
    Reopen,
    /// Stored state is damaged and must be mended or rebuilt before use.
    Repair,
    /// A defect of Polder: please report it.
    Report,
}

/// A five-character SQLSTATE, as in PostgreSQL's appendix A.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// 08001: the source could not be reached.
    pub const CONNECTION: Self = Self(*b"08001");
    /// 08006: the connection broke in the middle.
    pub const CONNECTION_LOST: Self = Self(*b"08006");
    /// 0A000: a feature that is not supported.
    pub const NOT_SUPPORTED: Self = Self(*b"0A000");
    /// 21000: a scalar subquery gave more than one row.
    pub const CARDINALITY: Self = Self(*b"21000");
    /// 08P01: a client that does not keep to the protocol.
    pub const PROTOCOL: Self = Self(*b"08P01");
    /// 25P03: a transaction in which nothing happened for too long.
    pub const IDLE_TRANSACTION: Self = Self(*b"25P03");
    /// 26000: a prepared statement that does not exist.
    pub const NO_STATEMENT: Self = Self(*b"26000");
    /// 34000: a cursor or portal that does not exist.
    pub const NO_CURSOR: Self = Self(*b"34000");
    /// 42P05: a prepared statement that exists already.
    pub const DUPLICATE_STATEMENT: Self = Self(*b"42P05");
    /// 22000: a value that is wrong in another way.
    pub const DATA: Self = Self(*b"22000");
    /// 22003: a number out of range.
    pub const OUT_OF_RANGE: Self = Self(*b"22003");
    /// 22012: division by zero.
    pub const DIVISION_BY_ZERO: Self = Self(*b"22012");
    /// 22021: a character that the encoding has not.
    pub const CHARACTER: Self = Self(*b"22021");
    /// 22023: an invalid parameter or option value.
    pub const PARAMETER: Self = Self(*b"22023");
    /// 22P02: a text that its type cannot read.
    pub const TEXT: Self = Self(*b"22P02");
    /// 22P04: a file or stream of bad format.
    pub const FORMAT: Self = Self(*b"22P04");
    /// 23502: a NULL where none may be.
    pub const NOT_NULL: Self = Self(*b"23502");
    /// 23505: a key that is there already.
    pub const UNIQUE: Self = Self(*b"23505");
    /// 23503: a row that refers to none, or that others refer to.
    pub const FOREIGN_KEY: Self = Self(*b"23503");
    /// 23514: a row that a CHECK refuses.
    pub const CHECK: Self = Self(*b"23514");
    /// 428C9: a value for a column that is always generated.
    pub const GENERATED: Self = Self(*b"428C9");
    /// 42830: a foreign key that refers to no key.
    pub const NO_KEY: Self = Self(*b"42830");
    /// 42P10: no key or unique constraint has the columns that ON CONFLICT names.
    pub const NO_SUCH_KEY: Self = Self(*b"42P10");
    /// 25001: a statement that cannot stand in a transaction.
    pub const IN_TRANSACTION: Self = Self(*b"25001");
    /// 25P01: no transaction has begun.
    pub const NO_TRANSACTION: Self = Self(*b"25P01");
    /// 25P02: the transaction has failed and must be rolled back.
    pub const FAILED_TRANSACTION: Self = Self(*b"25P02");
    /// 25006: a write where only reads are allowed.
    pub const READ_ONLY: Self = Self(*b"25006");
    /// 28000: a login that was refused.
    pub const LOGIN: Self = Self(*b"28000");
    /// 28P01: a wrong password.
    pub const PASSWORD: Self = Self(*b"28P01");
    /// 3D000: a catalog that does not exist.
    pub const NO_CATALOG: Self = Self(*b"3D000");
    /// 3F000: a schema that does not exist.
    pub const NO_SCHEMA: Self = Self(*b"3F000");
    /// 40001: a transaction that must be tried again.
    pub const SERIALIZATION: Self = Self(*b"40001");
    /// 42501: a right that is missing.
    pub const PRIVILEGE: Self = Self(*b"42501");
    /// 42601: a syntax error.
    pub const SYNTAX: Self = Self(*b"42601");
    /// 42P02: a parameter without a value.
    pub const NO_PARAMETER: Self = Self(*b"42P02");
    /// 42701: a column that is named twice.
    pub const DUPLICATE_COLUMN: Self = Self(*b"42701");
    /// 42703: a column that does not exist.
    pub const NO_COLUMN: Self = Self(*b"42703");
    /// 42702: a column name that means several columns.
    pub const AMBIGUOUS: Self = Self(*b"42702");
    /// 42704: another object that does not exist.
    pub const NO_OBJECT: Self = Self(*b"42704");
    /// A function or procedure exists already.
    pub const DUPLICATE_FUNCTION: Self = Self(*b"42723");
    /// A condition that a procedure asserts is not true.
    pub const ASSERTION: Self = Self(*b"P0004");
    /// 42710: an object that exists already.
    pub const DUPLICATE_OBJECT: Self = Self(*b"42710");
    /// 42804: types that do not fit.
    pub const TYPE: Self = Self(*b"42804");
    /// 42883: a function or operator that does not exist for these types.
    pub const NO_FUNCTION: Self = Self(*b"42883");
    /// 42P01: a table that does not exist.
    pub const NO_TABLE: Self = Self(*b"42P01");
    /// 42P04: a catalog that exists already.
    pub const DUPLICATE_CATALOG: Self = Self(*b"42P04");
    /// 42P07: a table or view that exists already.
    pub const DUPLICATE_TABLE: Self = Self(*b"42P07");
    /// 2BP01: something else depends on the object.
    pub const DEPENDENTS: Self = Self(*b"2BP01");
    /// 53200: out of memory.
    pub const MEMORY: Self = Self(*b"53200");
    /// 53300: too many connections.
    pub const CONNECTIONS: Self = Self(*b"53300");
    /// 53400: more than the configuration allows.
    pub const CONFIGURED: Self = Self(*b"53400");
    /// 55000: an object that is not in the state the call needs.
    pub const STATE: Self = Self(*b"55000");
    /// 55006: an object in use.
    pub const IN_USE: Self = Self(*b"55006");
    /// 57014: a query that was cancelled.
    pub const CANCELLED: Self = Self(*b"57014");
    /// 57P01: the server is shutting down.
    pub const SHUTDOWN: Self = Self(*b"57P01");
    /// 58030: an input or output error.
    pub const IO: Self = Self(*b"58030");
    /// 58P01: a file that does not exist.
    pub const NO_FILE: Self = Self(*b"58P01");
    /// XX000: an internal error.
    pub const INTERNAL: Self = Self(*b"XX000");
    /// PD001: a request id that was used for another statement.
    pub const REQUEST_REUSED: Self = Self(*b"PD001");
    /// PD002: a position was not reached in time.
    pub const NOT_REACHED: Self = Self(*b"PD002");
    /// PD003: a position that is not held any more, or not yet there.
    pub const NOT_HELD: Self = Self(*b"PD003");
    /// XX001: damaged data.
    pub const DAMAGED: Self = Self(*b"XX001");

    /// Reads a code that a source sent; `None` unless it is five ASCII letters or digits.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 5] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an SQLSTATE is ASCII")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that speaks to a person.
///
/// The message is lower case and factual (`could not attach catalog "crm"`), `detail` gives the causes,
/// `hint` the next step. No part of it ever holds a secret.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind, with its SQLSTATE and one factual sentence.
    pub fn new(kind: Kind, state: SqlState, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, state, message: message.into(), detail: None, hint: None, source: None }))
    }

    /// A [`Kind::Fix`]: the statement, option or value must change.
    pub fn fix(state: SqlState, message: impl Into<String>) -> Self {
        Self::new(Kind::Fix, state, message)
    }

    /// A [`Kind::Retry`]: the same call may succeed later.
    pub fn retry(state: SqlState, message: impl Into<String>) -> Self {
        Self::new(Kind::Retry, state, message)
    }

    /// A [`Kind::Report`]: a broken invariant of ours.
    pub fn report(message: impl Into<String>) -> Self {
        Self::new(Kind::Report, SqlState::INTERNAL, message)
            .with_hint("this is a defect of Polder; please report it with the statement that caused it")
    }

    /// The query was cancelled, by its user or because its client went away.
    pub fn cancelled() -> Self {
        Self::new(Kind::Retry, SqlState::CANCELLED, "the query was cancelled")
    }

    /// The query ran longer than it may.
    pub fn out_of_time() -> Self {
        Self::new(Kind::Retry, SqlState::CANCELLED, "the query ran longer than its statement timeout")
            .with_hint("raise it with SET statement_timeout = '5m'")
    }

    /// Adds what is known of the cause.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the next step for the reader.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Keeps the error below this one, for logs.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts the place before the message: `source "shop": connection refused`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The SQLSTATE.
    pub fn state(&self) -> SqlState {
        self.0.state
    }

    /// The factual sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The causes, if known.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The next step, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Turns what DataFusion reports into an [`Error`]: one of ours that travelled through a plan comes back
    /// as it was, anything else gets the SQLSTATE that PostgreSQL would give.
    pub fn from_datafusion(error: DataFusionError) -> Self {
        match take_ours(error) {
            Ok(ours) => ours,
            Err(theirs) => classify(theirs),
        }
    }
}

/// Prints the message alone; `detail` and `hint` are for the edges to lay out.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// Digs our own error out of the wrappers that a plan puts around it. Where a wrapper cannot be taken apart (an error
/// shared by several partitions, an error of Parquet's) ours is copied, and its source is dropped.
fn take_ours(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Ok(*ours),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(nested) => take_ours(*nested),
                Err(other) => copy_ours(DataFusionError::External(other)),
            },
        },
        DataFusionError::Context(context, inner) => {
            take_ours(*inner).map_err(|theirs| DataFusionError::Context(context, Box::new(theirs)))
        }
        DataFusionError::Diagnostic(diagnostic, inner) => {
            take_ours(*inner).map_err(|theirs| DataFusionError::Diagnostic(diagnostic, Box::new(theirs)))
        }
        DataFusionError::ArrowError(inner, trace) => match *inner {
            arrow::error::ArrowError::ExternalError(external) => take_ours(DataFusionError::External(external)),
            other => copy_ours(DataFusionError::ArrowError(Box::new(other), trace)),
        },
        DataFusionError::Collection(errors) => {
            let mut theirs = Vec::new();
            for error in errors {
                match take_ours(error) {
                    Ok(ours) => return Ok(ours),
                    Err(other) => theirs.push(other),
                }
            }
            Err(theirs.into_iter().next().unwrap_or_else(|| DataFusionError::Internal("an empty error".to_string())))
        }
        other => copy_ours(other),
    }
}

/// A copy of ours, if it is anywhere among the causes.
fn copy_ours(error: DataFusionError) -> Result<Error, DataFusionError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Error(inner)) = current.downcast_ref::<Error>() {
            return Ok(Error(Box::new(Inner {
                kind: inner.kind,
                state: inner.state,
                message: inner.message.clone(),
                detail: inner.detail.clone(),
                hint: inner.hint.clone(),
                source: None,
            })));
        }
        cause = current.source();
    }
    Err(error)
}

fn classify(error: DataFusionError) -> Error {
    let (kind, state) = kind_and_state(error.find_root());
    let classified = match error.find_root() {
        DataFusionError::SchemaError(inner, _) => match &**inner {
            SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
            _ => Error::new(kind, state, plain_message(&error)),
        },
        _ if state == SqlState::DIVISION_BY_ZERO => Error::new(kind, state, "division by zero"),
        _ => Error::new(kind, state, plain_message(&error)),
    };
    classified.with_source(error)
}

/// How many columns a hint lists at most.
const COLUMNS_LISTED_MAX: usize = 20;

fn no_column(field: &Column, valid: &[Column]) -> Error {
    let error = Error::fix(SqlState::NO_COLUMN, format!("column \"{}\" does not exist", field.flat_name()));
    if valid.is_empty() {
        return error;
    }
    let mut names: Vec<_> = valid.iter().map(|column| column.name.as_str()).take(COLUMNS_LISTED_MAX).collect();
    if valid.len() > names.len() {
        names.push("...");
    }
    error.with_hint(format!("the columns are: {}", names.join(", ")))
}

fn kind_and_state(error: &DataFusionError) -> (Kind, SqlState) {
    use arrow::error::ArrowError;
    match error {
        DataFusionError::SQL(..) => (Kind::Fix, SqlState::SYNTAX),
        DataFusionError::SchemaError(inner, _) => (
            Kind::Fix,
            match **inner {
                SchemaError::AmbiguousReference { .. } => SqlState::AMBIGUOUS,
                SchemaError::FieldNotFound { .. } => SqlState::NO_COLUMN,
                _ => SqlState::SYNTAX,
            },
        ),
        DataFusionError::Plan(message) if message.contains("Invalid function") => (Kind::Fix, SqlState::NO_FUNCTION),
        DataFusionError::Plan(message) if message.contains("table '") && message.contains("not found") => {
            (Kind::Fix, SqlState::NO_TABLE)
        }
        DataFusionError::Plan(message) if message.contains("coerce") || message.contains("type") => {
            (Kind::Fix, SqlState::TYPE)
        }
        DataFusionError::Plan(_) => (Kind::Fix, SqlState::SYNTAX),
        DataFusionError::NotImplemented(_) => (Kind::Fix, SqlState::NOT_SUPPORTED),
        DataFusionError::Configuration(_) => (Kind::Fix, SqlState::PARAMETER),
        DataFusionError::ResourcesExhausted(_) => (Kind::Retry, SqlState::MEMORY),
        DataFusionError::ArrowError(inner, _) => (
            Kind::Fix,
            match **inner {
                ArrowError::DivideByZero => SqlState::DIVISION_BY_ZERO,
                ArrowError::ArithmeticOverflow(_) => SqlState::OUT_OF_RANGE,
                ArrowError::CastError(_) | ArrowError::ParseError(_) => SqlState::TEXT,
                ArrowError::CsvError(_) | ArrowError::JsonError(_) | ArrowError::ParquetError(_) => SqlState::FORMAT,
                ArrowError::IoError(..) => SqlState::IO,
                _ => SqlState::DATA,
            },
        ),
        DataFusionError::ParquetError(_) => (Kind::Fix, SqlState::FORMAT),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => (Kind::Retry, SqlState::IO),
        DataFusionError::Execution(_) | DataFusionError::External(_) => (Kind::Fix, SqlState::DATA),
        DataFusionError::Internal(_) => (Kind::Report, SqlState::INTERNAL),
        _ => (Kind::Report, SqlState::INTERNAL),
    }
}

/// DataFusion's message without the prefixes of its enum (`Error during planning: `), without backtraces, and without its
/// plea to report a defect to its own authors.
fn plain_message(error: &DataFusionError) -> String {
    let message = match error {
        DataFusionError::SQL(parser, _) => parser.to_string(),
        DataFusionError::Internal(message) => message.clone(),
        other => other.strip_backtrace(),
    };
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    let prefixes = [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "External error: ",
        "Arrow error: ",
        "Parquet error: ",
        "SQL error: ",
        "sql parser error: ",
        "IO error: ",
        "Resources exhausted: ",
        "Invalid or Unsupported Configuration: ",
        "This feature is not implemented: ",
    ];
    let mut text = message.trim();
    while let Some(rest) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    text.to_string()
}
