//! What the server and the driver report, as errors that name the source and say what to do.

use polder_catalog::{CatalogName, Error, Kind, SqlState};
use std::error::Error as _;

/// Maps an error of the driver. `source` is the catalog that was read.
pub(crate) fn of_driver(source: &CatalogName, error: tokio_postgres::Error) -> Error {
    let mapped = match error.as_db_error() {
        Some(reported) => of_server(reported),
        None => of_transport(&error),
    };
    at(source, mapped).with_source(error)
}

/// Names the source in front of an error.
pub(crate) fn at(source: &CatalogName, error: Error) -> Error {
    error.at(format_args!("source \"{source}\""))
}

fn of_server(reported: &tokio_postgres::error::DbError) -> Error {
    let code = reported.code().code();
    let state = SqlState::parse(code).unwrap_or(SqlState::INTERNAL);
    let mut error = Error::new(kind_of(code), state, reported.message());
    if let Some(detail) = reported.detail() {
        error = error.with_detail(detail);
    }
    match hint_for(code).or(reported.hint()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn kind_of(code: &str) -> Kind {
    match code {
        // Class by class: connection, transaction rollback, resources, operator intervention.
        _ if ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) => Kind::Retry,
        "55P03" => Kind::Retry,
        "XX001" | "XX002" => Kind::Repair,
        _ => Kind::Fix,
    }
}

fn hint_for(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" => "check the catalog's options user and password (a secret: 'env:NAME' or 'file:PATH')",
        "28000" => "check the catalog's options user and sslmode, and the server's pg_hba.conf",
        "3D000" => "check the database in the catalog's option url or dbname",
        "42501" => "CHECK CATALOG prints the GRANT statements that are missing",
        "42P01" | "42703" | "42704" | "3F000" | "42804" => {
            "it was altered or dropped while the query ran, or is misspelled: DESCRIBE the table and run the query again"
        }
        "53300" => "lower the catalog's option pool_size, or raise max_connections at the server",
        "57014" => "the server cancelled the query: by its statement_timeout, or by the query's own deadline",
        "57P01" | "57P02" | "57P03" => "the server is stopping or starting: try again",
        "25006" => "the source is only read from",
        "22021" => "mend the value at the source, or read the column as bytea",
        _ => return None,
    })
}

fn of_transport(error: &tokio_postgres::Error) -> Error {
    let text = error.to_string();
    let detail = causes(error);
    let (state, message, hint) = if error.is_closed() {
        (SqlState::CONNECTION_LOST, "the connection was lost", "see the server's log, then run the query again")
    } else if text.contains("TLS") {
        (
            SqlState::CONNECTION,
            "the TLS handshake failed",
            "check the catalog's options sslmode and sslrootcert; verify-full needs a certificate for the host's name",
        )
    } else if text.contains("connecting") || text.contains("timeout") {
        (
            SqlState::CONNECTION,
            "could not connect",
            "check host and port in the catalog's options, and that the server runs",
        )
    } else if text.contains("authentication") {
        (SqlState::LOGIN, "the login failed", "give the catalog's option password: 'env:NAME' or 'file:PATH'")
    } else if text.contains("configuration") {
        (SqlState::PARAMETER, "the connection options do not work", "check the catalog's options")
    } else if text.contains("communicating") {
        (SqlState::CONNECTION_LOST, "the connection broke", "see the server's log, then run the query again")
    } else {
        (SqlState::INTERNAL, "the server's answer was not understood", "is it PostgreSQL that answers at this address?")
    };
    let kind = match state {
        SqlState::LOGIN | SqlState::PARAMETER => Kind::Fix,
        _ => Kind::Retry,
    };
    let error = Error::new(kind, state, message).with_hint(hint);
    if detail.is_empty() { error } else { error.with_detail(detail) }
}

/// The chain of causes below the driver's own sentence.
fn causes(error: &tokio_postgres::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(current) = cause {
        texts.push(current.to_string());
        cause = current.source();
    }
    texts.join(": ")
}
