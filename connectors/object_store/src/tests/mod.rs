//! The connector against real files and a real S3 server.

mod conformance;
mod credentials;
mod evolve;
mod formats;
mod hive;
mod hostile;
mod local;
mod mock;
mod names;
mod proxy;
mod pushdown;
mod retries;
mod s3;
mod skip;

use crate::ObjectStoreConnector;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::physical_plan::ExecutionPlan;
use polder_catalog::{CatalogName, Connector, Error, Options, Principal, QueryId, ReadContext, ScanReport, Source};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A catalog `lake` over a folder of its own.
struct Lake {
    folder: TempDir,
    source: Arc<dyn Source>,
}

impl Lake {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(options: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("lake").tempdir().expect("make a folder");
        let location = folder.path().to_str().expect("a UTF-8 path").to_string();
        let mut all = vec![("location", location.as_str())];
        all.extend_from_slice(options);
        let source = attach(&all).await.expect("attach");
        Self { folder, source }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a UTF-8 path").to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().expect("a parent")).expect("make folders");
        std::fs::write(path, content).expect("write");
    }

    /// Writes the rows of a query; the format and compression are those of the name.
    async fn write_rows(&self, name: &str, sql: &str) {
        self.write(name, rows_as_file(name, sql).await);
    }

    async fn rows(&self, table: &str) -> Vec<String> {
        self.sql(table, "SELECT * FROM t").await.expect("rows")
    }

    async fn sql(&self, table: &str, sql: &str) -> Result<Vec<String>, Error> {
        query(&self.source, &context(), "public", table, sql).await
    }

    async fn error(&self, table: &str) -> Error {
        self.sql(table, "SELECT * FROM t").await.expect_err("an error")
    }

    async fn tables(&self, schema: &str) -> Vec<String> {
        let listed = self.source.datasets(&context(), schema).await.expect("list");
        listed.into_iter().map(|entry| entry.name).collect()
    }

    /// Names and types of a table's columns.
    async fn columns(&self, table: &str) -> Vec<String> {
        let found = self.source.dataset(&context(), "public", table).await.expect("describe").expect("a table");
        let one = |column: &polder_catalog::Column| {
            let null = if column.field.is_nullable() { "" } else { " not null" };
            format!("{} {}{null}", column.field.name(), column.field.data_type())
        };
        found.columns.iter().map(one).collect()
    }
}

async fn attach(options: &[(&str, &str)]) -> Result<Arc<dyn Source>, Error> {
    let connector = ObjectStoreConnector;
    let given = options.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let options = Options::validate(connector.options(), given)?;
    connector.attach(&CatalogName::new("lake"), options).await
}

fn context() -> ReadContext {
    ReadContext::builder(QueryId("q".into()), Principal("tester".into())).partitions(2).build()
}

fn without_pushdown() -> ReadContext {
    ReadContext::builder(QueryId("q".into()), Principal("tester".into())).partitions(2).pushdown(false).build()
}

fn session() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2))
}

/// The rows of a query over one table, called `t`, each as text; in the order of their texts.
async fn query(
    source: &Arc<dyn Source>,
    context: &ReadContext,
    schema: &str,
    table: &str,
    sql: &str,
) -> Result<Vec<String>, Error> {
    let found = source.dataset(context, schema, table).await?.expect("the table exists");
    let session = session();
    session.register_table("t", found.provider).map_err(Error::from_datafusion)?;
    run(&session, sql).await
}

async fn run(session: &SessionContext, sql: &str) -> Result<Vec<String>, Error> {
    let frame = session.sql(sql).await.map_err(Error::from_datafusion)?;
    let batches = frame.collect().await.map_err(Error::from_datafusion)?;
    let format = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &format).expect("format")).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    Ok(rows)
}

/// The bytes of a file of these rows.
async fn rows_as_file(name: &str, sql: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("rows.out");
    let (format, compression) = match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "gz" => ("", "gzip"),
        "bz2" => ("", "bzip2"),
        "xz" => ("", "xz"),
        "zst" => ("", "zstd"),
        other => (other, "uncompressed"),
    };
    let format = if format.is_empty() { name.rsplit('.').nth(1).expect("an extension") } else { format };
    let (stored, options) = match format {
        "parquet" => ("PARQUET", "OPTIONS ('format.max_row_group_size' '1000')".to_string()),
        "csv" => ("CSV", format!("OPTIONS ('format.compression' '{compression}', 'format.has_header' 'true')")),
        "ndjson" | "jsonl" | "json" => ("JSON", format!("OPTIONS ('format.compression' '{compression}')")),
        "arrow" | "feather" | "ipc" => ("ARROW", String::new()),
        other => panic!("no rows are written as {other}"),
    };
    let copy = format!("COPY ({sql}) TO '{}' STORED AS {stored} {options}", file.display());
    let config =
        SessionConfig::new().with_target_partitions(1).set_bool("datafusion.execution.keep_partition_by_columns", true);
    let session = SessionContext::new_with_config(config);
    session.sql(&copy).await.expect("plan the copy").collect().await.expect("copy");
    let written = if file.is_dir() {
        std::fs::read_dir(&file).expect("list").next().expect("a file").expect("an entry").path()
    } else {
        file
    };
    std::fs::read(written).expect("read back")
}

/// What EXPLAIN says of each scan of a query.
async fn reports(source: &Arc<dyn Source>, context: &ReadContext, table: &str, sql: &str) -> Vec<ScanReport> {
    let found = source.dataset(context, "public", table).await.expect("describe").expect("a table");
    let session = session();
    session.register_table("t", found.provider).expect("register");
    let plan = session.sql(sql).await.expect("parse").create_physical_plan().await.expect("plan");
    let mut reports = Vec::new();
    collect_reports(source, &plan, &mut reports);
    reports
}

fn collect_reports(source: &Arc<dyn Source>, plan: &Arc<dyn ExecutionPlan>, reports: &mut Vec<ScanReport>) {
    reports.extend(source.describe_scan(&CatalogName::new("lake"), plan.as_ref()));
    plan.children().into_iter().for_each(|child| collect_reports(source, child, reports));
}

/// An error names the catalog and the file, and says what to do.
#[track_caller]
fn assert_helpful(error: &Error, file: &str) {
    assert!(error.message().contains("catalog \"lake\""), "names no catalog: {error:?}");
    assert!(error.message().contains(file), "does not name {file}: {error:?}");
    assert!(error.hint().is_some(), "has no hint: {error:?}");
    assert!(!error.message().contains('\n'), "is several lines: {error:?}");
}
