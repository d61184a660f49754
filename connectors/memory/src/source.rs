//! The connector, and one attached instance of it.

use crate::Fault;
use crate::changes::MemoryChanges;
use crate::fault::Faults;
use crate::options::{MemoryOptions, OPTIONS};
use crate::scan::MemoryTable;
use crate::store::{State, Store};
use crate::table::Table;
use crate::transaction::{Operation, TablePath, Transaction};
use crate::types;
use crate::write::MemoryWriter;
use async_trait::async_trait;
use polder_catalog::{
    Capabilities, CatalogName, Changes, Check, Column, Connector, Dataset, DatasetEntry, DatasetKind, Error,
    OptionSpec, Options, ReadContext, Result, Source, SourcePosition, SqlState, Support, Writer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Makes catalogs whose tables live in memory.
#[derive(Debug, Default)]
pub struct MemoryConnector {
    attached: Mutex<BTreeMap<CatalogName, Weak<MemorySource>>>,
}

impl MemoryConnector {
    /// The catalog attached last under this name, for a program that fills it; `None` if there is none any more.
    pub fn source(&self, name: &CatalogName) -> Option<Arc<MemorySource>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).get(name)?.upgrade()
    }
}

#[async_trait]
impl Connector for MemoryConnector {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn doc(&self) -> &'static str {
        "Tables in memory, for tests, scratch work and programs that embed Polder; they last as long as the catalog is \
         attached."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>> {
        let source = Arc::new(MemorySource::new(name.clone(), MemoryOptions::read(&options)?)?);
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached.retain(|_, source| source.strong_count() > 0);
        attached.insert(name.clone(), Arc::downgrade(&source));
        Ok(source)
    }
}

/// One catalog in memory.
#[derive(Debug)]
pub struct MemorySource {
    name: CatalogName,
    store: Arc<Store>,
    faults: Arc<Faults>,
}

impl MemorySource {
    fn new(name: CatalogName, options: MemoryOptions) -> Result<Self> {
        let store = Arc::new(Store::new(options.history_max));
        if !options.tables.is_empty() {
            let operations = options.tables.into_iter().map(Operation::Create).collect();
            store.commit(Transaction { operations, ..Transaction::default() }, None)?;
        }
        Ok(Self { name, store, faults: Arc::default() })
    }

    /// Commits a transaction: all of it is visible to the next query and told to those who follow, or none.
    ///
    /// # Errors
    /// [`Kind::Fix`](polder_catalog::Kind::Fix) if it does not fit the tables: a name, a type, a key, a missing row.
    pub fn commit(&self, transaction: Transaction) -> Result<SourcePosition> {
        self.store.commit(transaction, None).map_err(|error| self.at(error))
    }

    /// Makes a fault happen, once.
    pub fn inject(&self, fault: Fault) {
        self.faults.inject(fault);
    }

    /// The state that all reads of this query share.
    fn snapshot(&self, context: &ReadContext) -> Result<Arc<State>> {
        context.check()?;
        if self.faults.take(|fault| (*fault == Fault::Listing).then_some(())).is_some() {
            return Err(self.at(Error::retry(SqlState::CONNECTION, "the memory is out of reach (injected)")));
        }
        let snapshot = context.shared(&self.name, || Snapshot(self.store.state()));
        Ok(Arc::clone(&snapshot.0))
    }

    fn at(&self, error: Error) -> Error {
        error.at(format!("catalog \"{}\"", self.name))
    }
}

/// What this connector keeps in the context of a query.
struct Snapshot(Arc<State>);

#[async_trait]
impl Source for MemorySource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            projection: Support::Exact,
            filter: Support::Exact,
            limit: Support::Exact,
            keys: false,
            snapshot: true,
            transactions: true,
            ..Capabilities::NONE
        }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        let snapshot = self.snapshot(context)?;
        let schemas = snapshot.tables.values().map(|table| table.path.schema.clone());
        let schemas: BTreeSet<String> = schemas.chain([self.default_schema().to_string()]).collect();
        Ok(schemas.into_iter().collect())
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        let snapshot = self.snapshot(context)?;
        let tables = snapshot.tables.values().filter(|table| table.path.schema == schema);
        let mut entries: Vec<DatasetEntry> = tables.map(|table| entry(table)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        let snapshot = self.snapshot(context)?;
        let Some(table) = snapshot.table(&TablePath::from((schema, table))) else {
            return Ok(None);
        };
        let provider =
            MemoryTable::new(self.name.clone(), Arc::clone(table), context.clone(), Arc::clone(&self.faults));
        Ok(Some(Dataset { entry: entry(table), columns: columns(table), provider: Arc::new(provider) }))
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        match self.snapshot(context) {
            Ok(state) => vec![Check::ok("reachable", format!("{} tables in memory", state.tables.len()))],
            Err(error) => vec![Check::failed("reachable", error.to_string(), None)],
        }
    }

    fn changes(&self) -> Option<Arc<dyn Changes>> {
        Some(Arc::new(MemoryChanges::new(self.name.clone(), Arc::clone(&self.store), Arc::clone(&self.faults))))
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::new(MemoryWriter::new(Arc::clone(&self.store), Arc::clone(&self.faults))))
    }
}

fn entry(table: &Table) -> DatasetEntry {
    DatasetEntry { id: table.id.clone(), name: table.path.table.clone(), kind: DatasetKind::Table }
}

fn columns(table: &Table) -> Vec<Column> {
    let fields = table.columns.schema.fields().iter();
    let column = |(id, field): (_, &arrow::datatypes::FieldRef)| Column {
        id: Clone::clone(id),
        field: Arc::clone(field),
        native_type: types::native_name(field.data_type()),
        note: None,
    };
    table.columns.ids.iter().zip(fields).map(column).collect()
}
