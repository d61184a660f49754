//! A database of PostgreSQL as the conformance suite sees it: filled and looked at through psql.

use super::literal::{quoted, row, type_name, value};
use crate::PostgresConnector;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use polder_catalog::conformance::{Edit, Subject, Table, Trouble};
use polder_catalog::{CatalogName, Connector, Options, Result, Source};
use polder_testing::Postgres;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// One server for all promises. It logs each statement with its database and who sent it, to be counted.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| {
    Postgres::builder().setting("log_statement", "all").setting("log_line_prefix", "database=%d by=%a ").start()
});
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// Rows in one INSERT.
const ROWS_PER_INSERT: usize = 5_000;

/// The row at which a scan breaks off, in the middle of the table that is read then.
const BREAKS_AT: usize = 30_000;

pub(super) struct PostgresSubject {
    database: String,
    source: Arc<dyn Source>,
}

impl PostgresSubject {
    pub(super) async fn start() -> Self {
        let database = format!("conformance_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        tokio::task::block_in_place(|| SERVER.create_database(&database));
        let options = vec![("url".to_string(), SERVER.url_of(&database))];
        let options = Options::validate(PostgresConnector.options(), options).expect("the options are right");
        let source = PostgresConnector.attach(&CatalogName::new("shop"), options).await.expect("it attaches");
        Self { database, source }
    }

    /// Runs SQL past the connector, and out of the log.
    fn psql(&self, sql: &str) -> String {
        let sql = format!("SET log_statement = none; {sql}");
        tokio::task::block_in_place(|| SERVER.psql_in(&self.database, &sql))
    }
}

#[async_trait]
impl Subject for PostgresSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(PostgresConnector)
    }

    fn options(&self) -> Vec<(String, String)> {
        vec![("url".to_string(), SERVER.url_of(&self.database))]
    }

    fn dead_options(&self) -> Option<Vec<(String, String)>> {
        let port = polder_testing::free_port();
        Some(vec![("url".to_string(), format!("postgres://polder@127.0.0.1:{port}/postgres"))])
    }

    fn catalog(&self) -> CatalogName {
        CatalogName::new("shop")
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source)
    }

    fn types(&self) -> Vec<DataType> {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        vec![
            DataType::Boolean,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::Binary,
            DataType::FixedSizeBinary(16),
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Decimal128(12, 2),
            DataType::Decimal128(38, 10),
            DataType::Decimal256(76, 20),
            list(DataType::Int32),
            list(DataType::Utf8),
            list(DataType::Float64),
        ]
    }

    async fn create(&self, table: &Table) -> Result<()> {
        let columns: Vec<String> = table.schema.fields().iter().map(definition).collect();
        let key = table.key.as_deref().map(|key| format!(", PRIMARY KEY ({})", quoted(key))).unwrap_or_default();
        let mut sql = format!("CREATE TABLE {} ({}{key});\n", quoted(&table.name), columns.join(", "));
        table.rows.iter().for_each(|rows| sql.push_str(&insert(&table.name, rows)));
        self.psql(&sql);
        Ok(())
    }

    async fn drop(&self, table: &str) -> Result<()> {
        // A table that broke a scan hides behind a view.
        let name = table.replace('\'', "''");
        self.psql(&format!(
            "SELECT format('DROP %s %I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname)
             FROM pg_class WHERE relname = '{name}' AND relnamespace = 'public'::regnamespace \\gexec\n"
        ));
        Ok(())
    }

    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        let statements: String = edits.iter().map(statements_of).collect();
        self.psql(&format!("BEGIN;\n{statements}COMMIT;"));
        Ok(true)
    }

    async fn make(&self, trouble: Trouble) -> bool {
        if trouble != Trouble::Scan {
            return false;
        }
        self.psql(&break_once("conf_faulty", &SERVER.url_of(&self.database)));
        true
    }

    async fn active_requests(&self) -> Option<usize> {
        let count = self.psql(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'active' AND application_name LIKE 'polder%'",
        );
        Some(count.trim().parse().expect("a count"))
    }

    async fn sent_requests(&self) -> Option<u64> {
        let ours = format!("database={} by=polder", self.database);
        let log = SERVER.log();
        let sent = log.lines().filter(|line| line.starts_with(&ours));
        let sent = sent.filter(|line| line.contains("LOG:  statement: ") || line.contains("LOG:  execute "));
        Some(sent.count() as u64)
    }
}

fn definition(field: &FieldRef) -> String {
    let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("{} {}{not_null}", quoted(field.name()), type_name(field.data_type()))
}

fn insert(table: &str, rows: &RecordBatch) -> String {
    let table = quoted(table);
    let starts = (0..rows.num_rows()).step_by(ROWS_PER_INSERT);
    starts
        .map(|start| {
            let end = rows.num_rows().min(start + ROWS_PER_INSERT);
            let values: Vec<String> = (start..end).map(|at| row(rows, at)).collect();
            format!("INSERT INTO {table} VALUES {};\n", values.join(",\n"))
        })
        .collect()
}

fn statements_of(edit: &Edit) -> String {
    match edit {
        Edit::Insert { table, rows } => insert(table, rows),
        Edit::Delete { table, rows } => (0..rows.num_rows()).map(|at| delete(table, rows, at)).collect(),
        Edit::Truncate { table } => format!("TRUNCATE {};\n", quoted(table)),
        Edit::AddColumn { table, field } => {
            format!("ALTER TABLE {} ADD {};\n", quoted(table), definition(field))
        }
    }
}

/// Deletes one of the rows that are equal to this one.
fn delete(table: &str, rows: &RecordBatch, at: usize) -> String {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let same: Vec<String> = columns
        .map(|(field, column)| format!("{} IS NOT DISTINCT FROM {}", quoted(field.name()), value(column.as_ref(), at)))
        .collect();
    let table = quoted(table);
    format!("DELETE FROM {table} WHERE ctid = (SELECT ctid FROM {table} WHERE {} LIMIT 1);\n", same.join(" AND "))
}

/// Puts a view in a table's place whose first reader loses its backend in the middle. The reader's transaction is
/// read-only and is lost as well, so that it happened is written over a connection of its own.
fn break_once(table: &str, url: &str) -> String {
    format!(
        "CREATE EXTENSION IF NOT EXISTS dblink;
         DROP TABLE IF EXISTS trouble;
         CREATE TABLE trouble AS SELECT 1 AS pending;
         CREATE OR REPLACE FUNCTION pass(id int8) RETURNS int8 LANGUAGE plpgsql AS $$
         BEGIN
           IF id = {BREAKS_AT} AND EXISTS (SELECT FROM public.trouble) THEN
             PERFORM public.dblink_exec('{url}', 'DELETE FROM public.trouble');
             PERFORM pg_terminate_backend(pg_backend_pid());
           END IF;
           RETURN id;
         END $$;
         DROP TABLE IF EXISTS {table}_behind CASCADE;
         ALTER TABLE {table} RENAME TO {table}_behind;
         CREATE VIEW {table} AS SELECT pass(id) AS id, name, score FROM {table}_behind"
    )
}
