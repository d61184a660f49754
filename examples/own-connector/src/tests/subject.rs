//! A dump as the conformance suite sees it: tables kept as Arrow, written as pg_dump would after each change.

use crate::DumpConnector;
use crate::file::Dump;
use crate::source::DumpSource;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use async_trait::async_trait;
use polder_catalog::conformance::{Edit, Subject, Table};
use polder_catalog::{CatalogName, Connector, Error, Result, Source, SqlState};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub(super) struct DumpSubject {
    folder: TempDir,
    tables: Mutex<BTreeMap<String, Table>>,
    source: Arc<DumpSource>,
}

impl DumpSubject {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let dump = Dump::new(CatalogName::new("backup"), folder.path().join("dump.sql"));
        let subject = Self { folder, tables: Mutex::default(), source: Arc::new(DumpSource::new(dump)) };
        subject.change(|_| ()).expect("write an empty dump");
        subject
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("dump.sql")
    }

    /// Changes the tables and dumps them again. The new dump takes the old one's place in one step.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Table>)) -> Result<()> {
        let mut tables = self.tables.lock().unwrap();
        change(&mut tables);
        let text = dump(&tables);
        let new = self.folder.path().join("dump.sql.new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, self.file()));
        written.map_err(|error| Error::fix(SqlState::IO, error.to_string()))
    }
}

#[async_trait]
impl Subject for DumpSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(DumpConnector)
    }

    fn options(&self) -> Vec<(String, String)> {
        vec![("file".to_string(), self.file().display().to_string())]
    }

    fn dead_options(&self) -> Option<Vec<(String, String)>> {
        let nowhere = self.folder.path().join("no such file.sql");
        Some(vec![("file".to_string(), nowhere.display().to_string())])
    }

    fn catalog(&self) -> CatalogName {
        self.source.dump.catalog.clone()
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }

    /// Beyond the two that are taken for granted, everything is text.
    fn types(&self) -> Vec<DataType> {
        Vec::new()
    }

    async fn create(&self, table: &Table) -> Result<()> {
        self.change(|tables| drop(tables.insert(table.name.clone(), table.clone())))
    }

    async fn drop(&self, table: &str) -> Result<()> {
        self.change(|tables| drop(tables.remove(table)))
    }

    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        if !edits.iter().all(|edit| matches!(edit, Edit::Insert { .. } | Edit::AddColumn { .. })) {
            return Ok(false);
        }
        self.change(|tables| edits.iter().for_each(|edit| apply(tables, edit)))?;
        Ok(true)
    }

    async fn active_requests(&self) -> Option<usize> {
        Some(self.source.dump.reading())
    }

    async fn sent_requests(&self) -> Option<u64> {
        Some(self.source.dump.asked())
    }
}

fn apply(tables: &mut BTreeMap<String, Table>, edit: &Edit) {
    match edit {
        Edit::Insert { table, rows } => tables.get_mut(table).expect("the table is there").rows.push(rows.clone()),
        Edit::AddColumn { table, field } => {
            let table = tables.get_mut(table).expect("the table is there");
            let fields = table.schema.fields().iter().cloned().chain([Arc::clone(field)]);
            table.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        }
        Edit::Delete { .. } | Edit::Truncate { .. } => unreachable!("refused above"),
    }
}

fn dump(tables: &BTreeMap<String, Table>) -> String {
    let mut text = String::from("--\n-- PostgreSQL database dump\n--\n\n");
    for table in tables.values() {
        let name = quoted(&table.name);
        let columns = table.schema.fields().iter().map(|field| declaration(field)).collect::<Vec<_>>();
        writeln!(text, "CREATE TABLE public.{name} (\n{}\n);\n", columns.join(",\n")).unwrap();
    }
    for table in tables.values() {
        let columns = table.schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>();
        writeln!(text, "COPY public.{} ({}) FROM stdin;", quoted(&table.name), columns.join(", ")).unwrap();
        for rows in &table.rows {
            (0..rows.num_rows()).for_each(|at| writeln!(text, "{}", line(rows, at, columns.len())).unwrap());
        }
        text.push_str("\\.\n\n");
    }
    text.push_str("--\n-- PostgreSQL database dump complete\n--\n");
    text
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn declaration(field: &Field) -> String {
    let native = if *field.data_type() == DataType::Int64 { "bigint" } else { "text" };
    let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("    {} {native}{not_null}", quoted(field.name()))
}

/// A row that was written before a column was added has NULL there.
fn line(rows: &RecordBatch, at: usize, columns: usize) -> String {
    let field = |column: usize| match rows.columns().get(column) {
        Some(array) if array.is_valid(at) => match array.data_type() {
            DataType::Int64 => array.as_primitive::<Int64Type>().value(at).to_string(),
            _ => escaped(array.as_string::<i32>().value(at)),
        },
        _ => "\\N".to_string(),
    };
    (0..columns).map(field).collect::<Vec<_>>().join("\t")
}

fn escaped(text: &str) -> String {
    let pairs = [
        ("\\", "\\\\"),
        ("\t", "\\t"),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\u{8}", "\\b"),
        ("\u{b}", "\\v"),
        ("\u{c}", "\\f"),
    ];
    pairs.iter().fold(text.to_string(), |text, (plain, escape)| text.replace(plain, escape))
}
