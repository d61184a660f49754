//! Search as the conformance suite sees it. An index has no other way in than the log, so tables are made by entries.

use super::desk::Desk;
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use async_trait::async_trait;
use polder_catalog::conformance::{Edit, Subject, Table, Trouble, definition};
use polder_catalog::{
    Applied, CatalogName, ColumnDefinition, ColumnId, Connector, DatasetDefinition, DatasetId, Definition, Result,
    Source,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

pub(super) struct SearchSubject {
    desk: Desk,
    made: Mutex<(u64, HashMap<String, DatasetDefinition>)>,
}

impl SearchSubject {
    pub(super) async fn start() -> Self {
        Self { desk: Desk::new().await, made: Mutex::default() }
    }

    fn made(&self, table: &str) -> DatasetDefinition {
        self.made.lock().expect("no test panics here").1[table].clone()
    }

    async fn apply(
        &self,
        definitions: Vec<Definition>,
        changes: Vec<(DatasetId, arrow::record_batch::RecordBatch)>,
    ) -> Result<()> {
        match self.desk.apply(definitions, changes).await? {
            Applied::Done => Ok(()),
            other => Err(polder_catalog::Error::report(format!("the subject's entry: {other:?}"))),
        }
    }
}

#[async_trait]
impl Subject for SearchSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(crate::SearchConnector)
    }

    fn options(&self) -> Vec<(String, String)> {
        self.desk.options()
    }

    fn catalog(&self) -> CatalogName {
        self.desk.catalog.clone()
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.desk.source)
    }

    fn types(&self) -> Vec<DataType> {
        let utc: Arc<str> = "UTC".into();
        vec![
            DataType::Boolean,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::LargeUtf8,
            DataType::Utf8View,
            DataType::Binary,
            DataType::LargeBinary,
            DataType::FixedSizeBinary(16),
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Microsecond, Some(utc)),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Decimal128(12, 2),
            DataType::Decimal128(38, 10),
            DataType::Decimal256(76, 20),
            DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
            DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        ]
    }

    async fn create(&self, table: &Table) -> Result<()> {
        let definition = {
            let mut made = self.made.lock().expect("no test panics here");
            made.0 += 1;
            let id = format!("d{}", made.0);
            let definition = definition(&id, "public", &table.name, &table.schema, table.key.as_deref());
            made.1.insert(table.name.clone(), definition.clone());
            definition
        };
        let id = definition.id.clone();
        let rows = table.rows.iter().map(|rows| (id.clone(), Desk::weighted(rows, 1))).collect();
        self.apply(vec![Definition::Create(definition)], rows).await
    }

    async fn drop(&self, table: &str) -> Result<()> {
        let found = self.desk.source.dataset(&self.desk.context(), "public", table).await?;
        let id = found.expect("a table that is dropped is there").entry.id;
        self.apply(vec![Definition::Drop(id)], Vec::new()).await
    }

    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        for edit in edits {
            match edit {
                Edit::AddColumn { table, field } => {
                    let mut definition = self.made(table);
                    let id = ColumnId(format!("c{}", definition.columns.len()).into());
                    let options = BTreeMap::new();
                    definition.columns.push(ColumnDefinition { id, field: Arc::clone(field), options });
                    self.apply(vec![Definition::Alter(definition)], Vec::new()).await?;
                }
                Edit::Insert { table, rows } => {
                    self.apply(Vec::new(), vec![(self.made(table).id, Desk::weighted(rows, 1))]).await?;
                }
                Edit::Delete { table, rows } => {
                    self.apply(Vec::new(), vec![(self.made(table).id, Desk::weighted(rows, -1))]).await?;
                }
                Edit::Truncate { .. } => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn make(&self, _: Trouble) -> bool {
        false
    }
}
