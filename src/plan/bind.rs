//! From a parsed query and its tables to plans, by DataFusion's own planner.

use crate::catalogs::{POLDER, PUBLIC};
use crate::config::Config;
use crate::engine::Inner;
use crate::plan::cooperate::cooperate;
use crate::plan::federate::{self, Declined};
use crate::plan::marks::Marks;
use crate::plan::names::{PassThroughCall, QUERY};
use crate::plan::types::SqlTypes;
use crate::plan::zeros::{Zeros, one_zero};
use crate::plan::{hidden, snippets};
use crate::session::Settings;
use crate::sql::{Query, Types};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableFunctionArgs, TableFunctionImpl, TableProvider,
};
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue, plan_datafusion_err};
use datafusion::datasource::source_as_provider;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{DdlStatement, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use datafusion::optimizer::Analyzer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DataFusionStatement;
use polder_catalog::{Error, ReadContext, Result, SourceTable, SqlState};
use std::collections::HashMap;
use std::sync::Arc;

/// Keys of a join that are told apart for the source of its other side: as many as are worth a statement. DataFusion's own
/// bounds suit files.
const KEYS_MAX: usize = 10_000;
const KEYS_BYTES_MAX: usize = 1 << 20;

/// The tables of one query, described.
pub(crate) struct Tables {
    pub(crate) tables: Vec<(TableReference, Arc<dyn TableProvider>)>,
    pub(crate) calls: HashMap<PassThroughCall, Arc<dyn TableProvider>>,
}

/// A query, ready to run.
pub(crate) struct Planned {
    pub(crate) logical: LogicalPlan,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
    pub(crate) state: SessionState,
    /// What sources would not take, for EXPLAIN.
    pub(crate) declined: Declined,
    pub(crate) pushdown: bool,
    memory: Arc<dyn MemoryPool>,
}

impl Planned {
    /// What it runs in: with the memory of its query.
    pub(crate) fn task(&self) -> Arc<TaskContext> {
        let runtime = RuntimeEnv { memory_pool: Arc::clone(&self.memory), ..self.state.runtime_env().as_ref().clone() };
        Arc::new(TaskContext::from(&self.state).with_runtime(Arc::new(runtime)))
    }
}

/// What a query takes and gives.
pub(crate) struct Shape {
    /// The types of its parameters, as far as it tells them.
    pub(crate) parameters: Types,
    pub(crate) columns: SchemaRef,
}

/// Plans queries for one statement.
pub(crate) struct Planner<'a> {
    engine: &'a Inner,
    context: &'a ReadContext,
    settings: Option<&'a Settings>,
    order: Order,
}

/// What a plan keeps of the order of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// That of its own ORDER BY.
    Sorted,
    /// That also under what is computed of the sorted rows.
    Kept,
    /// That of its tables.
    Stored,
}

/// The state that every query starts from.
pub(crate) fn template(
    config: &Config,
    runtime: &Arc<RuntimeEnv>,
    functions: impl Iterator<Item = Arc<ScalarUDF>>,
) -> Result<SessionState> {
    let mut session = SessionConfig::new()
        .with_default_catalog_and_schema(POLDER, PUBLIC)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false);
    let options = session.options_mut();
    options.sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    // As in PostgreSQL, 0.1 is a number of exactly one tenth.
    options.sql_parser.parse_float_as_decimal = true;
    if let Some(partitions) = config.engine.target_partitions {
        options.execution.target_partitions = partitions.max(1);
    }
    let mut rules = Analyzer::new().rules;
    // Before type coercion, which would compare marked columns as if they were plain.
    rules.insert(0, Arc::new(Marks));
    // After type coercion, which tells what is a float.
    rules.push(Arc::new(Zeros));
    let mut state = SessionStateBuilder::new()
        .with_config(session)
        .with_runtime_env(Arc::clone(runtime))
        .with_default_features()
        .with_analyzer_rules(rules)
        .with_type_planner(Arc::new(SqlTypes))
        .build();
    for function in functions {
        state.register_udf(function).map_err(Error::from_datafusion)?;
    }
    Ok(state)
}

impl<'a> Planner<'a> {
    pub(crate) fn new(engine: &'a Inner, context: &'a ReadContext) -> Self {
        Self { engine, context, settings: None, order: Order::Sorted }
    }

    #[must_use]
    pub(crate) fn with_settings(mut self, settings: &'a Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Plans read their tables from the first row to the last, in one stream.
    #[must_use]
    pub(crate) fn in_order(mut self) -> Self {
        self.order = Order::Stored;
        self
    }

    /// Plans keep the order of a sort under whatever is computed of its rows. DataFusion shares such work out row by row,
    /// for SQL asks for no order there.
    #[must_use]
    pub(crate) fn keeping_order(mut self) -> Self {
        self.order = Order::Kept;
        self
    }

    /// The plan as written: names bound, nothing moved.
    pub(crate) async fn logical(&self, query: &Query, tables: &Tables) -> Result<LogicalPlan> {
        let state = self.state(tables)?;
        bound(&state, query, tables).await
    }

    /// What a query takes and gives, without a plan to run it. Its parameters need no values.
    pub(crate) async fn shape(&self, query: &Query, tables: &Tables) -> Result<Shape> {
        let state = self.state(tables)?;
        let plan = bound(&state, query, tables).await?;
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
        let plan = plan.map_err(Error::from_datafusion)?;
        let parameters = plan.get_parameter_types().map_err(Error::from_datafusion)?;
        let place = |name: &str| name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1);
        let parameters = parameters.into_iter().filter_map(|(name, kind)| Some((place(&name)?, kind?))).collect();
        Ok(Shape { parameters, columns: Arc::clone(plan.schema().inner()) })
    }

    /// The plan to run: optimized by DataFusion, then with whole fragments handed to their sources.
    pub(crate) async fn physical(&self, query: &Query, tables: &Tables) -> Result<Planned> {
        let state = self.state(tables)?;
        let plan = bound(&state, query, tables).await?;
        self.finish(state, plan).await
    }

    /// The plan of a query whose rows are written: each of `fields` in its type, from the query's columns at the places that
    /// `from` gives for so many of them, and NULL where it gives none.
    pub(crate) async fn physical_into(
        &self,
        query: &Query,
        tables: &Tables,
        fields: &[FieldRef],
        defaults: &[Option<&str>],
        from: impl FnOnce(usize) -> Result<Vec<Option<usize>>>,
    ) -> Result<Planned> {
        let state = self.state(tables)?;
        let plan = bound(&state, query, tables).await?;
        let from = from(plan.schema().fields().len())?;
        let default = |at: usize| match defaults.get(at).copied().flatten() {
            Some(text) => state.create_logical_expr(text, &DFSchema::empty()).map_err(Error::from_datafusion),
            None => Ok(Expr::Literal(ScalarValue::Null, None)),
        };
        let plan = into_fields(plan, fields, &from, default)?;
        self.finish(state, plan).await
    }

    /// The type of an expression that names no column.
    ///
    /// # Errors
    /// Those of the expression.
    pub(crate) fn default_type(&self, text: &str) -> Result<DataType> {
        let state = self.bare_state()?;
        let columns = DFSchema::empty();
        let default = state.create_logical_expr(text, &columns).map_err(Error::from_datafusion)?;
        default.get_type(&columns).map_err(Error::from_datafusion)
    }

    /// The state for expressions that no query is part of.
    pub(crate) fn bare_state(&self) -> Result<SessionState> {
        self.state(&Tables { tables: Vec::new(), calls: HashMap::new() })
    }

    /// The types of a table's columns, by a statement that would create it.
    pub(crate) async fn column_types(&self, create: DataFusionStatement) -> Result<SchemaRef> {
        let tables = Tables { tables: Vec::new(), calls: HashMap::new() };
        let plan = self.state(&tables)?.statement_to_plan(create).await.map_err(Error::from_datafusion)?;
        match plan {
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => Ok(Arc::clone(create.input.schema().inner())),
            _ => Err(Error::report("a table definition became another plan")),
        }
    }

    async fn finish(&self, mut state: SessionState, plan: LogicalPlan) -> Result<Planned> {
        if takes_keys(&plan).map_err(Error::from_datafusion)? {
            let optimizer = &mut state.config_mut().options_mut().optimizer;
            optimizer.hash_join_inlist_pushdown_max_distinct_values = KEYS_MAX;
            optimizer.hash_join_inlist_pushdown_max_size = KEYS_BYTES_MAX;
        }
        let optimized = state.optimize(&plan).and_then(one_zero).map_err(Error::from_datafusion)?;
        let (logical, declined) = federate::push(optimized)?;
        let physical = state.query_planner().create_physical_plan(&logical, &state).await;
        let physical = physical.and_then(cooperate).map_err(Error::from_datafusion)?;
        let (pushdown, memory) = (self.context.pushdown(), Arc::clone(self.context.memory()));
        Ok(Planned { logical, physical, state, declined, pushdown, memory })
    }

    fn state(&self, tables: &Tables) -> Result<SessionState> {
        let mut state = self.engine.template.clone();
        for (name, value) in self.settings.into_iter().flat_map(Settings::datafusion) {
            state.config_mut().options_mut().set(name, value).map_err(Error::from_datafusion)?;
        }
        match self.order {
            Order::Sorted => {}
            Order::Kept => state.config_mut().options_mut().optimizer.enable_round_robin_repartition = false,
            Order::Stored => state.config_mut().options_mut().execution.target_partitions = 1,
        }
        state.register_catalog_list(catalog_list(tables)?);
        state.register_udtf(QUERY, Arc::new(QueryFunction { calls: tables.calls.clone() }));
        state.mark_start_execution();
        Ok(state)
    }
}

/// Whether some source makes use of the keys of a join.
fn takes_keys(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            found |= provider.downcast_ref::<SourceTable>().is_some_and(SourceTable::takes_keys);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Nothing here waits: every table is in memory.
async fn bound(state: &SessionState, query: &Query, tables: &Tables) -> Result<LogicalPlan> {
    let mut query = query.clone();
    hidden::exclude(&mut query, &tables.tables)?;
    snippets::complete(&mut query)?;
    state.statement_to_plan(query.0).await.map_err(Error::from_datafusion)
}

/// Assigns a query's columns to those of a table.
fn into_fields(
    plan: LogicalPlan,
    fields: &[FieldRef],
    from: &[Option<usize>],
    default: impl Fn(usize) -> Result<Expr>,
) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let assigned = fields.iter().zip(from).enumerate().map(|(at, (field, from))| {
        let value = match from {
            Some(at) => Expr::Column(columns[*at].clone()),
            None => default(at)?,
        };
        // Whether NULL may stand there is checked where the rows are written, with the name of the column.
        let field = Arc::new(field.as_ref().clone().with_nullable(true));
        Ok(Expr::Cast(Cast::new_from_field(Box::new(value), Arc::clone(&field))).alias(field.name()))
    });
    let plan = LogicalPlanBuilder::from(plan).project(assigned.collect::<Result<Vec<_>>>()?);
    plan.and_then(LogicalPlanBuilder::build).map_err(Error::from_datafusion)
}

/// Renames a view's columns; fewer names than columns rename the first ones, as in PostgreSQL.
pub(crate) fn with_column_names(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    if names.len() > columns.len() {
        let message = format!("the view names {} columns, its query has {}", names.len(), columns.len());
        return Err(Error::fix(SqlState::SYNTAX, message));
    }
    let projection = columns.into_iter().enumerate().map(|(at, column)| match names.get(at) {
        Some(name) => Expr::Column(column).alias(name),
        None => Expr::Column(column),
    });
    let plan = LogicalPlanBuilder::from(plan).project(projection.collect::<Vec<_>>());
    plan.and_then(LogicalPlanBuilder::build).map_err(Error::from_datafusion)
}

/// Only what the query names, under the names that DataFusion's planner looks for.
fn catalog_list(tables: &Tables) -> Result<Arc<dyn CatalogProviderList>> {
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(POLDER.to_string(), Arc::new(MemoryCatalogProvider::new()));
    for (reference, provider) in &tables.tables {
        let name = reference.clone().resolve(POLDER, PUBLIC);
        let catalog = list.catalog(&name.catalog).unwrap_or_else(|| {
            let catalog: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
            list.register_catalog(name.catalog.to_string(), Arc::clone(&catalog));
            catalog
        });
        let schema = match catalog.schema(&name.schema) {
            Some(schema) => schema,
            None => {
                let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
                let registered = catalog.register_schema(&name.schema, Arc::clone(&schema));
                registered.map_err(Error::from_datafusion)?;
                schema
            }
        };
        // One table may be named in several ways: `t` and `polder.public.t`.
        if !schema.table_exist(&name.table) {
            let registered = schema.register_table(name.table.to_string(), Arc::clone(provider));
            registered.map_err(Error::from_datafusion)?;
        }
    }
    Ok(Arc::new(list))
}

/// `query('catalog', 'text')`: hands out the provider that was described for the call.
#[derive(Debug)]
struct QueryFunction {
    calls: HashMap<PassThroughCall, Arc<dyn TableProvider>>,
}

impl TableFunctionImpl for QueryFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let text = |expr: &Expr| match expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Some(text.clone()),
            _ => None,
        };
        let call = match args.exprs() {
            [catalog, query] => text(catalog).zip(text(query)).map(|(catalog, text)| PassThroughCall { catalog, text }),
            _ => None,
        };
        let provider = call.and_then(|call| self.calls.get(&call));
        provider
            .cloned()
            .ok_or_else(|| plan_datafusion_err!("query() takes a catalog and a text, both as string literals"))
    }
}
