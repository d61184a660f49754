//! Bulk ingest: rows of a client into a table or a topic, as one change.

use super::Server;
use super::call::Call;
use super::put::Sent;
use super::statement::count;
use crate::session::Session;
use crate::sql::identifier;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;

/// Takes the rows of a request; how many there were. What was made for them goes again if they cannot be taken.
pub(super) async fn ingest(server: &Server, call: &Call, request: CommandStatementIngest, sent: Sent) -> Result<i64> {
    if request.temporary {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, "there are no temporary tables"));
    }
    let session = server.session_of(call, request.transaction_id.as_ref()).await?;
    call.runs_in(&session);
    let table = target(&request);
    let created = prepare_table(server, &session, &request, &table, &sent.schema).await?;
    let inserted = insert(server, &session, table.clone(), sent).await;
    if inserted.is_err() && created {
        run(server, &session, format!("DROP TABLE {}", dotted(&table))).await?;
    }
    inserted
}

/// The name of the table, in its parts.
fn target(request: &CommandStatementIngest) -> Vec<String> {
    let given = |part: &Option<String>| part.clone().filter(|part| !part.is_empty());
    let (catalog, schema) = (given(&request.catalog), given(&request.schema));
    // A catalog alone is Polder's own, whose tables are in `public`.
    let schema = schema.or_else(|| catalog.is_some().then(|| "public".to_string()));
    catalog.into_iter().chain(schema).chain([request.table.clone()]).collect()
}

fn dotted(table: &[String]) -> String {
    table.iter().map(|part| identifier(part)).collect::<Vec<_>>().join(".")
}

async fn insert(server: &Server, session: &Arc<Session>, table: Vec<String>, sent: Sent) -> Result<i64> {
    let schema = Arc::clone(&sent.schema);
    let rows = futures::stream::try_unfold(sent, |mut sent| async move {
        let batch = sent.next().await?;
        Ok(batch.map(|batch| (batch, sent)))
    });
    let rows = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
    let session = Arc::clone(session);
    server.work(async move { session.ingest(table, rows).await.map(|tag| count(&tag)) }).await
}

/// Makes the table, as the request says; whether there is a new one.
async fn prepare_table(
    server: &Server,
    session: &Arc<Session>,
    request: &CommandStatementIngest,
    table: &[String],
    schema: &Schema,
) -> Result<bool> {
    let options = request.table_definition_options.unwrap_or_default();
    let name = dotted(table);
    let create = async || run(server, session, format!("CREATE TABLE {name} ({})", columns(schema)?)).await;
    match (options.if_not_exist(), options.if_exists()) {
        (TableNotExistOption::Create, TableExistsOption::Append) => {
            if exists(server, session, &name).await? {
                return Ok(false);
            }
            create().await.map(|()| true)
        }
        (TableNotExistOption::Create, TableExistsOption::Replace) => {
            columns(schema)?;
            run(server, session, format!("DROP TABLE IF EXISTS {name}")).await?;
            create().await.map(|()| true)
        }
        (TableNotExistOption::Create, _) => create().await.map(|()| true),
        (_, TableExistsOption::Append) => Ok(false),
        _ => Err(Error::fix(SqlState::PARAMETER, "rows are appended to a table, or make or replace one")),
    }
}

async fn exists(server: &Server, session: &Arc<Session>, name: &str) -> Result<bool> {
    let prepared = Arc::new(session.prepare(&format!("SELECT * FROM {name}"))?);
    match server.describe(session, prepared).await {
        Ok(_) => Ok(true),
        Err(error) if error.state() == SqlState::NO_TABLE => Ok(false),
        Err(error) => Err(error),
    }
}

async fn run(server: &Server, session: &Arc<Session>, sql: String) -> Result<()> {
    let prepared = Arc::new(session.prepare(&sql)?);
    server.run(session, prepared, Vec::new()).await.map(drop)
}

fn columns(schema: &Schema) -> Result<String> {
    let column = |field: &Arc<Field>| Ok(format!("{} {}", identifier(field.name()), sql_type(field.data_type())?));
    Ok(schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?.join(", "))
}

/// The type of a column for such values.
///
/// # Errors
/// 0A000 if there is none.
fn sql_type(of: &DataType) -> Result<String> {
    let name = match of {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "SMALLINT",
        DataType::Int32 | DataType::UInt16 => "INTEGER",
        DataType::Int64 | DataType::UInt32 => "BIGINT",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float16 | DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE PRECISION",
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BYTEA",
        DataType::Date32 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Date64 | DataType::Timestamp(TimeUnit::Second, None) => "TIMESTAMP(0)",
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP(3)",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP(6)",
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP(9)",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        DataType::Dictionary(_, value) => return sql_type(value),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            return Ok(format!("DECIMAL({precision}, {scale})"));
        }
        DataType::List(item) | DataType::LargeList(item) => {
            return sql_type(item.data_type()).map(|item| format!("{item}[]"));
        }
        other => {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, format!("no table can be made with a column of {other}"))
                .with_hint("create the table first, and append"));
        }
    };
    Ok(name.to_string())
}
