//! Memory as the conformance suite sees it. There is no system beside the process, so nothing can tell which requests it
//! got and works on: what depends on that is not shown.

use crate::{Alteration, Fault, MemoryConnector, MemorySource, Transaction};
use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use polder_catalog::conformance::{Edit, Subject, Table, Trouble};
use polder_catalog::{CatalogName, Connector, Options, Principal, QueryId, ReadContext, Result, Source};
use std::sync::Arc;

pub(super) struct MemorySubject {
    pub(super) connector: Arc<MemoryConnector>,
    pub(super) source: Arc<MemorySource>,
}

impl MemorySubject {
    pub(super) async fn start() -> Self {
        let connector = Arc::new(MemoryConnector::default());
        let options = Options::validate(connector.options(), []).expect("every option has a default");
        let _attached = connector.attach(&catalog(), options).await.expect("an empty catalog attaches");
        let source = connector.source(&catalog()).expect("the catalog is attached");
        Self { connector, source }
    }
}

pub(super) fn catalog() -> CatalogName {
    CatalogName::new("scratch")
}

#[async_trait]
impl Subject for MemorySubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn options(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn catalog(&self) -> CatalogName {
        catalog()
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }

    fn types(&self) -> Vec<DataType> {
        let utc: Arc<str> = "UTC".into();
        vec![
            DataType::Boolean,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
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
        let key: Vec<&str> = table.key.as_deref().into_iter().collect();
        let mut transaction = Transaction::new().create_table(&*table.name, Arc::clone(&table.schema), &key);
        for rows in &table.rows {
            transaction = transaction.insert(&*table.name, rows.clone());
        }
        self.source.commit(transaction).map(|_| ())
    }

    async fn drop(&self, table: &str) -> Result<()> {
        self.source.commit(Transaction::new().drop_table(table)).map(|_| ())
    }

    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        let transaction = edits.iter().cloned().fold(Transaction::new(), |transaction, edit| match edit {
            Edit::Insert { table, rows } => transaction.insert(&*table, rows),
            Edit::Delete { table, rows } => transaction.delete(&*table, rows),
            Edit::Truncate { table } => transaction.truncate(&*table),
            Edit::AddColumn { table, field } => transaction.alter(&*table, Alteration::AddColumn(field)),
        });
        self.source.commit(transaction).map(|_| true)
    }

    async fn make(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Scan => self.source.inject(Fault::Scan { after_batches: 2 }),
            Trouble::Changes => self.source.inject(Fault::Changes { after_events: 4 }),
            Trouble::Apply => self.source.inject(Fault::Apply),
            Trouble::ForgetHistory => {
                let context = ReadContext::builder(QueryId("test".into()), Principal("test".into())).build();
                let changes = self.source.changes().expect("memory tells changes");
                let latest = changes.latest(&context).await.expect("the latest position is known");
                changes.confirm(&latest).await.expect("a position of its own");
            }
        }
        true
    }
}

/// Rows of people: `id` is their key.
pub(super) fn people(ids: std::ops::Range<usize>) -> RecordBatch {
    let number = |id: usize| i64::try_from(id).expect("few people");
    let id = Int64Array::from_iter_values(ids.clone().map(number));
    let name = StringArray::from_iter(ids.clone().map(|id| (id % 3 != 2).then(|| format!("person {id}"))));
    let score = Int64Array::from_iter(ids.map(|id| (id % 5 != 4).then(|| number(id % 11))));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("score", DataType::Int64, true),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(id), Arc::new(name), Arc::new(score)])
        .expect("the columns fit the schema")
}
