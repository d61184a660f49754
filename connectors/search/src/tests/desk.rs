//! A catalog in a temporary folder, entries to fill it, and queries through DataFusion with the connector in it.

use crate::SearchConnector;
use arrow::array::ArrayRef;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use polder_catalog::{
    Applied, CatalogName, ChangePart, ColumnDefinition, ColumnId, Connector, DatasetDefinition, DatasetId, Definition,
    Entry, Error, Offset, Options, Position, Principal, QueryId, ReadContext, Result, ScanExec, ShardName, Source,
    SourceTable, TableName,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use tempfile::TempDir;

pub(super) struct Desk {
    pub(super) folder: Arc<TempDir>,
    pub(super) catalog: CatalogName,
    pub(super) source: Arc<dyn Source>,
}

impl Desk {
    pub(super) async fn new() -> Self {
        Self::at(Arc::new(TempDir::new().expect("a temporary folder"))).await
    }

    /// The catalog in a folder that may hold something already: a restart.
    pub(super) async fn at(folder: Arc<TempDir>) -> Self {
        let catalog = CatalogName::new("docs");
        let options = Options::validate(SearchConnector.options(), options_of(&folder)).expect("the options are valid");
        let source = SearchConnector.attach(&catalog, options).await.expect("a folder attaches");
        Self { folder, catalog, source }
    }

    /// Lets go of the folder, and opens it again.
    pub(super) async fn reopened(self) -> Self {
        self.source.close().await;
        let folder = Arc::clone(&self.folder);
        drop(self);
        Self::at(folder).await
    }

    pub(super) fn options(&self) -> Vec<(String, String)> {
        options_of(&self.folder)
    }

    pub(super) fn context(&self) -> ReadContext {
        self.context_with(true)
    }

    pub(super) fn context_with(&self, pushdown: bool) -> ReadContext {
        ReadContext::builder(QueryId("q".into()), Principal("tester".into())).partitions(2).pushdown(pushdown).build()
    }

    pub(super) async fn last_applied(&self) -> Option<Position> {
        self.source.writer().expect("search is written").last_applied().await.expect("last_applied")
    }

    /// An entry at the next position.
    pub(super) async fn apply(
        &self,
        definitions: Vec<Definition>,
        changes: Vec<(DatasetId, RecordBatch)>,
    ) -> Result<Applied> {
        let next = match self.last_applied().await {
            Some(position) => position.shards[&ShardName("main".into())].0 + 1,
            None => 1,
        };
        self.apply_at(next, definitions, changes).await
    }

    pub(super) async fn apply_at(
        &self,
        offset: u64,
        definitions: Vec<Definition>,
        changes: Vec<(DatasetId, RecordBatch)>,
    ) -> Result<Applied> {
        let mut position = Position::default();
        position.shards.insert(ShardName("main".into()), Offset(offset));
        let parts = changes.into_iter().map(|(dataset, batch)| Ok(ChangePart { dataset, batch })).collect::<Vec<_>>();
        let parts = Box::pin(futures::stream::iter(parts));
        let entry = Entry { position, time: SystemTime::UNIX_EPOCH, request_id: None, definitions, parts };
        self.source.writer().expect("search is written").apply(entry).await
    }

    /// Makes a table and fills it.
    pub(super) async fn fill(&self, definition: &DatasetDefinition, rows: &RecordBatch) {
        let changes = vec![(definition.id.clone(), Self::weighted(rows, 1))];
        let applied = self.apply(vec![Definition::Create(definition.clone())], changes).await.expect("apply");
        assert_eq!(applied, Applied::Done);
    }

    pub(super) fn weighted(rows: &RecordBatch, weight: i64) -> RecordBatch {
        polder_catalog::conformance::weighted(rows, weight)
    }

    /// A session in which the tables have their own names.
    pub(super) async fn session(&self, pushdown: bool, tables: &[&str]) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
        let state = SessionStateBuilder::new().with_default_features().with_config(config).build();
        let session = SessionContext::new_with_state(state);
        for function in crate::functions() {
            session.register_udf(function.as_ref().clone());
        }
        let context = self.context_with(pushdown);
        for table in tables {
            let dataset = self.source.dataset(&context, "public", table).await.expect("describe");
            let dataset = dataset.expect("the table is there");
            let name =
                TableName { catalog: self.catalog.clone(), schema: "public".into(), table: (*table).to_string() };
            let federation = self.source.federation().filter(|_| pushdown);
            let provider = Arc::new(SourceTable::new(name, dataset, federation));
            session.register_table(*table, provider).expect("the table registers");
        }
        session
    }

    pub(super) async fn run(&self, pushdown: bool, tables: &[&str], sql: &str) -> Result<Answer, Error> {
        let session = self.session(pushdown, tables).await;
        let frame = session.sql(sql).await.map_err(Error::from_datafusion)?;
        let (state, plan) = frame.into_parts();
        let optimized = state.optimize(&plan).map_err(Error::from_datafusion)?;
        let pushed = polder_catalog::conformance::push(optimized).map_err(Error::from_datafusion)?;
        let physical =
            state.query_planner().create_physical_plan(&pushed, &state).await.map_err(Error::from_datafusion)?;
        let batches = collect(Arc::clone(&physical), session.task_ctx()).await.map_err(Error::from_datafusion)?;
        let rows = concat_batches(&physical.schema(), &batches).expect("batches of one plan fit together");
        Ok(Answer { rows, plan: physical })
    }

    /// Rows as text, with pushdown, and the same without.
    pub(super) async fn ask(&self, table: &str, sql: &str) -> Answer {
        let pushed = self.run(true, &[table], sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let local = self.run(false, &[table], sql).await.unwrap_or_else(|error| panic!("{sql}, local: {error:?}"));
        let sorted = |answer: &Answer| {
            let mut rows = answer.texts();
            rows.sort();
            rows
        };
        assert_eq!(sorted(&pushed), sorted(&local), "{sql}: pushed against local\n{}", pushed.requests().join("\n"));
        pushed
    }
}

fn options_of(folder: &TempDir) -> Vec<(String, String)> {
    let path = folder.path().join("indexes");
    vec![("path".into(), path.to_str().expect("a path of text").into()), ("memory_mb".into(), "15".into())]
}

/// What a query gave, and how.
pub(super) struct Answer {
    pub(super) rows: RecordBatch,
    pub(super) plan: Arc<dyn ExecutionPlan>,
}

impl Answer {
    /// Each row as its values in text, joined by commas.
    pub(super) fn texts(&self) -> Vec<String> {
        let value = |column: &ArrayRef, row| match column.is_null(row) {
            true => "NULL".to_string(),
            false => array_value_to_string(column, row).expect("a value prints"),
        };
        let row = |row| self.rows.columns().iter().map(|column| value(column, row)).collect::<Vec<_>>().join(", ");
        (0..self.rows.num_rows()).map(row).collect()
    }

    fn scans(&self) -> Vec<Arc<dyn ExecutionPlan>> {
        let (mut found, mut left) = (Vec::new(), vec![Arc::clone(&self.plan)]);
        while let Some(plan) = left.pop() {
            left.extend(plan.children().into_iter().map(Arc::clone));
            if plan.downcast_ref::<ScanExec>().is_some() {
                found.push(plan);
            }
        }
        found
    }

    /// What the index was asked.
    pub(super) fn requests(&self) -> Vec<String> {
        let scans = self.scans();
        scans.iter().filter_map(|plan| Some(plan.downcast_ref::<ScanExec>()?.scan().request())).collect()
    }

    pub(super) fn kept_local(&self) -> Vec<String> {
        let scans = self.scans();
        let kept = scans.iter().filter_map(|plan| Some(plan.downcast_ref::<ScanExec>()?.scan().kept_local()));
        kept.flatten().map(|kept| format!("{}: {}", kept.expression, kept.reason)).collect()
    }

    /// What a join added to the request while it ran.
    pub(super) fn keys(&self) -> Vec<String> {
        self.scans().iter().filter_map(|plan| Some(plan.downcast_ref::<ScanExec>()?.report().keys)).flatten().collect()
    }

    /// Rows that came from the index.
    pub(super) fn rows_read(&self) -> usize {
        self.scans().iter().filter_map(|plan| plan.metrics()?.output_rows()).sum()
    }
}

/// A column, with options.
pub(super) fn column(name: &str, data_type: DataType, options: &[(&str, &str)]) -> ColumnDefinition {
    ColumnDefinition {
        id: ColumnId(format!("id of {name}").into()),
        field: Arc::new(Field::new(name, data_type, name != "id")),
        options: options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    }
}

/// A table whose key is the column `id`, if it has one.
pub(super) fn table(name: &str, columns: Vec<ColumnDefinition>) -> DatasetDefinition {
    let key = columns.iter().filter(|column| column.field.name() == "id").map(|column| column.id.clone()).collect();
    DatasetDefinition {
        id: DatasetId(format!("id of {name}").into()),
        schema: "public".into(),
        name: name.into(),
        columns,
        key,
        unique: Vec::new(),
        identity: None,
        indexes: Vec::new(),
        references: Vec::new(),
        sharding: None,
        options: BTreeMap::new(),
    }
}

/// Rows for a definition.
pub(super) fn rows(definition: &DatasetDefinition, columns: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> = definition.columns.iter().map(|column| Arc::clone(&column.field)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the rows fit their table")
}
