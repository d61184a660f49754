//! `INSERT ... ON CONFLICT`: rows whose key is there already are left out, or change the row that is there.

use crate::definitions::{TableDefinition, dataset_id};
use crate::execute::write::attempt::Attempt;
use crate::execute::write::change::of_schema;
use crate::execute::write::draft::Draft;
use crate::execute::write::rules::Rules;
use crate::plan::Planner;
use crate::sql::OnConflict;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::{self, ExprWithAlias};
use polder_catalog::{ColumnId, Error, Result, SqlState};
use polder_rows::{Arbiter, Verdict};
use std::sync::Arc;

/// What the row is called that would have been inserted.
const EXCLUDED: &str = "excluded";

/// Takes the rows of one statement apart: those that are new, and those that are there.
pub(super) struct Conflicts {
    arbiter: Arbiter,
    update: Option<Update>,
}

/// `DO UPDATE`, ready to be evaluated over the row that is there and the one that was to be inserted.
struct Update {
    schema: SchemaRef,
    condition: Option<Arc<dyn PhysicalExpr>>,
    values: Vec<Arc<dyn PhysicalExpr>>,
}

impl Conflicts {
    pub(super) fn new(attempt: &Attempt<'_>, conflict: &OnConflict) -> Result<Self> {
        let table = &attempt.table;
        let id = |name: &String| {
            let column = table.columns.iter().find(|column| column.field.name() == name);
            let column = column.ok_or_else(|| {
                Error::fix(
                    SqlState::NO_COLUMN,
                    format!("column \"{name}\" of table {} does not exist", table.full_name()),
                )
            })?;
            Ok(ColumnId(column.id.to_string().into()))
        };
        let columns = conflict.columns.iter().map(id).collect::<Result<Vec<_>>>()?;
        let columns = Some(columns).filter(|columns| !columns.is_empty());
        let own = attempt.engine().commit.own();
        let arbiter = own.arbiter(&attempt.context, &dataset_id(table.id), columns.as_deref())?;
        let update = match &conflict.update {
            None => None,
            Some(update) => {
                let planner = Planner::new(attempt.engine(), &attempt.context);
                Some(Update::new(&planner, table, &update.assignments, update.condition.as_ref())?)
            }
        };
        Ok(Self { arbiter, update })
    }

    /// Adds the rows to a draft, as each of them is to be; those that are there then.
    pub(super) fn settle(
        &mut self,
        table: &TableDefinition,
        rules: &Rules,
        rows: &RecordBatch,
        draft: &mut Draft,
    ) -> Result<Vec<RecordBatch>> {
        let verdicts = self.arbiter.judge(rows)?;
        let is_new: BooleanArray = verdicts.iter().map(|verdict| Some(matches!(verdict, Verdict::New))).collect();
        let new = filter_record_batch(rows, &is_new).map_err(defect)?;
        draft.add(table, &new, None)?;
        let mut there = vec![new];
        if let Some(update) = &self.update {
            if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Twice)) {
                return Err(Error::fix(SqlState::CARDINALITY, "ON CONFLICT DO UPDATE cannot change a row twice")
                    .with_hint("the rows that are inserted have a key twice"));
            }
            let old: Vec<&RecordBatch> = verdicts.iter().filter_map(found).collect();
            let is_there: BooleanArray = verdicts.iter().map(|verdict| Some(found(verdict).is_some())).collect();
            let given = filter_record_batch(rows, &is_there).map_err(defect)?;
            let old = concat_batches(&rows.schema(), old).map_err(defect)?;
            let (old, new) = update.apply(&old, &given)?;
            rules.check(&new)?;
            super::change::add_update(draft, table, &old, &new)?;
            there.push(new);
        }
        Ok(there)
    }
}

fn found(verdict: &Verdict) -> Option<&RecordBatch> {
    match verdict {
        Verdict::Exists(row) => Some(row),
        Verdict::New | Verdict::Twice => None,
    }
}

impl Update {
    fn new(
        planner: &Planner<'_>,
        table: &TableDefinition,
        assignments: &[(String, ast::Expr)],
        condition: Option<&ast::Expr>,
    ) -> Result<Self> {
        let schema = table.arrow_schema();
        let fields = |of: &str| {
            let qualifier = TableReference::bare(of);
            let fields = schema.fields().iter().cloned();
            fields.map(|field| (Some(qualifier.clone()), field)).collect::<Vec<(Option<TableReference>, FieldRef)>>()
        };
        let both = [fields(&table.name), fields(EXCLUDED)].concat();
        let both = DFSchema::new_with_metadata(both, Default::default()).map_err(Error::from_datafusion)?;
        let state = planner.bare_state()?;
        let logical = |expr: &ast::Expr| {
            let expr = ExprWithAlias { expr: expr.clone(), alias: None };
            state.create_logical_expr_from_sql_expr(expr, &both).map_err(Error::from_datafusion)
        };
        let physical = |expr| state.create_physical_expr(expr, &both).map_err(Error::from_datafusion);
        let assigned = super::change::assigned(table, assignments.to_vec())?;
        let value = |field: &FieldRef| {
            let value = match assigned.get(field.name()) {
                Some(expr) => logical(expr)?,
                None => Expr::Column(datafusion::common::Column::new(Some(table.name.as_str()), field.name())),
            };
            physical(Expr::Cast(Cast::new(Box::new(value), field.data_type().clone())))
        };
        let values = schema.fields().iter().map(value).collect::<Result<_>>()?;
        let condition = condition.map(|condition| physical(logical(condition)?)).transpose()?;
        Ok(Self { schema, condition, values })
    }

    /// Of rows that are there and those that were to be inserted: those that change, and what they become.
    fn apply(&self, old: &RecordBatch, given: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
        let fields: Vec<_> = old.schema().fields().iter().chain(given.schema().fields()).cloned().collect();
        let columns: Vec<ArrayRef> = old.columns().iter().chain(given.columns()).cloned().collect();
        let mut both = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(defect)?;
        if let Some(condition) = &self.condition {
            let met = condition.evaluate(&both).and_then(|met| met.into_array(both.num_rows()));
            let met = met.map_err(Error::from_datafusion)?;
            let met = met.as_boolean_opt().ok_or_else(|| Error::fix(SqlState::TYPE, "WHERE is not a truth value"))?;
            both = filter_record_batch(&both, met).map_err(defect)?;
        }
        let value = |(value, field): (&Arc<dyn PhysicalExpr>, &FieldRef)| {
            let value = value.evaluate(&both).and_then(|value| value.into_array(both.num_rows()));
            let value = value.map_err(Error::from_datafusion)?;
            let value = cast(&value, field.data_type()).map_err(defect)?;
            match !field.is_nullable() && value.null_count() > 0 {
                true => Err(super::rows::null(field.name())),
                false => Ok(value),
            }
        };
        let new = self.values.iter().zip(self.schema.fields()).map(value).collect::<Result<Vec<_>>>()?;
        let width = self.schema.fields().len();
        Ok((of_schema(both.columns()[..width].to_vec(), &self.schema)?, of_schema(new, &self.schema)?))
    }
}

fn defect(error: arrow::error::ArrowError) -> Error {
    Error::report("rows of a conflict do not fit together").with_source(error)
}
