//! The connector, and one attached instance of it.

use crate::definition;
use crate::layout::Layout;
use crate::options::{OPTIONS, SearchOptions};
use crate::provider::SearchTable;
use crate::pushdown::SearchFederation;
use crate::store::{State, Store, Table};
use crate::write::SearchWriter;
use async_trait::async_trait;
use datafusion_expr::ScalarUDF;
use polder_catalog::{
    Capabilities, CatalogName, Check, Column, Connector, Dataset, DatasetEntry, DatasetKind, Error, Federation,
    OptionSpec, Options, Reach, ReadContext, Result, Source, SqlState, Support, Writer,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Makes catalogs of search indexes.
#[derive(Debug, Default)]
pub struct SearchConnector;

#[async_trait]
impl Connector for SearchConnector {
    fn name(&self) -> &'static str {
        "search"
    }

    fn doc(&self) -> &'static str {
        "Tables that are search indexes in a folder (Tantivy 0.27), filled from the log; `match(column, 'query')` finds \
         rows by their words, `_score` ranks them."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        crate::functions()
    }

    fn reaches(&self, options: &Options) -> Result<Vec<Reach>> {
        let path = SearchOptions::read(options).path;
        let folder = std::path::absolute(&path).map_err(|error| {
            Error::fix(SqlState::PARAMETER, "option \"path\" names no folder").with_detail(error.to_string())
        })?;
        Ok(vec![Reach::Folder(folder)])
    }

    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(SearchSource::new(name.clone(), SearchOptions::read(&options))))
    }
}

/// One folder of indexes.
#[derive(Debug)]
pub struct SearchSource {
    name: CatalogName,
    store: Arc<Store>,
    writer: Arc<SearchWriter>,
}

impl SearchSource {
    fn new(name: CatalogName, options: SearchOptions) -> Self {
        let store = Arc::new(Store::new(name.clone(), options));
        let writer = Arc::new(SearchWriter::new(Arc::clone(&store)));
        Self { name, store, writer }
    }

    /// The state that all reads of this query share.
    async fn snapshot(&self, context: &ReadContext) -> Result<Arc<State>> {
        context.check()?;
        let newest = self.store.state().await?;
        Ok(Arc::clone(&context.shared(&self.name, || Snapshot(newest)).0))
    }
}

/// What this connector keeps in the context of a query.
struct Snapshot(Arc<State>);

#[async_trait]
impl Source for SearchSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            projection: Support::Exact,
            filter: Support::Exact,
            limit: Support::Exact,
            top_n: Support::Exact,
            aggregate: Support::Exact,
            join: Support::No,
            keys: true,
            snapshot: true,
            // Readers of this process see an entry whole. After a crash between the commits of two tables, one is ahead
            // until the entry is applied again.
            transactions: false,
        }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        let snapshot = self.snapshot(context).await?;
        let schemas = snapshot.tables.values().map(|table| table.layout.definition.schema.clone());
        let schemas: BTreeSet<String> = schemas.chain([self.default_schema().to_string()]).collect();
        Ok(schemas.into_iter().collect())
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        let snapshot = self.snapshot(context).await?;
        let tables = snapshot.tables.values().filter(|table| table.layout.definition.schema == schema);
        let mut entries: Vec<DatasetEntry> = tables.map(|table| entry(table)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        let snapshot = self.snapshot(context).await?;
        let Some(table) = snapshot.find(schema, table) else { return Ok(None) };
        let provider = SearchTable::new(self.name.clone(), context.clone(), Arc::clone(table));
        Ok(Some(Dataset { entry: entry(table), columns: columns(&table.layout), provider: Arc::new(provider) }))
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        let state = match self.snapshot(context).await {
            Ok(state) => state,
            Err(error) => return vec![Check::failed("reachable", error.to_string(), error.hint().map(str::to_string))],
        };
        let path = self.store.root().display();
        let mut checks = vec![Check::ok("reachable", format!("{} tables in {path}", state.tables.len()))];
        checks.push(match self.store.is_whole(&state) {
            true => Check::ok("indexes", "every index is there"),
            false => Check::warning("indexes", "an index is gone, and will be filled again from the log", None),
        });
        checks
    }

    fn federation(&self) -> Option<Arc<dyn Federation>> {
        Some(Arc::new(SearchFederation))
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::clone(&self.writer) as Arc<dyn Writer>)
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}

fn entry(table: &Table) -> DatasetEntry {
    let definition = &table.layout.definition;
    DatasetEntry { id: definition.id.clone(), name: definition.name.clone(), kind: DatasetKind::Table }
}

fn columns(layout: &Layout) -> Vec<Column> {
    let column = |(column, slot): (&polder_catalog::ColumnDefinition, &crate::layout::Slot)| Column {
        id: column.id.clone(),
        field: Arc::clone(&slot.field),
        native_type: slot.field.data_type().to_string(),
        note: definition::note(column),
    };
    layout.definition.columns.iter().zip(&layout.slots).map(column).chain([score(layout)]).collect()
}

/// The hidden last column.
fn score(layout: &Layout) -> Column {
    Column {
        id: polder_catalog::ColumnId(crate::SCORE.into()),
        field: Arc::new(layout.schema.field(layout.score()).clone()),
        native_type: "real".to_string(),
        note: Some("how well the row answers match(), BM25; NULL without one".to_string()),
    }
}
