//! What the tests of promises share: contexts, tables to read, queries through DataFusion with the connector in it.

use super::federation;
use super::rows::Rows;
use super::{Outcome, Subject, Table, Verdict};
use crate::{
    CatalogName, Dataset, DatasetId, Principal, QueryId, ReadContext, ReadContextBuilder, Source, SourceTable,
    TableName, mark,
};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, collect, execute_stream};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion_common::{Column, TableReference};
use datafusion_expr::Expr;
use std::sync::Arc;

/// Breaks off the test of a promise, with what was found, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($found:tt)+) => {
        if !$condition {
            return Err(format!($($found)+));
        }
    };
}
pub(super) use ensure;

/// Any error as the way a promise is broken.
pub(super) trait Step<T> {
    fn step(self, what: &str) -> Result<T, String>;
}

impl<T, E: std::fmt::Display> Step<T> for Result<T, E> {
    fn step(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// The promise holds.
pub(super) fn kept() -> Verdict {
    Ok(Outcome::Kept)
}

pub(super) fn not_applicable(why: impl Into<String>) -> Verdict {
    Ok(Outcome::NotApplicable(why.into()))
}

pub(super) fn not_shown(why: impl Into<String>) -> Verdict {
    Ok(Outcome::NotShown(why.into()))
}

/// A subject at work.
pub(super) struct World<'a> {
    pub(super) subject: &'a dyn Subject,
}

impl<'a> World<'a> {
    pub(super) fn new(subject: &'a dyn Subject) -> Self {
        Self { subject }
    }

    pub(super) fn source(&self) -> Arc<dyn Source> {
        self.subject.source()
    }

    pub(super) fn catalog(&self) -> CatalogName {
        self.subject.catalog()
    }

    pub(super) fn schema(&self) -> String {
        self.source().default_schema().to_string()
    }

    /// The context of a query that reads with pushdown, in two partitions.
    pub(super) fn context(&self) -> ReadContext {
        self.building().build()
    }

    pub(super) fn building(&self) -> ReadContextBuilder {
        ReadContext::builder(QueryId("conformance".into()), Principal("tester".into())).partitions(2)
    }

    /// Creates a table afresh: one that an earlier promise left behind goes first.
    pub(super) async fn create(&self, table: &Table) -> Result<(), String> {
        if self.find(&self.context(), &table.name).await?.is_some() {
            self.subject.drop(&table.name).await.step("the subject could not drop a table")?;
        }
        self.subject.create(table).await.step("the subject could not create a table")
    }

    /// Creates `people` with so many rows, and returns them.
    pub(super) async fn create_people(&self, table: &str, rows: usize) -> Result<RecordBatch, String> {
        let rows = people(0..rows);
        let table =
            Table { name: table.to_string(), schema: rows.schema(), rows: vec![rows.clone()], key: Some("id".into()) };
        self.create(&table).await?;
        Ok(rows)
    }

    pub(super) async fn find(&self, context: &ReadContext, table: &str) -> Result<Option<Dataset>, String> {
        let found = self.source().dataset(context, &self.schema(), table).await;
        found.step(&format!("table {table} could not be described"))
    }

    pub(super) async fn dataset(&self, context: &ReadContext, table: &str) -> Result<Dataset, String> {
        self.find(context, table).await?.ok_or_else(|| format!("table {table} exists, and the source does not find it"))
    }

    pub(super) async fn dataset_id(&self, table: &str) -> Result<DatasetId, String> {
        Ok(self.dataset(&self.context(), table).await?.entry.id)
    }

    /// A session in which these tables are registered under their own names, as the engine does it for one query.
    pub(super) async fn session(&self, context: &ReadContext, tables: &[&str]) -> Result<SessionContext, String> {
        let session = plain_session(context.partitions());
        let federation = self.source().federation().filter(|_| context.pushdown());
        for table in tables {
            let dataset = self.dataset(context, table).await?;
            let name = TableName { catalog: self.catalog(), schema: self.schema(), table: (*table).to_string() };
            let provider = SourceTable::new(name, dataset, federation.clone());
            let registered = session.register_table(reference(table), Arc::new(provider));
            registered.step("the table could not be registered")?;
        }
        Ok(session)
    }

    /// Every row of a table, under a context of its own.
    pub(super) async fn rows(&self, table: &str) -> Result<Vec<RecordBatch>, String> {
        self.read(&self.context(), table).await
    }

    pub(super) async fn read(&self, context: &ReadContext, table: &str) -> Result<Vec<RecordBatch>, String> {
        let session = self.session(context, &[table]).await?;
        let frame = shown(&session, table).await.step("plan")?;
        run(&session, frame).await.step(&format!("table {table} could not be read"))
    }

    /// Fails unless the table holds exactly these rows.
    pub(super) async fn expect_rows(&self, table: &str, expected: &[RecordBatch], when: &str) -> Result<(), String> {
        let found = Rows::of(&self.rows(table).await?);
        match Rows::of(expected).difference(&found) {
            None => Ok(()),
            Some(difference) => Err(format!("{when}, table {table}: expected against found: {difference}")),
        }
    }
}

/// A table name as it is, not as SQL would read it.
pub(super) fn reference(table: &str) -> TableReference {
    TableReference::bare(table.to_string())
}

/// A table without its hidden columns: what `SELECT *` gives.
pub(super) async fn shown(session: &SessionContext, table: &str) -> datafusion_common::Result<DataFrame> {
    let frame = session.table(reference(table)).await?;
    let fields = frame.schema().fields().iter().filter(|field| !mark::is_hidden(field.metadata()));
    let columns: Vec<Expr> = fields.map(|field| Expr::Column(Column::from_name(field.name()))).collect();
    frame.select(columns)
}

/// DataFusion as it comes.
pub(super) fn plain_session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions).with_information_schema(false);
    SessionContext::new_with_state(SessionStateBuilder::new().with_default_features().with_config(config).build())
}

/// A session that holds these rows in DataFusion's own memory table: what the source's answers are compared with.
pub(super) fn oracle(tables: &[(&str, &[RecordBatch])]) -> Result<SessionContext, String> {
    let session = plain_session(1);
    for (name, batches) in tables {
        let schema = batches.first().ok_or("the oracle needs rows")?.schema();
        let table = MemTable::try_new(schema, vec![batches.to_vec()]).step("the oracle's table")?;
        session.register_table(reference(name), Arc::new(table)).step("the oracle's table")?;
    }
    Ok(session)
}

/// The physical plan of a query: DataFusion's optimizer, then the source's offer to take over fragments.
pub(super) async fn plan(
    session: &SessionContext,
    frame: DataFrame,
) -> datafusion_common::Result<Arc<dyn ExecutionPlan>> {
    let (state, plan): (_, LogicalPlan) = frame.into_parts();
    let optimized = federation::push(state.optimize(&plan)?)?;
    debug_assert!(Arc::ptr_eq(state.runtime_env(), &session.runtime_env()), "the frame is of this session");
    state.query_planner().create_physical_plan(&optimized, &state).await
}

pub(super) async fn run(session: &SessionContext, frame: DataFrame) -> datafusion_common::Result<Vec<RecordBatch>> {
    let plan = plan(session, frame).await?;
    collect(plan, session.task_ctx()).await
}

pub(super) async fn stream(
    session: &SessionContext,
    frame: DataFrame,
) -> datafusion_common::Result<SendableRecordBatchStream> {
    execute_stream(plan(session, frame).await?, session.task_ctx())
}

/// Rows of people: `id` without NULL, `name` and `score` with.
pub(super) fn people(ids: std::ops::Range<usize>) -> RecordBatch {
    let names = ["ada", "", "Ünal", "o'neill", "a\"b"];
    let number = |id: usize| i64::try_from(id).expect("few people");
    let id = Int64Array::from_iter_values(ids.clone().map(number));
    let name = StringArray::from_iter(ids.clone().map(|id| (id % 7 != 3).then(|| names[id % names.len()])));
    let score = Int64Array::from_iter(ids.map(|id| (id % 5 != 4).then(|| number(id % 11))));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("score", DataType::Int64, true),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(id), Arc::new(name), Arc::new(score)];
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns fit the schema")
}
