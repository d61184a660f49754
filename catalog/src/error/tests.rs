//! What DataFusion wraps comes back as ours; what is its own gets PostgreSQL's SQLSTATE and plain words.

use super::*;
use arrow::error::ArrowError;
use datafusion_common::parquet::errors::ParquetError;
use datafusion_common::{Column, Diagnostic, SchemaError};
use std::sync::Arc;

fn ours() -> Error {
    Error::retry(SqlState::CONNECTION_LOST, "source \"shop\": the connection broke")
        .with_detail("reset by peer")
        .with_hint("try again")
}

#[track_caller]
fn expect_ours(wrapped: DataFusionError) {
    let said = format!("{wrapped:?}");
    let back = Error::from_datafusion(wrapped);
    assert_eq!((back.kind(), back.state()), (Kind::Retry, SqlState::CONNECTION_LOST), "{said}");
    assert_eq!(back.message(), ours().message(), "{said}");
    assert_eq!((back.detail(), back.hint()), (Some("reset by peer"), Some("try again")), "{said}");
}

#[test]
fn ours_comes_back_from_every_wrapper() {
    let external = || DataFusionError::from(ours());
    let arrow = |error: DataFusionError| {
        DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(error))), None)
    };
    let other = || DataFusionError::Plan("something else".into());
    expect_ours(external());
    expect_ours(external().context("reading").context("joining"));
    expect_ours(DataFusionError::External(Box::new(external())));
    expect_ours(DataFusionError::Diagnostic(Box::new(Diagnostic::new_error("here", None)), Box::new(external())));
    expect_ours(DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(ours()))), None));
    expect_ours(arrow(external()));
    expect_ours(DataFusionError::External(Box::new(ArrowError::ExternalError(Box::new(ours())))));
    expect_ours(DataFusionError::Shared(Arc::new(external())));
    expect_ours(DataFusionError::Shared(Arc::new(arrow(external().context("reading")))));
    expect_ours(DataFusionError::Collection(vec![other(), external()]));
    expect_ours(DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(ours())))));
    expect_ours(arrow(DataFusionError::Shared(Arc::new(external().context("reading")))).context("joining"));
}

#[test]
fn every_partition_gets_the_error_that_they_share() {
    let shared = Arc::new(DataFusionError::from(ours()));
    let also = Arc::clone(&shared);
    expect_ours(DataFusionError::Shared(shared));
    expect_ours(DataFusionError::Shared(also));
}

#[test]
fn an_error_with_a_source_keeps_it_for_logs() {
    let cause = std::io::Error::other("disk full");
    let error = Error::from_datafusion(Error::new(Kind::Retry, SqlState::IO, "could not spill").with_source(cause).into());
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(source.to_string(), "disk full");
}

#[test]
fn errors_of_datafusion_have_the_sqlstate_of_postgres() {
    let arrow = |error| DataFusionError::ArrowError(Box::new(error), None);
    let schema = |error| DataFusionError::SchemaError(Box::new(error), Box::new(None));
    let missing = SchemaError::FieldNotFound { field: Box::new(Column::from_name("x")), valid_fields: vec![] };
    let ambiguous = SchemaError::AmbiguousReference { field: Box::new(Column::from_name("x")) };
    for (error, kind, state) in [
        (arrow(ArrowError::DivideByZero), Kind::Fix, SqlState::DIVISION_BY_ZERO),
        (arrow(ArrowError::ArithmeticOverflow("9 + 9".into())), Kind::Fix, SqlState::OUT_OF_RANGE),
        (arrow(ArrowError::CastError("'x' as Int64".into())), Kind::Fix, SqlState::TEXT),
        (arrow(ArrowError::CsvError("line 3".into())), Kind::Fix, SqlState::FORMAT),
        (schema(missing), Kind::Fix, SqlState::NO_COLUMN),
        (schema(ambiguous), Kind::Fix, SqlState::AMBIGUOUS),
        (DataFusionError::Plan("table 'a.b.c' not found".into()), Kind::Fix, SqlState::NO_TABLE),
        (DataFusionError::Plan("Invalid function 'frob'".into()), Kind::Fix, SqlState::NO_FUNCTION),
        (DataFusionError::Plan("cannot coerce".into()), Kind::Fix, SqlState::TYPE),
        (DataFusionError::NotImplemented("MERGE".into()), Kind::Fix, SqlState::NOT_SUPPORTED),
        (DataFusionError::Configuration("no such key".into()), Kind::Fix, SqlState::PARAMETER),
        (DataFusionError::ResourcesExhausted("200 MB".into()), Kind::Retry, SqlState::MEMORY),
        (DataFusionError::IoError(std::io::Error::other("disk")), Kind::Retry, SqlState::IO),
        (DataFusionError::Internal("oh".into()), Kind::Report, SqlState::INTERNAL),
    ] {
        let said = format!("{error:?}");
        let wrapped = Error::from_datafusion(DataFusionError::Shared(Arc::new(error.context("planning"))));
        assert_eq!((wrapped.kind(), wrapped.state()), (kind, state), "{said}");
    }
}

#[test]
fn messages_are_one_plain_line() {
    let message = |error: DataFusionError| Error::from_datafusion(error).message().to_string();
    assert_eq!(message(DataFusionError::Plan("no such thing".into())), "no such thing");
    assert_eq!(message(DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None)), "Divide by zero error");
    assert_eq!(message(DataFusionError::Execution(format!("it broke{}at x", DataFusionError::BACK_TRACE_SEP))), "it broke");
    assert_eq!(message(DataFusionError::Internal("it broke".into())), "it broke");
}

#[test]
fn what_was_going_on_is_the_detail() {
    let error = DataFusionError::Plan("no such thing".into()).context("optimizer rule \"x\" failed").context("planning");
    let error = Error::from_datafusion(error);
    assert_eq!(error.message(), "no such thing");
    assert_eq!(error.detail(), Some("planning: optimizer rule \"x\" failed"));
}

#[test]
fn an_sqlstate_is_five_letters_or_digits() {
    assert_eq!(SqlState::parse("42P01"), Some(SqlState::NO_TABLE));
    assert_eq!(SqlState::NO_TABLE.to_string(), "42P01");
    for code in ["", "42P0", "42P011", "42P0!", "42Pé"] {
        assert_eq!(SqlState::parse(code), None, "{code}");
    }
}

#[test]
fn a_place_stands_before_the_message() {
    assert_eq!(Error::cancelled().at("catalog \"shop\"").to_string(), "catalog \"shop\": the query was cancelled");
}
