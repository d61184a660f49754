//! The conformance suite, on Parquet and on Arrow files, the formats that keep every type; in a folder and in a bucket.

use super::proxy::{Fault, Proxy};
use super::s3::{BUCKET, Bucket};
use super::{Lake, context};
use crate::ObjectStoreConnector;
use async_trait::async_trait;
use datafusion::arrow::array::new_null_array;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, TimeUnit};
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use polder_catalog::conformance::{Edit, Outcome, Subject, Table, Trouble, check, run};
use polder_catalog::{CatalogName, Connector, Result, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What the subject writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Parquet,
    Arrow,
}

/// Where it writes.
enum Home {
    Folder(Lake),
    Bucket { bucket: Bucket, proxy: Proxy, source: Arc<dyn Source> },
}

impl Home {
    fn write(&self, name: &str, bytes: &[u8]) {
        match self {
            Self::Folder(lake) => lake.write(name, bytes),
            Self::Bucket { bucket, .. } => bucket.s3.put(BUCKET, &format!("in/side/{name}"), bytes),
        }
    }

    fn remove(&self, name: &str) {
        match self {
            Self::Folder(lake) => std::fs::remove_file(lake.path(name)).expect("the file is there"),
            Self::Bucket { bucket, .. } => bucket.s3.delete(BUCKET, &format!("in/side/{name}")),
        }
    }

    fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Folder(_) => None,
            Self::Bucket { proxy, .. } => Some(proxy),
        }
    }
}

/// A folder or bucket whose tables are one file each.
struct LakeSubject {
    home: Home,
    written: Written,
    tables: Mutex<HashMap<String, Table>>,
}

impl LakeSubject {
    async fn start(written: Written) -> Self {
        Self { home: Home::Folder(Lake::new().await), written, tables: Mutex::default() }
    }

    async fn start_bucket() -> Self {
        let bucket = Bucket::new();
        let proxy = Proxy::before(&bucket.s3.endpoint()).await;
        let source = bucket.attach_with(&[("endpoint", &proxy.endpoint()), ("retries", "0"), ("timeout", "30s")]).await;
        Self { home: Home::Bucket { bucket, proxy, source }, written: Written::Parquet, tables: Mutex::default() }
    }

    fn file(&self, table: &str) -> String {
        match self.written {
            Written::Parquet => format!("{table}.parquet"),
            Written::Arrow => format!("{table}.arrow"),
        }
    }

    fn write(&self, table: &Table) {
        let bytes = match self.written {
            Written::Parquet => parquet(table),
            Written::Arrow => arrow(table),
        };
        self.home.write(&self.file(&table.name), &bytes);
        self.tables.lock().expect("no panic").insert(table.name.clone(), table.clone());
    }

    fn add_column(&self, table: &str, field: &FieldRef) {
        let mut table = self.tables.lock().expect("no panic")[table].clone();
        let fields = table.schema.fields().iter().cloned().chain([Arc::clone(field)]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let widen = |batch: &RecordBatch| {
            let null = new_null_array(field.data_type(), batch.num_rows());
            let columns = batch.columns().iter().cloned().chain([null]).collect();
            RecordBatch::try_new(Arc::clone(&schema), columns).expect("the columns fit")
        };
        table.rows = table.rows.iter().map(widen).collect();
        table.schema = schema;
        self.write(&table);
    }
}

/// Several row groups, so that there is something to skip.
fn parquet(table: &Table) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10_000)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&table.schema), Some(properties)).expect("a writer");
    table.rows.iter().for_each(|rows| writer.write(rows).expect("write rows"));
    writer.into_inner().expect("a footer")
}

fn arrow(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new(&mut bytes, &table.schema).expect("a writer");
    let slices = table.rows.iter().flat_map(|rows| {
        let starts = (0..rows.num_rows()).step_by(8192);
        starts.map(|start| rows.slice(start, 8192.min(rows.num_rows() - start)))
    });
    slices.for_each(|rows| writer.write(&rows).expect("write rows"));
    writer.finish().expect("a footer");
    drop(writer);
    bytes
}

#[async_trait]
impl Subject for LakeSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(ObjectStoreConnector)
    }

    /// A key that nothing has a use for, so that attaching with a secret can be looked at.
    fn options(&self) -> Vec<(String, String)> {
        let mut options = match &self.home {
            Home::Folder(lake) => vec![("location", lake.path(""))],
            Home::Bucket { proxy, .. } => {
                vec![("location", format!("s3://{BUCKET}/in/side")), ("endpoint", proxy.endpoint())]
            }
        };
        options.push(("access_key_id", "nobody".to_string()));
        options.push(("secret_access_key", "env:POLDER_TEST_HOLDS_NO_SECRET".to_string()));
        options.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    fn dead_options(&self) -> Option<Vec<(String, String)>> {
        let options = [
            ("location", "s3://bucket/prefix"),
            ("endpoint", "http://127.0.0.1:9"),
            ("credentials", "none"),
            ("retries", "0"),
            ("timeout", "2s"),
        ];
        Some(options.map(|(name, value)| (name.to_string(), value.to_string())).to_vec())
    }

    fn catalog(&self) -> CatalogName {
        CatalogName::new("lake")
    }

    fn source(&self) -> Arc<dyn Source> {
        match &self.home {
            Home::Folder(lake) => Arc::clone(&lake.source),
            Home::Bucket { source, .. } => Arc::clone(source),
        }
    }

    fn types(&self) -> Vec<DataType> {
        let mut types = vec![
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
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Decimal128(12, 2),
            DataType::Decimal128(38, 10),
            DataType::Decimal256(76, 20),
            DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
            DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        ];
        // Parquet has an interval of its own, which is another.
        if self.written == Written::Arrow {
            types.push(DataType::Interval(IntervalUnit::MonthDayNano));
        }
        types
    }

    /// DataFusion reads Parquet's text and bytes as views, which copy nothing.
    fn read_as(&self, data_type: &DataType) -> DataType {
        match (self.written, data_type) {
            (Written::Parquet, DataType::Utf8 | DataType::LargeUtf8) => DataType::Utf8View,
            (Written::Parquet, DataType::Binary | DataType::LargeBinary) => DataType::BinaryView,
            _ => data_type.clone(),
        }
    }

    async fn create(&self, table: &Table) -> Result<()> {
        self.write(table);
        Ok(())
    }

    async fn drop(&self, table: &str) -> Result<()> {
        self.home.remove(&self.file(table));
        self.tables.lock().expect("no panic").remove(table);
        Ok(())
    }

    /// The next request for rows breaks off. Footers are read before, as planning is not the scan.
    async fn make(&self, trouble: Trouble) -> bool {
        let (Some(proxy), Trouble::Scan) = (self.home.proxy(), trouble) else { return false };
        let tables: Vec<String> = self.tables.lock().expect("no panic").keys().cloned().collect();
        for table in tables {
            self.source().dataset(&context(), "public", &table).await.expect("describe").expect("a table");
        }
        proxy.fail(".parquet ", &[Fault::Cut(1_000)]);
        true
    }

    async fn active_requests(&self) -> Option<usize> {
        self.home.proxy().map(Proxy::active)
    }

    async fn sent_requests(&self) -> Option<u64> {
        self.home.proxy().map(|proxy| proxy.requests("").len() as u64)
    }

    /// A file is written as a whole, so all that can be done to one in place is to write it anew.
    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        let [Edit::AddColumn { table, field }] = edits else { return Ok(false) };
        self.add_column(table, field);
        Ok(true)
    }
}

mod parquet_files {
    use super::*;
    polder_catalog::conformance!(LakeSubject::start(Written::Parquet));
}

mod arrow_files {
    use super::*;
    polder_catalog::conformance!(LakeSubject::start(Written::Arrow));
}

/// A server can be looked at and broken from outside, so nothing is left out.
#[tokio::test(flavor = "multi_thread")]
async fn all_promises_are_shown_of_a_bucket() {
    let report = run(&LakeSubject::start_bucket().await).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    assert_eq!(report.names(Outcome::is_not_shown), [""; 0], "{report}");
}

/// What a folder cannot be made to show, a bucket does.
#[tokio::test]
async fn what_is_not_shown_of_a_folder_is_known() {
    let not_shown = [
        "source_1_listing_is_cheap",
        "source_4_a_cancelled_query_stops",
        "source_4_a_passed_deadline_stops",
        "source_4_a_dropped_stream_stops_the_work",
        "source_5_errors_name_the_source",
        "scan_4_works_only_when_polled",
        "scan_5_a_broken_stream_ends_with_an_error",
    ];
    for promise in not_shown {
        let outcome = check(promise, &LakeSubject::start(Written::Parquet).await).await;
        assert!(outcome.is_not_shown(), "{promise}: {outcome:?}");
    }
}
