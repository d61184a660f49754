//! Tab: keywords, functions, and the names of catalogs, schemas, tables and columns. Enter: whether a statement is whole.
//!
//! Names are loaded at the first Tab, in the background and with a limit on how long the key may hang, and again after a
//! statement that may have changed them. A source that is down costs one short wait.

use crate::client::{Answer, Client};
use crate::sql::KEYWORDS;
use crate::sql::split::Splitter;
use arrow::array::{Array, AsArray, RecordBatch};
use polder_catalog::Result;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long Tab waits for names.
const PATIENCE: Duration = Duration::from_millis(700);

/// The names that are known, and how to learn more.
pub(super) struct Completion {
    runtime: Handle,
    client: Arc<dyn Client>,
    names: Arc<Mutex<Names>>,
    is_outdated: AtomicBool,
}

#[derive(Default)]
struct Names {
    /// Catalog, schema, table.
    tables: Vec<[String; 3]>,
    /// By the table's full name, as written.
    columns: HashMap<String, Vec<String>>,
}

impl Completion {
    pub(super) fn new(runtime: Handle, client: Arc<dyn Client>) -> Self {
        let is_outdated = AtomicBool::new(true);
        Self { runtime, client, names: Arc::default(), is_outdated }
    }

    /// To be told every statement: those that define something make the names old.
    pub(super) fn outdate(&self, statement: &str) {
        let word = statement.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
        if ["create", "drop", "alter"].contains(&word.as_str()) {
            self.is_outdated.store(true, Ordering::Relaxed);
        }
    }

    /// The candidates for the word before the cursor, and where that word starts.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let typed = &line[..position];
        let start = typed
            .rfind(|c: char| !is_part_of_name(c))
            .map_or(0, |at| at + typed[at..].chars().next().map_or(1, char::len_utf8));
        let word = &typed[start..];
        if word.is_empty() && start == 0 {
            return (start, Vec::new());
        }
        self.load_tables();
        self.load_columns(line);
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = names.matching(word);
        if !word.contains('.') && !word.is_empty() {
            found.extend(keywords(word));
            found.extend(self.functions(word));
        }
        (start, found.into_iter().collect())
    }

    fn functions(&self, word: &str) -> impl Iterator<Item = String> {
        let prefix = word.to_lowercase();
        self.client.function_names().into_iter().filter(move |name| name.starts_with(&prefix)).map(|name| name + "(")
    }

    fn load_tables(&self) {
        if !self.is_outdated.swap(false, Ordering::Relaxed) {
            return;
        }
        let (client, names) = (Arc::clone(&self.client), Arc::clone(&self.names));
        self.in_time(async move {
            if let Ok(tables) = tables(client.as_ref()).await {
                *names.lock().unwrap_or_else(PoisonError::into_inner) = Names { tables, columns: HashMap::new() };
            }
        });
    }

    /// Loads the columns of the tables that the line names and that are not known yet.
    fn load_columns(&self, line: &str) {
        let unknown: Vec<String> = {
            let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            let words: BTreeSet<&str> = line.split(|c: char| !is_part_of_name(c)).collect();
            let named = names.tables.iter().filter(|table| words.iter().any(|word| names_table(word, table)));
            named.map(full_name).filter(|name| !names.columns.contains_key(name)).collect()
        };
        if unknown.is_empty() {
            return;
        }
        let (client, names) = (Arc::clone(&self.client), Arc::clone(&self.names));
        self.in_time(async move {
            for name in unknown {
                let columns = columns(client.as_ref(), &name).await.unwrap_or_default();
                names.lock().unwrap_or_else(PoisonError::into_inner).columns.insert(name, columns);
            }
        });
    }

    /// Waits for the work, but not long; it goes on in the background, for the next Tab.
    fn in_time(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = self.runtime.spawn(work);
        drop(self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await }));
    }
}

impl Names {
    fn matching(&self, word: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for [catalog, schema, table] in &self.tables {
            let path = [identifier(catalog), identifier(schema), identifier(table)];
            if word.contains('.') {
                // One more part of the path: `shop.` offers schemas, and tables of two-part names.
                let schema_path = format!("{}.{}", path[0], path[1]);
                let offers = [format!("{schema_path}."), format!("{schema_path}.{}", path[2])];
                let offered = if schema_path.len() < word.len() { &offers[1] } else { &offers[0] };
                if starts_with(offered, word) {
                    found.insert(offered.clone());
                }
            } else if !word.is_empty() {
                if starts_with(&path[0], word) {
                    found.insert(format!("{}.", path[0]));
                }
                if starts_with(&path[2], word) {
                    found.insert(path.join("."));
                }
            }
        }
        let (qualifier, prefix) = word.rsplit_once('.').map_or(("", word), |(qualifier, prefix)| (qualifier, prefix));
        for (table, columns) in &self.columns {
            let is_meant = qualifier.is_empty() || table == qualifier || table.ends_with(&format!(".{qualifier}"));
            let dot = if qualifier.is_empty() { "" } else { "." };
            let matching = columns
                .iter()
                .map(|column| identifier(column))
                .filter(|column| is_meant && starts_with(column, prefix));
            found.extend(matching.map(|column| format!("{qualifier}{dot}{column}")));
        }
        found
    }
}

fn keywords(word: &str) -> impl Iterator<Item = String> {
    let is_lower = word.starts_with(|c: char| c.is_ascii_lowercase());
    let matching = KEYWORDS.iter().filter(move |keyword| starts_with(keyword, word));
    matching.map(move |keyword| if is_lower { keyword.to_ascii_lowercase() } else { (*keyword).to_string() })
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn is_part_of_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '"')
}

/// Whether a word of the line means the table: by its bare, its two-part or its full name.
fn names_table(word: &str, table: &[String; 3]) -> bool {
    let full = full_name(table);
    let two_part = format!("{}.{}", identifier(&table[0]), identifier(&table[2]));
    word == full || word == two_part || word == identifier(&table[2])
}

fn full_name(table: &[String; 3]) -> String {
    table.each_ref().map(|part| identifier(part)).join(".")
}

/// The name as it must be typed: in quotes if SQL would read it otherwise.
fn identifier(name: &str) -> String {
    let starts_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_plain = starts_plain && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { name.to_string() } else { crate::sql::identifier(name) }
}

async fn tables(client: &dyn Client) -> Result<Vec<[String; 3]>> {
    let Answer::Rows(mut rows) = client.run("SHOW TABLES").await? else { return Ok(Vec::new()) };
    let mut tables = Vec::new();
    while let Some(batch) = rows.next().await? {
        tables.extend((0..batch.num_rows()).filter_map(|row| table(&batch, row)));
    }
    Ok(tables)
}

/// A row of SHOW TABLES; a catalog that cannot be reached has no table in it.
fn table(batch: &RecordBatch, row: usize) -> Option<[String; 3]> {
    let text = |name: &str| {
        let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_string())
    };
    Some([text("catalog")?, text("schema")?, text("table")?])
}

async fn columns(client: &dyn Client, table: &str) -> Result<Vec<String>> {
    // Planning tells the columns; the rows are never asked for.
    match client.run(&format!("SELECT * FROM {table} LIMIT 0")).await? {
        Answer::Rows(rows) => Ok(rows.schema().fields().iter().map(|field| field.name().clone()).collect()),
        Answer::Done { .. } | Answer::CopyIn(_) => Ok(Vec::new()),
    }
}

/// What the line editor asks.
pub(super) struct Helper {
    completion: Arc<Completion>,
}

impl Helper {
    pub(super) fn new(completion: Arc<Completion>) -> Self {
        Self { completion }
    }
}

impl rustyline::Helper for Helper {}
impl Highlighter for Helper {}

impl Hinter for Helper {
    type Hint = String;
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = self.completion.candidates(line, position);
        let pairs = found.into_iter().map(|name| Pair { display: name.clone(), replacement: name });
        Ok((start, pairs.collect()))
    }
}

impl Validator for Helper {
    /// Enter ends a backslash command at once, and a statement at its semicolon; otherwise it starts a new line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let whole = is_whole(context.input());
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

fn is_whole(input: &str) -> bool {
    if input.trim_start().starts_with('\\') {
        return true;
    }
    let mut splitter = Splitter::new();
    splitter.push(input);
    while splitter.next_statement().is_some() {}
    splitter.is_empty()
}

#[cfg(test)]
mod tests {
    use super::{Names, is_whole, keywords};

    fn names() -> Names {
        let tables =
            [["shop", "public", "orders"], ["shop", "public", "Order Lines"], ["lake", "public", "orders_old"]];
        let columns = [("shop.public.orders".to_string(), vec!["id".to_string(), "placed_at".to_string()])];
        Names { tables: tables.map(|table| table.map(String::from)).to_vec(), columns: columns.into() }
    }

    fn matching(word: &str) -> Vec<String> {
        names().matching(word).into_iter().collect()
    }

    #[test]
    fn a_path_is_completed_part_by_part() {
        assert_eq!(matching("sh"), ["shop."]);
        assert_eq!(matching("shop."), ["shop.public."]);
        assert_eq!(matching("shop.public."), ["shop.public.\"Order Lines\"", "shop.public.orders"]);
    }

    #[test]
    fn a_bare_table_becomes_its_full_name() {
        assert_eq!(matching("ord"), ["lake.public.orders_old", "shop.public.orders"]);
    }

    #[test]
    fn columns_are_offered_bare_and_behind_their_table() {
        assert_eq!(matching("pla"), ["placed_at"]);
        assert_eq!(matching("orders.pl"), ["orders.placed_at"]);
    }

    #[test]
    fn keywords_keep_the_case_of_the_typist() {
        assert_eq!(keywords("sel").collect::<Vec<_>>(), ["select"]);
        assert_eq!(keywords("SEL").collect::<Vec<_>>(), ["SELECT"]);
    }

    #[test]
    fn enter_sends_whole_statements_only() {
        for whole in ["", "\\d", "SELECT 1;", "SELECT 1; SELECT 2; -- done"] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in ["SELECT 1", "SELECT ';", "SELECT 1; SELECT", "/* "] {
            assert!(!is_whole(open), "{open}");
        }
    }
}
