//! Fragments of a plan that an index answers whole: the first rows of an order, and groups with their aggregates.
//!
//! A fragment is `Sort` with a fetch, or `Aggregate`, over the columns of one table; its filters are in the scan
//! already. What else stands on top stays local, and what is below is offered by itself.

use super::{Condition, lacks, semantics, type_, value};
use crate::encoding;
use crate::layout::{Layout, Place, Slot};
use crate::provider::SearchTable;
use crate::read::is_whole;
use crate::scan::{Aggregate as Asked, By, Function, Group, Groups, Key, SearchScan, Shape, Top};
use crate::store::Table;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion_catalog::default_table_source::source_as_provider;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Result as DataFusionResult, project_schema};
use datafusion_expr::expr::{AggregateFunction, Sort as SortKey};
use datafusion_expr::{Aggregate, Expr, LogicalPlan, Sort, TableScan, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{CatalogName, Federation, Pushed, ReadContext, Reason, ReasonCode, Result, ScanExec, SourceTable};
use std::sync::Arc;

/// Rows of a Top-N. Beyond, sorting here costs no more than a second pass over the index.
const TOP_MAX: usize = 10_000;

/// Takes over fragments of one table.
#[derive(Debug)]
pub(crate) struct SearchFederation;

impl Federation for SearchFederation {
    fn push(&self, fragment: &LogicalPlan) -> Result<Pushed> {
        Ok(match compile(fragment) {
            Ok(table) => Pushed::Whole(Arc::new(table)),
            Err(reason) => Pushed::Declined(reason),
        })
    }
}

fn compile(fragment: &LogicalPlan) -> Result<FragmentTable, Reason> {
    let context = first_table(fragment, |table| table.context().clone());
    if context.is_some_and(|context| !context.pushdown()) {
        return Err(Reason::off());
    }
    let (rows, shape, output) = match fragment {
        LogicalPlan::Sort(sort) => top(sort)?,
        LogicalPlan::Aggregate(aggregate) => groups(aggregate)?,
        other => {
            let name = other.display().to_string();
            let name = name.split([':', ' ']).next().unwrap_or_default();
            return Err(lacks(format!("{name} is not handed to an index")));
        }
    };
    let named = |(at, field): (usize, &FieldRef)| Arc::new(Field::clone(field).with_name(format!("c{at}")));
    let fields: Vec<FieldRef> = fragment.schema().fields().iter().enumerate().map(named).collect();
    Ok(FragmentTable { rows, shape, output, schema: Arc::new(Schema::new(fields)) })
}

/// Rows of one table: some of its columns, those that pass.
#[derive(Debug)]
struct Rows {
    catalog: CatalogName,
    context: ReadContext,
    table: Arc<Table>,
    filter: Condition,
    /// Places in the layout's schema.
    columns: Vec<usize>,
}

impl Rows {
    fn layout(&self) -> &Layout {
        &self.table.layout
    }
}

/// A chain of projections of plain columns over one scan.
fn rows(plan: &LogicalPlan) -> Result<Rows, Reason> {
    match plan {
        LogicalPlan::TableScan(scan) => self::scan(scan),
        LogicalPlan::SubqueryAlias(alias) => rows(&alias.input),
        LogicalPlan::Projection(projection) => {
            let mut input = rows(&projection.input)?;
            let place = |expr: &Expr| place(expr, &projection.input, &input);
            input.columns = projection.expr.iter().map(place).collect::<Result<_, _>>()?;
            Ok(input)
        }
        LogicalPlan::Filter(_) => Err(Reason::new(ReasonCode::Input, "a filter below was kept local")),
        _ => Err(Reason::new(ReasonCode::Input, "what is below is not the rows of one table")),
    }
}

fn scan(scan: &TableScan) -> Result<Rows, Reason> {
    with_table(scan, |table| {
        if scan.fetch.is_some() {
            return Err(semantics("a LIMIT below takes any rows"));
        }
        let layout = &table.table().layout;
        let conditions = scan.filters.iter().map(|filter| super::filter(filter, layout));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let all = || (0..layout.schema.fields().len()).collect();
        Ok(Rows {
            catalog: table.catalog().clone(),
            context: table.context().clone(),
            table: Arc::clone(table.table()),
            filter: Condition::and(conditions),
            columns: scan.projection.clone().unwrap_or_else(all),
        })
    })
    .unwrap_or_else(|| Err(lacks(format!("{} is no table of the source", scan.table_name))))
}

/// The place in the layout of a plain column of `input`.
fn place(expr: &Expr, input: &LogicalPlan, rows: &Rows) -> Result<usize, Reason> {
    match expr {
        Expr::Alias(alias) => place(&alias.expr, input, rows),
        Expr::Column(column) => {
            let at = input.schema().maybe_index_of_column(column);
            at.and_then(|at| rows.columns.get(at).copied()).ok_or_else(|| lacks(format!("there is no column {column}")))
        }
        other => Err(lacks(format!("an index does not evaluate {other}"))),
    }
}

type Compiled = (Rows, Shape, Vec<usize>);

fn top(sort: &Sort) -> Result<Compiled, Reason> {
    let Some(limit) = sort.fetch else {
        return Err(Reason::new(ReasonCode::Cost, "an order without a LIMIT reduces no rows"));
    };
    if limit > TOP_MAX {
        return Err(Reason::new(ReasonCode::Cost, format!("more than {TOP_MAX} rows are sorted here")));
    }
    let rows = rows(&sort.input)?;
    let keys = sort.expr.iter().map(|key| self::key(key, &sort.input, &rows)).collect::<Result<_, _>>()?;
    let output = rows.columns.clone();
    Ok((rows, Shape::Top(Top { keys, limit }), output))
}

fn key(key: &SortKey, input: &LogicalPlan, rows: &Rows) -> Result<Key, Reason> {
    let (descending, nulls_first) = (!key.asc, key.nulls_first);
    let at = place(&key.expr, input, rows)?;
    let by = match rows.layout().slots.get(at) {
        None => By::Score,
        Some(slot) => {
            ordered(slot, &rows.table)?;
            By::Column(at, slot.field.name().clone())
        }
    };
    Ok(Key { by, descending, nulls_first })
}

/// Whether the index has the column in SQL's order.
fn ordered(slot: &Slot, table: &Table) -> Result<(), Reason> {
    value::comparable(slot)?;
    let name = slot.field.name();
    match &slot.place {
        // DataFusion's sort has floats in the total order too.
        Place::Word { .. } => Ok(()),
        Place::Row { fast: Some(_), .. } if is_whole(table, slot) => Ok(()),
        Place::Row { fast: Some(_), .. } => {
            Err(semantics(format!("some values of \"{name}\" are too long to be ordered")))
        }
        Place::Row { .. } if slot.words.is_some() => {
            Err(lacks(format!("\"{name}\" is not in order in the index; give it WITH (analyzer = 'keyword')")))
        }
        Place::Row { .. } => Err(type_(format!("{} is not in order in the index", slot.field.data_type()))),
    }
}

fn groups(aggregate: &Aggregate) -> Result<Compiled, Reason> {
    let rows = rows(&aggregate.input)?;
    let mut by = Vec::with_capacity(aggregate.group_expr.len());
    for expr in &aggregate.group_expr {
        let at = place(expr, &aggregate.input, &rows)?;
        let slot = rows.layout().slots.get(at).ok_or_else(|| lacks("rows are not grouped by score"))?;
        ordered(slot, &rows.table)?;
        if slot.field.data_type().is_floating() {
            return Err(semantics("the index tells 0 from -0, and one NaN from another"));
        }
        by.push(Group { at, name: slot.field.name().clone() });
    }
    let ask = |expr: &Expr| function(expr, &aggregate.input, &rows);
    let aggregates = aggregate.aggr_expr.iter().map(ask).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<FieldRef> = aggregate.schema.fields().iter().cloned().collect();
    let output = (0..fields.len()).collect();
    Ok((rows, Shape::Groups(Groups { by, aggregates, fields }), output))
}

fn function(expr: &Expr, input: &LogicalPlan, rows: &Rows) -> Result<Asked, Reason> {
    let call = match expr {
        Expr::Alias(alias) => return function(&alias.expr, input, rows),
        Expr::AggregateFunction(call) => call,
        other => return Err(lacks(format!("{other} is no aggregate"))),
    };
    let name = call.func.name();
    let params = &call.params;
    if params.distinct || params.filter.is_some() || !params.order_by.is_empty() || params.null_treatment.is_some() {
        return Err(lacks(format!("{name}() with DISTINCT, FILTER or an order of its own")));
    }
    let function = match name {
        "count" => Function::Count,
        "min" => Function::Min,
        "max" => Function::Max,
        "sum" => Function::Sum,
        "avg" => Function::Avg,
        _ => return Err(lacks(format!("an index does not evaluate {name}()"))),
    };
    let of = argument(call, function, input, rows)?;
    let column = of.map_or("*", |at| rows.layout().slots[at].field.name());
    Ok(Asked { function, of, text: format!("{name}({column})") })
}

/// The column that is aggregated, if its values give the same result here as there.
fn argument(
    call: &AggregateFunction,
    function: Function,
    input: &LogicalPlan,
    rows: &Rows,
) -> Result<Option<usize>, Reason> {
    let [argument] = call.params.args.as_slice() else {
        return Err(lacks(format!("{}() of several columns", call.func.name())));
    };
    if let (Function::Count, Expr::Literal(value, _)) = (function, argument) {
        return if value.is_null() { Err(lacks("count(NULL)")) } else { Ok(None) };
    }
    let (argument, cast) = match argument {
        Expr::Cast(cast) => (&*cast.expr, Some(cast.field.data_type())),
        other => (other, None),
    };
    let at = place(argument, input, rows)?;
    let slot = rows.layout().slots.get(at).ok_or_else(|| lacks("scores are not aggregated"))?;
    let data_type = slot.field.data_type();
    let is_small_decimal = matches!(data_type, DataType::Decimal128(..)) && encoding::fits_word(data_type);
    let is_exact = match function {
        Function::Count if !slot.field.is_nullable() && cast.is_none() => return Ok(None),
        Function::Count => cast.is_none() && matches!(slot.place, Place::Word { .. }),
        Function::Min | Function::Max => {
            let has_ends = matches!(slot.place, Place::Word { .. }) && !data_type.is_floating();
            cast.is_none() && has_ends && *data_type != DataType::Boolean
        }
        Function::Sum if is_small_decimal => cast.is_none(),
        Function::Sum => data_type.is_integer() && cast.is_none_or(|to| widens(data_type, to)),
        // DataFusion adds floats up: the sum of larger integers is rounded on the way.
        Function::Avg => {
            let is_small = data_type.is_integer() && data_type.primitive_width().is_some_and(|bytes| bytes <= 4);
            is_small && cast.is_none_or(|to| *to == DataType::Float64)
        }
    };
    if !is_exact {
        let name = call.func.name();
        return Err(type_(format!("{name}() of {data_type} is not the same value in the index")));
    }
    Ok(Some(at))
}

fn widens(from: &DataType, to: &DataType) -> bool {
    (from.is_signed_integer() && *to == DataType::Int64) || (from.is_unsigned_integer() && *to == DataType::UInt64)
}

fn first_table<T>(plan: &LogicalPlan, ask: impl Fn(&SearchTable) -> T) -> Option<T> {
    let mut answer = None;
    let visited = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            answer = with_table(scan, &ask);
        }
        Ok(if answer.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.ok().and(answer)
}

/// Calls `use_table` with the provider behind a leaf; `None` if the leaf is another's.
fn with_table<T>(scan: &TableScan, use_table: impl FnOnce(&SearchTable) -> T) -> Option<T> {
    let provider = source_as_provider(&scan.source).ok()?;
    let table = provider.downcast_ref::<SourceTable>()?;
    table.dataset().provider.downcast_ref::<SearchTable>().map(use_table)
}

/// The rows of a pushed fragment.
#[derive(Debug)]
struct FragmentTable {
    rows: Rows,
    shape: Shape,
    output: Vec<usize>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for FragmentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        let output = match projection {
            Some(wanted) => wanted.iter().map(|at| self.output[*at]).collect(),
            None => self.output.clone(),
        };
        let Rows { catalog, context, table, filter, .. } = &self.rows;
        crate::suggest::notice(table, filter, context);
        let scan = SearchScan::new(
            catalog.clone(),
            Arc::clone(table),
            output,
            filter.clone(),
            filter.clone(),
            self.shape.clone(),
            Vec::new(),
            1,
        );
        Ok(Arc::new(ScanExec::new(catalog.clone(), Arc::new(scan.with_schema(schema)), context.clone())))
    }
}
