//! The connector, and one attached dump.

use crate::file::Dump;
use crate::index::{Index, Table};
use crate::scan::DumpTable;
use async_trait::async_trait;
use polder_catalog::{
    Capabilities, CatalogName, Check, Column, ColumnId, Connector, Dataset, DatasetEntry, DatasetId, DatasetKind,
    Error, OptionKind, OptionSpec, Options, ReadContext, Result, Source, Support,
};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::new("file", OptionKind::Text, "A dump that `pg_dump` wrote in its plain format.").required()];

/// `CREATE CATALOG ... USING pg_dump`.
#[derive(Debug)]
pub struct DumpConnector;

#[async_trait]
impl Connector for DumpConnector {
    fn name(&self) -> &'static str {
        "pg_dump"
    }

    fn doc(&self) -> &'static str {
        "The tables of a plain pg_dump file, read in place."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    /// A file that is not there yet can be attached.
    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>> {
        let path = PathBuf::from(options.text("file").expect("file is required"));
        Ok(Arc::new(DumpSource::new(Dump::new(name.clone(), path))))
    }
}

#[derive(Debug)]
pub(crate) struct DumpSource {
    pub(crate) dump: Arc<Dump>,
    /// Of the file's last state that was looked at.
    index: Mutex<Option<Arc<Index>>>,
}

impl DumpSource {
    pub(crate) fn new(dump: Dump) -> Self {
        Self { dump: Arc::new(dump), index: Mutex::default() }
    }

    /// The index of the file as it is now.
    async fn index(&self, context: &ReadContext) -> Result<Arc<Index>> {
        context.check()?;
        self.dump.ask();
        let known = self.index.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dump = Arc::clone(&self.dump);
        let looking = tokio::task::spawn_blocking(move || match known {
            Some(known) if dump.stamp()? == known.stamp => Ok(known),
            _ => Index::build(&dump).map(Arc::new),
        });
        let index = looking
            .await
            .map_err(|error| Error::report("looking for tables ended in a panic").with_source(error))??;
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&index));
        Ok(index)
    }
}

#[async_trait]
impl Source for DumpSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities { projection: Support::Exact, filter: Support::Exact, limit: Support::Exact, ..Capabilities::NONE }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        let index = self.index(context).await?;
        let schemas = index.tables.iter().map(|table| table.schema.clone());
        let schemas: BTreeSet<String> = schemas.chain([self.default_schema().to_string()]).collect();
        Ok(schemas.into_iter().collect())
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        let index = self.index(context).await?;
        Ok(index.tables.iter().filter(|table| table.schema == schema).map(|table| entry(table)).collect())
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        let index = self.index(context).await?;
        let Some(table) = index.table(schema, table) else { return Ok(None) };
        let provider = DumpTable {
            dump: Arc::clone(&self.dump),
            stamp: index.stamp.clone(),
            table: Arc::clone(table),
            context: context.clone(),
        };
        Ok(Some(Dataset { entry: entry(table), columns: columns(table), provider: Arc::new(provider) }))
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        match self.index(context).await {
            Err(error) => vec![Check::failed("readable", error.to_string(), None)],
            Ok(index) => {
                let readable = Check::ok("readable", format!("{} tables", index.tables.len()));
                let complete = if index.is_complete {
                    Check::ok("complete", "pg_dump wrote it to its end")
                } else {
                    let again = "run pg_dump again".to_string();
                    Check::warning("complete", "the dump does not end as pg_dump ends one", Some(again))
                };
                vec![readable, complete]
            }
        }
    }
}

/// In a dump, a name is all there is to know a table by.
fn entry(table: &Table) -> DatasetEntry {
    let id = DatasetId(format!("{:?}.{:?}", table.schema, table.name).into());
    DatasetEntry { id, name: table.name.clone(), kind: DatasetKind::Table }
}

fn columns(table: &Table) -> Vec<Column> {
    let fields = table.columns.fields().iter().zip(&table.native_types);
    let column = |(field, native_type): (&Arc<_>, &String)| Column {
        id: ColumnId(arrow::datatypes::Field::name(field).as_str().into()),
        field: Arc::clone(field),
        native_type: native_type.clone(),
        note: None,
    };
    fields.map(column).collect()
}
