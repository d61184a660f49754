//! The rows that a statement writes: a query's, or what a client sends, in the types of the columns they go to.

use crate::execute::resolve::Resolver;
use crate::plan::{Planner, Tables};
use crate::session::{GivenRows, Session};
use crate::sql::Query;
use arrow::array::{Array, RecordBatch, new_null_array};
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use polder_catalog::{Error, ReadContext, Result, SqlState};
use std::collections::HashMap;
use std::sync::Arc;

/// Where rows come from.
pub(super) enum Source<'a> {
    /// A query over anything.
    Query(&'a Query),
    /// A query over tables that only this statement has.
    Given { query: Query, tables: Box<Tables> },
}

/// Plans and starts the rows of a statement. `columns` are those that are given, in the order of the query's; all of
/// `fields` if none are named. The others have their default, or are NULL.
pub(super) async fn start(
    session: &Session,
    context: &ReadContext,
    fields: &[FieldRef],
    columns: &[String],
    defaults: &[Option<&str>],
    source: Source<'_>,
) -> Result<Written> {
    let engine = &session.engine.0;
    let settings = session.settings();
    let planner = Planner::new(engine, context).with_settings(&settings);
    let (planner, query, tables) = match source {
        Source::Query(query) => {
            let catalogs = engine.catalogs();
            let tables = Resolver::new(engine, &catalogs, context).query(query).await?;
            // As in PostgreSQL, rows are written in the order that the query gives: offsets follow it.
            (planner.keeping_order(), query.clone(), tables)
        }
        // What is copied keeps its order: the newest record of a key is its last in the file.
        Source::Given { query, tables } => (planner.in_order(), query, *tables),
    };
    let planned =
        planner.physical_into(&query, &tables, fields, defaults, |given| places(fields, columns, given)).await?;
    let stream = execute_stream(Arc::clone(&planned.physical), planned.task()).map_err(Error::from_datafusion)?;
    Ok(Written { stream, context: context.clone(), required: required(fields) })
}

/// Which of the query's columns goes to each field.
fn places(fields: &[FieldRef], columns: &[String], given: usize) -> Result<Vec<Option<usize>>> {
    let named: HashMap<&str, usize> = columns.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    if named.len() < columns.len() {
        return Err(Error::fix(SqlState::DUPLICATE_COLUMN, "a column is named twice"));
    }
    if let Some(unknown) = columns.iter().find(|name| !fields.iter().any(|field| field.name() == *name)) {
        let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
        return Err(Error::fix(SqlState::NO_COLUMN, format!("column \"{unknown}\" does not exist"))
            .with_hint(format!("the columns are: {}", names.join(", "))));
    }
    let wanted = if columns.is_empty() { fields.len() } else { columns.len() };
    // As in PostgreSQL: without names, fewer values than columns leave the last ones NULL.
    if given > wanted || (given < wanted && !columns.is_empty()) {
        return Err(Error::fix(
            SqlState::SYNTAX,
            format!("{wanted} columns are written, and {given} values are given"),
        ));
    }
    let place = |(at, field): (usize, &FieldRef)| match columns {
        [] => Some(at).filter(|at| *at < given),
        _ => named.get(field.name().as_str()).copied(),
    };
    Ok(fields.iter().enumerate().map(place).collect())
}

/// Rows of values in the columns that are named, as columns of a table.
pub(super) fn batch_of(schema: &SchemaRef, columns: &[String], rows: GivenRows<'_>) -> Result<RecordBatch> {
    let fields = schema.fields();
    let given = rows.places.first().map_or(0, Vec::len);
    if rows.places.iter().any(|row| row.len() != given) {
        return Err(Error::fix(SqlState::SYNTAX, "the rows of VALUES have different numbers of values"));
    }
    let places = places(fields, columns, given)?;
    let array = |(field, place): (&FieldRef, &Option<usize>)| {
        let Some(place) = place else { return Ok(new_null_array(field.data_type(), rows.places.len())) };
        let of_type = |row: &Vec<usize>| {
            let value = &rows.values[row[*place]];
            if value.data_type() == *field.data_type() { Ok(value.clone()) } else { value.cast_to(field.data_type()) }
        };
        let values = rows.places.iter().map(of_type).collect::<Result<Vec<_>, _>>().map_err(Error::from_datafusion)?;
        ScalarValue::iter_to_array(values).map_err(Error::from_datafusion)
    };
    let arrays = fields.iter().zip(&places).map(array).collect::<Result<Vec<_>>>()?;
    for at in required(fields) {
        if arrays[at].null_count() > 0 {
            return Err(null(fields[at].name()));
        }
    }
    RecordBatch::try_new(Arc::clone(schema), arrays)
        .map_err(|error| Error::report("values do not fit the table they go to").with_source(error))
}

pub(super) fn null(column: &str) -> Error {
    Error::fix(SqlState::NOT_NULL, format!("column \"{column}\" must not be NULL"))
}

fn required(fields: &[FieldRef]) -> Vec<usize> {
    (0..fields.len()).filter(|at| !fields[*at].is_nullable()).collect()
}

/// Rows on their way into an entry.
pub(super) struct Written {
    stream: SendableRecordBatchStream,
    context: ReadContext,
    required: Vec<usize>,
}

impl Written {
    /// The next rows, checked for NULL where none may be.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = tokio::select! {
            biased;
            error = self.context.stopped() => return Err(error),
            next = self.stream.next() => next,
        };
        let batch = next.transpose().map_err(Error::from_datafusion)?;
        if let Some(batch) = &batch {
            refuse_nulls(batch, &self.required)?;
        }
        Ok(batch)
    }
}

/// Refuses NULL in the columns at these places.
pub(super) fn refuse_nulls(batch: &RecordBatch, required: &[usize]) -> Result<()> {
    match required.iter().find(|at| batch.column(**at).logical_null_count() > 0) {
        None => Ok(()),
        Some(at) => Err(null(batch.schema().field(*at).name())),
    }
}
