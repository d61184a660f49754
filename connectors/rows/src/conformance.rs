//! The conformance suite on Polder's own tables. They have no other way in than entries, so tables are made by entries.

use crate::RowsSource;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use async_trait::async_trait;
use polder_catalog::conformance::{Edit, Outcome, Subject, Table, Trouble, definition, run, weighted};
use polder_catalog::{
    Applied, CatalogName, ChangePart, ColumnDefinition, ColumnId, Connector, DatasetDefinition, DatasetId, Definition,
    Entry, Error, Offset, OptionSpec, Options, Position, Result, ShardName, Source,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// Polder's own tables have no connector: the engine attaches their catalog. This one attaches no tables.
#[derive(Debug)]
struct RowsConnector;

#[async_trait]
impl Connector for RowsConnector {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn doc(&self) -> &'static str {
        "Tables that follow the log."
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    async fn attach(&self, name: &CatalogName, _: Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(RowsSource::new(name.clone())))
    }
}

struct RowsSubject {
    source: Arc<RowsSource>,
    made: Mutex<(u64, HashMap<String, DatasetDefinition>)>,
}

impl RowsSubject {
    #[expect(clippy::unused_async, reason = "the suite starts its subjects so")]
    async fn start() -> Self {
        Self { source: Arc::new(RowsSource::new(CatalogName::new("polder"))), made: Mutex::default() }
    }

    fn made(&self, table: &str) -> DatasetDefinition {
        self.made.lock().expect("no test panics here").1[table].clone()
    }

    async fn apply(&self, definitions: Vec<Definition>, changes: Vec<(DatasetId, RecordBatch)>) -> Result<()> {
        let main = ShardName("main".into());
        let at = self.source.position().shards.get(&main).map_or(1, |offset| offset.0 + 1);
        let position = Position { shards: [(main, Offset(at))].into(), ..Position::default() };
        let parts = changes.into_iter().map(|(dataset, batch)| Ok(ChangePart { dataset, batch })).collect::<Vec<_>>();
        let parts = Box::pin(futures::stream::iter(parts));
        let entry = Entry { position, time: SystemTime::UNIX_EPOCH, request_id: None, definitions, parts };
        let writer = self.source.writer().expect("tables are written");
        match writer.apply(entry).await? {
            Applied::Done => Ok(()),
            other => Err(Error::report(format!("the subject's entry: {other:?}"))),
        }
    }
}

#[async_trait]
impl Subject for RowsSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(RowsConnector)
    }

    fn options(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn catalog(&self) -> CatalogName {
        CatalogName::new("polder")
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as _
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
        let rows = table.rows.iter().map(|rows| (id.clone(), weighted(rows, 1))).collect();
        self.apply(vec![Definition::Create(definition)], rows).await
    }

    async fn drop(&self, table: &str) -> Result<()> {
        self.apply(vec![Definition::Drop(self.made(table).id)], Vec::new()).await
    }

    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        let (mut definitions, mut changes) = (Vec::new(), Vec::new());
        for edit in edits {
            match edit {
                Edit::AddColumn { table, field } => {
                    let mut definition = self.made(table);
                    let id = ColumnId(format!("c{}", definition.columns.len()).into());
                    let options = BTreeMap::new();
                    definition.columns.push(ColumnDefinition { id, field: Arc::clone(field), options });
                    self.made.lock().expect("no test panics here").1.insert(table.clone(), definition.clone());
                    definitions.push(Definition::Alter(definition));
                }
                Edit::Insert { table, rows } => changes.push((self.made(table).id, weighted(rows, 1))),
                Edit::Delete { table, rows } => changes.push((self.made(table).id, weighted(rows, -1))),
                Edit::Truncate { .. } => return Ok(false),
            }
        }
        self.apply(definitions, changes).await.map(|()| true)
    }

    async fn make(&self, _: Trouble) -> bool {
        false
    }
}

polder_catalog::conformance!(RowsSubject::start());

/// Every promise that is left out is named here.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_has_a_name() {
    let report = run(&RowsSubject::start().await).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    let not_applicable = report.names(|outcome| matches!(outcome, Outcome::NotApplicable(_)));
    let (changes, others): (Vec<&str>, Vec<&str>) =
        not_applicable.iter().partition(|name| name.starts_with("changes_"));
    assert!(!changes.is_empty(), "tables are followed by the log, and tell no changes: {report}");
    let expected = [
        "connector_2_attaches_without_the_network",
        "connector_3_attaches_without_secrets",
        "federation_1_takes_fragments_without_asking_the_source",
        "federation_2_same_rows_and_columns",
        "federation_3_declines_with_a_reason",
    ];
    assert_eq!(others, expected, "{report}");
}
