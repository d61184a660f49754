//! The tables as a source.

use crate::provider::RowsTable;
use crate::store::{State, Store};
use crate::table::Table;
use crate::write::RowsWriter;
use async_trait::async_trait;
use polder_catalog::{
    Capabilities, CatalogName, Check, Column, Dataset, DatasetEntry, DatasetKind, ReadContext, Result, Source, Support,
    Writer,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Tables that live here. Empty until their entries are applied.
#[derive(Debug)]
pub struct RowsSource {
    name: CatalogName,
    store: Arc<Store>,
}

/// What the reads of one query share.
struct Snapshot(Arc<State>);

impl RowsSource {
    /// The tables of this catalog.
    pub fn new(name: CatalogName) -> Self {
        Self { name, store: Arc::default() }
    }

    fn snapshot(&self, context: &ReadContext) -> Result<Arc<State>> {
        context.check()?;
        let snapshot = context.shared(&self.name, || Snapshot(self.store.state()));
        Ok(Arc::clone(&snapshot.0))
    }
}

#[async_trait]
impl Source for RowsSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            projection: Support::Exact,
            filter: Support::Inexact,
            limit: Support::Exact,
            snapshot: true,
            transactions: true,
            ..Capabilities::NONE
        }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        let snapshot = self.snapshot(context)?;
        let schemas = snapshot.tables.values().map(|table| table.definition.schema.clone());
        let schemas: BTreeSet<String> = schemas.chain([self.default_schema().to_string()]).collect();
        Ok(schemas.into_iter().collect())
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        let snapshot = self.snapshot(context)?;
        let tables = snapshot.tables.values().filter(|table| table.definition.schema == schema);
        let mut entries: Vec<DatasetEntry> = tables.map(|table| entry(table)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        let snapshot = self.snapshot(context)?;
        let Some(table) = snapshot.named(schema, table) else { return Ok(None) };
        let provider = RowsTable::new(self.name.clone(), Arc::clone(table), context.clone());
        Ok(Some(Dataset { entry: entry(table), columns: columns(table), provider: Arc::new(provider) }))
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        match self.snapshot(context) {
            Ok(state) => vec![Check::ok("reachable", format!("{} tables", state.tables.len()))],
            Err(error) => vec![Check::failed("reachable", error.to_string(), None)],
        }
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::new(RowsWriter::new(Arc::clone(&self.store))))
    }
}

fn entry(table: &Table) -> DatasetEntry {
    let definition = &table.definition;
    DatasetEntry { id: definition.id.clone(), name: definition.name.clone(), kind: DatasetKind::Table }
}

fn columns(table: &Table) -> Vec<Column> {
    let column = |column: &polder_catalog::ColumnDefinition| Column {
        id: column.id.clone(),
        field: Arc::clone(&column.field),
        native_type: column.field.data_type().to_string(),
        note: None,
    };
    table.definition.columns.iter().map(column).collect()
}
