//! PostgreSQL's protocol, by tokio-postgres: the types as it is told them, the values as texts.

use super::server::Server;
use super::{Answer, told};
use crate::render;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use polder::{Error, Result};
use std::sync::Arc;
use tokio_postgres::types::Type;
use tokio_postgres::{Column, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// A session of a server of its own.
pub(crate) struct Pgwire {
    client: tokio_postgres::Client,
    _server: Server,
}

impl Pgwire {
    pub(crate) async fn connect(locations: &[String]) -> Self {
        let server = Server::start(locations);
        let url = format!("postgresql://tests@{}/polder", server.pg);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connect");
        tokio::spawn(connection);
        Self { client, _server: server }
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<Answer> {
        let statement = self.client.prepare(sql).await.map_err(error)?;
        let messages = self.client.simple_query(sql).await.map_err(error)?;
        if statement.columns().is_empty() {
            return Ok(Answer::Done);
        }
        let rows: Vec<SimpleQueryRow> = messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect();
        Ok(Answer::Rows {
            columns: statement.columns().len(),
            rows: render::rows(&[batch(statement.columns(), &rows)]),
        })
    }
}

fn batch(columns: &[Column], rows: &[SimpleQueryRow]) -> RecordBatch {
    let column = |(at, column): (usize, &Column)| {
        let texts: StringArray = rows.iter().map(|row| row.get(at)).collect();
        (format!("{at}"), values(texts, column))
    };
    let columns: Vec<(String, ArrayRef)> = columns.iter().enumerate().map(column).collect();
    let fields =
        columns.iter().map(|(name, values)| arrow::datatypes::Field::new(name, values.data_type().clone(), true));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let columns = columns.into_iter().map(|(_, values)| values).collect();
    RecordBatch::try_new_with_options(schema, columns, &options).expect("columns of one length")
}

/// Texts as the values that they stand for, so that they are printed as those.
fn values(texts: StringArray, column: &Column) -> ArrayRef {
    let wanted = match *column.type_() {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::BYTEA => {
            let digits = |text: Option<&str>| text.map(|text| text.trim_start_matches("\\x").to_string());
            return Arc::new(texts.iter().map(digits).collect::<StringArray>());
        }
        // Shown as the bytes that it is.
        Type::UUID => {
            let digits = |text: Option<&str>| text.map(|text| text.replace('-', ""));
            return Arc::new(texts.iter().map(digits).collect::<StringArray>());
        }
        _ if column.type_().name().starts_with('_') => {
            return Arc::new(texts.iter().map(|text| text.map(list)).collect::<StringArray>());
        }
        _ => return Arc::new(texts),
    };
    cast(&texts, &wanted).expect("a text of its type")
}

/// `{1,"a b",NULL}` as Arrow shows a list.
fn list(text: &str) -> String {
    let inner = text.trim_start_matches('{').trim_end_matches('}').replace('"', "");
    format!("[{}]", inner.split(',').collect::<Vec<_>>().join(", "))
}

fn error(error: tokio_postgres::Error) -> Error {
    let Some(error) = error.as_db_error() else { panic!("{error}") };
    told(error.code().code(), error.message(), error.detail(), error.hint())
}
