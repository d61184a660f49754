//! A server, and queries on it with pushdown on and off.

use super::random::Random;
use super::{Query, answer, tables};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Sort};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_catalog::default_table_source::source_as_provider;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result, TableReference};
use polder_catalog::{
    CatalogName, Connector, Federation, Options, Principal, Pushed, QueryId, ReadContext, Source, SourceTable,
    TableName,
};
use std::sync::Arc;

/// What became of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Equal rows, and all of it was the source's work.
    Pushed,
    /// Equal rows, some of it made here.
    Local,
    /// Other rows, or an error only with pushdown.
    Differs(String),
    /// The query fails without pushdown.
    FailsEverywhere(String),
}

/// A server with the tables, and one session with pushdown, one without. All queries of a session see the tables as they
/// were described at its start, and share one snapshot.
pub(super) struct World {
    _server: polder_testing::Postgres,
    local: SessionContext,
    pushed: SessionContext,
}

struct Answer {
    rows: Vec<answer::Row>,
    whole: bool,
}

impl World {
    pub(super) async fn start(random: &mut Random) -> Self {
        let server = polder_testing::Postgres::start();
        server.psql(&tables::setup(random));
        let connector = crate::PostgresConnector;
        let options = Options::validate(connector.options(), [("url".to_string(), server.url())]).expect("options");
        let source = connector.attach(&CatalogName::new("shop"), options).await.expect("a source");
        let local = session(&source, false).await.expect("the tables are described");
        let pushed = session(&source, true).await.expect("the tables are described");
        Self { _server: server, local, pushed }
    }

    /// Runs the query both ways.
    pub(super) async fn compare(&self, query: &Query) -> Outcome {
        let local = match run(&self.local, &query.sql).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::FailsEverywhere(error.to_string()),
        };
        let pushed = match run(&self.pushed, &query.sql).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::Differs(format!("only with pushdown: {error}")),
        };
        let unlimited = match &query.limited {
            Some(limited) => Some(run(&self.local, &limited.unlimited).await.expect("as with its LIMIT").rows),
            None => None,
        };
        match answer::difference(query, &local.rows, &pushed.rows, unlimited.as_deref()) {
            Some(difference) => Outcome::Differs(difference),
            None if pushed.whole => Outcome::Pushed,
            None => Outcome::Local,
        }
    }
}

async fn session(source: &Arc<dyn Source>, pushdown: bool) -> Result<SessionContext> {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let name = if pushdown { "pushed" } else { "local" };
    let context = ReadContext::builder(QueryId(name.into()), Principal("oracle".into())).pushdown(pushdown).build();
    for table in ["a", "b"] {
        let dataset = source.dataset(&context, "public", table).await?.expect("the table exists");
        let name = TableName { catalog: CatalogName::new("shop"), schema: "public".into(), table: table.into() };
        let federation = source.federation().filter(|_| pushdown);
        session.register_table(table, Arc::new(SourceTable::new(name, dataset, federation)))?;
    }
    Ok(session)
}

async fn run(session: &SessionContext, sql: &str) -> Result<Answer> {
    let state = session.state();
    let plan = state.create_logical_plan(sql).await?;
    // Without pushdown there is no federation to offer to.
    let plan = push(state.optimize(&plan)?)?.data;
    let whole = is_whole(&plan)?;
    let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
    let batches = datafusion::physical_plan::collect(physical, state.task_ctx()).await?;
    Ok(Answer { rows: answer::rows(&batches), whole })
}

/// Offers fragments from the top down, as the engine does.
fn push(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let offered = !matches!(plan, LogicalPlan::TableScan(_)) && plan.exists(|node| Ok(combines(node)))?;
    if offered
        && let Some(federation) = federation(&plan)?
        && let Pushed::Whole(provider) = federation.push(&plan)?
    {
        return Ok(Transformed::yes(replaced(plan, provider)?));
    }
    plan.map_children(push)
}

fn combines(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) | LogicalPlan::Join(_) => true,
        LogicalPlan::Sort(sort) => sort.fetch.is_some(),
        _ => false,
    }
}

fn federation(plan: &LogicalPlan) -> Result<Option<Arc<dyn Federation>>> {
    let mut found = None;
    let mut only = true;
    plan.apply(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                match provider.downcast_ref::<SourceTable>().and_then(SourceTable::federation) {
                    Some(federation) => found = Some(Arc::clone(federation)),
                    None => only = false,
                }
            }
            other => only &= !other.inputs().is_empty(),
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found.filter(|_| only))
}

fn replaced(plan: LogicalPlan, provider: Arc<dyn datafusion::catalog::TableProvider>) -> Result<LogicalPlan> {
    let same = plan.schema().fields().iter().zip(provider.schema().fields()).all(|(one, other)| {
        one.data_type() == other.data_type()
            && one.is_nullable() == other.is_nullable()
            && one.metadata() == other.metadata()
    });
    assert!(same, "a pushed fragment has the schema of the fragment:\n{}\n{}", plan.schema(), provider.schema());
    let name = TableReference::bare("pushed");
    let columns: Vec<String> = provider.schema().fields().iter().map(|field| field.name().clone()).collect();
    let scan = LogicalPlanBuilder::scan(name.clone(), provider_as_source(provider), None)?;
    let renamed: Vec<Expr> = plan
        .schema()
        .iter()
        .zip(columns)
        .map(|((qualifier, field), column)| {
            Expr::Column(Column::new(Some(name.clone()), column)).alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    let scan = scan.project(renamed)?.build()?;
    Ok(match plan {
        LogicalPlan::Sort(sort) => LogicalPlan::Sort(Sort { input: Arc::new(scan), ..sort }),
        _ => scan,
    })
}

/// Whether the source does it all: what is left here renames, orders or cuts.
fn is_whole(plan: &LogicalPlan) -> Result<bool> {
    let local = plan.exists(|node| {
        Ok(match node {
            LogicalPlan::Filter(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Join(_) => true,
            LogicalPlan::Sort(sort) => !is_over_pushed(&sort.input)?,
            LogicalPlan::Limit(limit) => !is_over_pushed(&limit.input)? && !has_fetch(&limit.input)?,
            LogicalPlan::EmptyRelation(_) => true,
            _ => false,
        })
    })?;
    Ok(!local)
}

fn is_over_pushed(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == "pushed")))
}

fn has_fetch(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::TableScan(scan) if scan.fetch.is_some())))
}
