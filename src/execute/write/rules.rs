//! What the columns of a table ask of each row: numbers of their own, and conditions that it meets.

use crate::definitions::{TableDefinition, dataset_id};
use crate::engine::Inner;
use crate::plan::Planner;
use crate::sql::{self, Identity};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::PhysicalExpr;
use polder_catalog::{Error, ReadContext, Result, SqlState};
use std::sync::Arc;

/// The rules of one table, for the rows of one statement.
pub(super) struct Rules {
    table: String,
    id: u64,
    schema: SchemaRef,
    identity: Option<(usize, Identity)>,
    checks: Vec<(String, Arc<dyn PhysicalExpr>)>,
}

impl Rules {
    pub(super) fn of(engine: &Inner, context: &ReadContext, table: &TableDefinition) -> Result<Self> {
        let schema = table.arrow_schema();
        let identity = table.columns.iter().position(|column| column.identity.is_some());
        let checks = match table.checks.is_empty() {
            true => Vec::new(),
            false => {
                let planner = Planner::new(engine, context);
                let check = |check: &crate::definitions::StoredCheck| {
                    Ok((check.name.clone(), planner.condition(&check.condition, &schema)?))
                };
                table.checks.iter().map(check).collect::<Result<_>>()?
            }
        };
        Ok(Self {
            table: table.full_name().to_string(),
            id: table.id,
            identity: identity.and_then(|at| Some((at, table.columns[at].identity?))),
            schema,
            checks,
        })
    }

    /// The columns as rows come, before [`complete`](Self::complete): the number of the row may be missing.
    pub(super) fn incoming(&self) -> SchemaRef {
        let Some((at, _)) = self.identity else { return Arc::clone(&self.schema) };
        let fields = self.schema.fields().iter().enumerate();
        let fields = fields.map(|(place, field)| match place == at {
            true => Arc::new(field.as_ref().clone().with_nullable(true)),
            false => Arc::clone(field),
        });
        Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Refuses to assign to a column that only the table itself fills.
    ///
    /// # Errors
    /// 428C9 naming the column.
    pub(super) fn refuse_assigned<'a>(&self, mut columns: impl Iterator<Item = &'a String>) -> Result<()> {
        match self.identity {
            Some((at, Identity::Always)) if columns.any(|name| name == self.schema.field(at).name()) => {
                Err(self.generated(at))
            }
            _ => Ok(()),
        }
    }

    fn generated(&self, at: usize) -> Error {
        let name = self.schema.field(at).name();
        Error::fix(SqlState::GENERATED, format!("column \"{name}\" is always generated"))
            .with_hint("leave it out of the columns that are named, or write DEFAULT for it")
    }

    /// Inserted rows under the table's own schema, with numbers where they have none, checked.
    ///
    /// # Errors
    /// 23514 naming the condition that a row does not meet, 428C9 for a number that only the table itself gives.
    pub(super) fn complete(&self, engine: &Inner, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        if let Some((at, identity)) = self.identity {
            if identity == Identity::Always && columns[at].null_count() < columns[at].len() {
                return Err(self.generated(at));
            }
            columns[at] = self.numbered(engine, &columns[at])?;
        }
        let rows = super::change::of_schema(columns, &self.schema)?;
        self.check(&rows)?;
        Ok(rows)
    }

    fn numbered(&self, engine: &Inner, given: &ArrayRef) -> Result<ArrayRef> {
        let missing = given.null_count();
        if missing == 0 {
            return Ok(Arc::clone(given));
        }
        let numbers = engine.commit.own().numbers(&dataset_id(self.id), missing);
        let mut numbers = numbers.ok_or_else(|| Error::report("a table has lost its identity column"))?;
        let number = |at: usize| if given.is_null(at) { numbers.next() } else { None };
        let numbers: Int64Array = (0..given.len()).map(number).collect();
        let defect = |error| {
            Error::fix(SqlState::OUT_OF_RANGE, "the numbers of an identity column are used up").with_source(error)
        };
        let numbers = cast(&numbers, given.data_type()).map_err(defect)?;
        let is_null = arrow::compute::is_null(given).map_err(defect)?;
        zip(&is_null, &numbers, given).map_err(defect)
    }

    /// Checks rows that are to be.
    ///
    /// # Errors
    /// 23514 naming the condition that a row does not meet.
    pub(super) fn check(&self, rows: &RecordBatch) -> Result<()> {
        for (name, condition) in &self.checks {
            let met = condition.evaluate(rows).map_err(Error::from_datafusion)?;
            let met = match met {
                ColumnarValue::Array(met) => met,
                scalar @ ColumnarValue::Scalar(_) => {
                    scalar.into_array(rows.num_rows()).map_err(Error::from_datafusion)?
                }
            };
            let met = met.as_boolean_opt().ok_or_else(|| Error::report("a condition is no truth value"))?;
            // As in SQL, a condition that is unknown is met.
            if let Some(row) = (0..met.len()).find(|row| met.is_valid(*row) && !met.value(*row)) {
                return Err(self.refused(name, rows, row));
            }
        }
        Ok(())
    }

    fn refused(&self, check: &str, rows: &RecordBatch, row: usize) -> Error {
        let text = |column: &ArrayRef| match column.is_null(row) {
            true => "NULL".to_string(),
            false => array_value_to_string(column, row).unwrap_or_default(),
        };
        let values: Vec<_> = rows.columns().iter().map(text).collect();
        Error::fix(SqlState::CHECK, format!("a row of table {} violates check \"{check}\"", self.table))
            .with_detail(format!("row ({})", values.join(", ")))
    }
}

impl Planner<'_> {
    /// A condition over the columns of a table, ready to be evaluated.
    ///
    /// # Errors
    /// Those of its expression; 42804 if it is none, 0A000 if it would not be the same tomorrow.
    pub(crate) fn condition(&self, text: &str, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        if sql::has_query(text) {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, format!("CHECK ({text}) has a query in it")));
        }
        let state = self.bare_state()?;
        let columns = DFSchema::try_from(Arc::clone(schema)).map_err(Error::from_datafusion)?;
        let condition = state.create_logical_expr(text, &columns).map_err(Error::from_datafusion)?;
        refuse_volatile(&condition, text)?;
        let condition = state.create_physical_expr(condition, &columns).map_err(Error::from_datafusion)?;
        match condition.data_type(schema).map_err(Error::from_datafusion)? {
            arrow::datatypes::DataType::Boolean => Ok(condition),
            other => Err(Error::fix(SqlState::TYPE, format!("CHECK ({text}) is {other}, not a truth value"))),
        }
    }
}

fn refuse_volatile(condition: &Expr, text: &str) -> Result<()> {
    match condition.is_volatile() {
        true => Err(Error::fix(SqlState::NOT_SUPPORTED, format!("CHECK ({text}) may be another thing each time"))),
        false => Ok(()),
    }
}
