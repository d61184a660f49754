//! Prepared statements: read once, run with the values that were bound.

use super::Server;
use super::call::Call;
use super::encode::schema_bytes;
use super::put::Sent;
use super::statement::Ticket;
use crate::session::{Description, Prepared};
use crate::sql;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::{ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult};
use arrow_flight::{FlightDescriptor, FlightInfo};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use polder_catalog::{Error, Result, SqlState};
use std::sync::{Arc, Mutex, PoisonError};

/// A prepared statement of a client.
pub(super) struct Statement {
    prepared: Arc<Prepared>,
    /// The transaction that it was prepared in, and runs in.
    transaction: Option<Bytes>,
    bytes: usize,
    bound: Mutex<Vec<ScalarValue>>,
}

impl Statement {
    fn bound(&self) -> Vec<ScalarValue> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn bind(&self, values: Vec<ScalarValue>) {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }
}

/// Reads a statement, and tells what it takes and gives.
pub(super) async fn create(
    server: &Server,
    call: &Call,
    request: ActionCreatePreparedStatementRequest,
) -> Result<ActionCreatePreparedStatementResult> {
    // The driver of JDBC sends its question marks as they are.
    let query = sql::numbered(&request.query);
    let prepared = server.prepare(call, request.transaction_id.as_ref(), &query)?;
    let session = server.session_of(call, request.transaction_id.as_ref()).await?;
    let described = server.describe(&session, Arc::clone(&prepared)).await?;
    let bytes = request.query.len();
    let statement = Statement { prepared, transaction: request.transaction_id, bytes, bound: Mutex::default() };
    Ok(ActionCreatePreparedStatementResult {
        prepared_statement_handle: server.statements.put(Arc::new(statement), bytes)?.into(),
        dataset_schema: schema_bytes(described.columns.as_ref())?,
        parameter_schema: schema_bytes(Some(&Arc::new(parameters(&described))))?,
    })
}

/// One field for each parameter. A text is cast to the type that its place needs, so it stands for what is not told.
fn parameters(described: &Description) -> Schema {
    let field = |(at, of): (usize, &Option<DataType>)| {
        Field::new(format!("${}", at + 1), of.clone().unwrap_or(DataType::Utf8), true)
    };
    Schema::new(described.parameters.iter().enumerate().map(field).collect::<Vec<_>>())
}

pub(super) async fn describe(server: &Server, call: &Call, handle: &[u8]) -> Result<Description> {
    let statement = server.statements.get(handle)?;
    let session = server.session_of(call, statement.transaction.as_ref()).await?;
    server.describe(&session, Arc::clone(&statement.prepared)).await
}

/// Binds the values of a query.
///
/// # Errors
/// 0A000 for several rows: a query has one.
pub(super) async fn bind(server: &Server, handle: &[u8], mut sent: Sent) -> Result<()> {
    let statement = server.statements.get(handle)?;
    let mut values = Vec::new();
    while let Some(batch) = sent.next().await? {
        for row in 0..batch.num_rows() {
            if !values.is_empty() {
                return Err(Error::fix(SqlState::NOT_SUPPORTED, "a query takes one row of parameters")
                    .with_hint("run it once for each row"));
            }
            values = row_of(&batch, row)?;
        }
    }
    statement.bind(values);
    Ok(())
}

/// A ticket for the statement with the values that are bound now.
pub(super) async fn info(
    server: &Server,
    call: &Call,
    handle: &[u8],
    descriptor: FlightDescriptor,
) -> Result<FlightInfo> {
    let statement = server.statements.get(handle)?;
    let session = server.session_of(call, statement.transaction.as_ref()).await?;
    let ticket = Ticket::new(session, Arc::clone(&statement.prepared), statement.bound());
    server.info(call, ticket, statement.bytes, descriptor).await
}

/// Runs a statement once for each row of values, or once if it takes none; how many rows were changed.
pub(super) async fn update(server: &Server, call: &Call, handle: &[u8], sent: Option<Sent>) -> Result<i64> {
    let statement = server.statements.get(handle)?;
    let session = server.session_of(call, statement.transaction.as_ref()).await?;
    call.runs_in(&session);
    let run = async |values| {
        let outcome = server.run(&session, Arc::clone(&statement.prepared), values).await?;
        server.count(outcome).await
    };
    let Some(mut sent) = sent else { return run(statement.bound()).await };
    let mut total = 0;
    while let Some(batch) = sent.next().await? {
        for row in 0..batch.num_rows() {
            let count = run(row_of(&batch, row)?).await?;
            total = if count < 0 || total < 0 { -1 } else { total + count };
        }
    }
    Ok(total)
}

fn row_of(batch: &RecordBatch, row: usize) -> Result<Vec<ScalarValue>> {
    let value = |column: &ArrayRef| match ScalarValue::try_from_array(column, row).map_err(Error::from_datafusion)? {
        ScalarValue::Dictionary(_, value) => Ok(*value),
        value => Ok(value),
    };
    batch.columns().iter().map(value).collect()
}
