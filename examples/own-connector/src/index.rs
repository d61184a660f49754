//! Where the tables are: one pass over the dump, kept until the file changes.

use crate::file::{Dump, Stamp};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use polder_catalog::mark::{Comparison, marked};
use polder_catalog::{Error, Result, SqlState};
use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

/// The last line that pg_dump writes.
const COMPLETE: &[u8] = b"-- PostgreSQL database dump complete";

/// One state of a dump.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) stamp: Stamp,
    /// In the order of schema and name.
    pub(crate) tables: Vec<Arc<Table>>,
    /// Whether the dump was written to its end.
    pub(crate) is_complete: bool,
}

/// One table: its columns, and where its rows begin.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) columns: SchemaRef,
    /// The types as the dump names them.
    pub(crate) native_types: Vec<String>,
    pub(crate) start: u64,
    pub(crate) row_count: usize,
}

type Name = (String, String);

/// A column of a CREATE TABLE.
#[derive(Clone, Debug)]
struct Declared {
    native_type: String,
    not_null: bool,
}

impl Index {
    /// Reads the whole file, once. Rows are counted, not decoded.
    pub(crate) fn build(dump: &Dump) -> Result<Self> {
        let stamp = dump.stamp()?;
        let index = Builder::read(&mut dump.open(0)?.file).map_err(|error| dump.unreadable(&error))?;
        let Builder { mut tables, is_complete, .. } = index;
        // A file that is being written while we look is not looked at in halves.
        dump.expect(&stamp)?;
        tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        if let Some(twice) =
            tables.windows(2).find(|pair| pair[0].schema == pair[1].schema && pair[0].name == pair[1].name)
        {
            let message = format!("the dump holds table {}.{} twice", twice[0].schema, twice[0].name);
            return Err(
                dump.at(Error::fix(SqlState::FORMAT, message).with_hint("dump each database into its own file"))
            );
        }
        Ok(Self { stamp, tables, is_complete })
    }

    pub(crate) fn table(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.schema == schema && table.name == name)
    }
}

/// What was found up to a line.
#[derive(Default)]
struct Builder {
    declared: HashMap<Name, HashMap<String, Declared>>,
    /// The CREATE TABLE that the line is inside of.
    inside: Option<Name>,
    tables: Vec<Arc<Table>>,
    is_complete: bool,
}

impl Builder {
    fn read(file: &mut impl BufRead) -> io::Result<Self> {
        let (mut builder, mut place, mut line) = (Self::default(), 0, Vec::new());
        loop {
            line.clear();
            let bytes = file.read_until(b'\n', &mut line)?;
            if bytes == 0 {
                return Ok(builder);
            }
            place += bytes as u64;
            let text = String::from_utf8_lossy(line.trim_ascii_end());
            if let Some((name, columns)) = copy(&text) {
                let (row_count, bytes) = count_rows(file)?;
                builder.add(name, &columns, place, row_count);
                place += bytes;
            } else {
                builder.is_complete |= line.starts_with(COMPLETE);
                builder.declare(&text);
            }
        }
    }

    fn declare(&mut self, line: &str) {
        match self.inside.take() {
            Some(_) if line.starts_with(')') => {}
            Some(table) => {
                if let Some((column, declared)) = column(line) {
                    self.declared.entry(table.clone()).or_default().insert(column, declared);
                }
                self.inside = Some(table);
            }
            None => self.inside = create_table(line),
        }
    }

    fn add(&mut self, (schema, name): Name, columns: &[String], start: u64, row_count: usize) {
        let declared = self.declared.remove(&(schema.clone(), name.clone())).unwrap_or_default();
        // A partition may leave its columns to its parent's CREATE TABLE: then we do not know better.
        let unknown = Declared { native_type: "unknown".to_string(), not_null: false };
        let of = |column: &String| declared.get(column).unwrap_or(&unknown);
        let fields = columns.iter().map(|column| field(column, of(column))).collect::<Vec<_>>();
        let native_types = columns.iter().map(|column| of(column).native_type.clone()).collect();
        let columns = Arc::new(Schema::new(fields));
        self.tables.push(Arc::new(Table { schema, name, columns, native_types, start, row_count }));
    }
}

/// Rows up to the line `\.`, and their bytes with it. A dump that breaks off has the rows that it has; reading them fails.
fn count_rows(file: &mut impl BufRead) -> io::Result<(usize, u64)> {
    let (mut rows, mut bytes, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        bytes += file.read_until(b'\n', &mut line)? as u64;
        if line.is_empty() || line.trim_ascii_end() == b"\\." {
            return Ok((rows, bytes));
        }
        rows += 1;
    }
}

/// Integers are integers. The rest is the exact text of the dump, marked with its type unless it is text there too.
fn field(name: &str, declared: &Declared) -> Field {
    let native = declared.native_type.as_str();
    let field = |data_type| Field::new(name, data_type, !declared.not_null);
    match native {
        "smallint" | "integer" | "bigint" => field(DataType::Int64),
        "text" => field(DataType::Utf8),
        _ if native.starts_with("character varying") => field(DataType::Utf8),
        _ => marked(field(DataType::Utf8), native, Comparison::None),
    }
}

/// `COPY public.people (id, name) FROM stdin;`. A table without columns is not worth one.
fn copy(line: &str) -> Option<(Name, Vec<String>)> {
    let (name, rest) = qualified(line.strip_prefix("COPY ")?)?;
    let mut rest = rest.strip_prefix(" (")?;
    let mut columns = Vec::new();
    loop {
        let (column, after) = identifier(rest)?;
        columns.push(column);
        match after.strip_prefix(", ") {
            Some(more) => rest = more,
            None => return (after == ") FROM stdin;").then_some((name, columns)),
        }
    }
}

/// `CREATE TABLE public.people (`.
fn create_table(line: &str) -> Option<Name> {
    let rest = line.strip_prefix("CREATE TABLE ").or_else(|| line.strip_prefix("CREATE UNLOGGED TABLE "))?;
    let (name, rest) = qualified(rest)?;
    (rest == " (").then_some(name)
}

/// `    name text DEFAULT 'x'::text NOT NULL,`.
fn column(line: &str) -> Option<(String, Declared)> {
    let (name, rest) = identifier(line.trim_start())?;
    let rest = rest.strip_prefix(' ')?;
    let rest = rest.strip_suffix(',').unwrap_or(rest);
    let (rest, not_null) = match rest.strip_suffix(" NOT NULL") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let ends = [" DEFAULT ", " GENERATED ", " COLLATE ", " NOT NULL ", " CONSTRAINT "];
    let end = ends.iter().filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
    Some((name, Declared { native_type: rest[..end].to_string(), not_null }))
}

/// `public.people`, or either part in quotes.
fn qualified(text: &str) -> Option<(Name, &str)> {
    let (schema, rest) = identifier(text)?;
    let (name, rest) = identifier(rest.strip_prefix('.')?)?;
    Some(((schema, name), rest))
}

/// A plain name, or one in quotes with its quotes doubled; and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_string(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}
