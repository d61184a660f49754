//! The reference pages under `docs/reference`, written from the same tables that the code itself uses.
//!
//! The tests compare the pages with the committed ones; `POLDER_UPDATE=1` rewrites those.

use crate::config;
use crate::execute;
use crate::metrics;
use crate::session::SETTINGS;
use polder_catalog::{Connector, OptionSpec, Registry};
use std::fmt::Write;

/// A page: its file name and its text.
pub type Page = (&'static str, String);

/// Every page but that of the commands, which the program prints itself (`polder help`).
pub fn pages(registry: &Registry, functions: &[String]) -> Vec<Page> {
    vec![
        ("catalogs.md", catalogs(registry)),
        ("configuration.md", configuration()),
        ("errors.md", errors()),
        ("metrics.md", metrics()),
        ("sql.md", sql(functions)),
    ]
}

fn catalogs(registry: &Registry) -> String {
    let mut page = heading(
        "Catalog options",
        "What `CREATE CATALOG name USING connector WITH (option = 'value')` and `ALTER CATALOG name SET (...)` take, and \
         the sections `[catalogs.NAME]` of `polder.toml`. A secret is written `env:NAME` or `file:PATH`, read at each \
         connect and never printed.",
    );
    registry.iter().for_each(|connector| catalog_section(&mut page, connector.as_ref()));
    page
}

fn catalog_section(page: &mut String, connector: &dyn Connector) {
    let _ = write!(page, "\n## {}\n\n{}\n", connector.name(), connector.doc());
    if !connector.options().is_empty() {
        page.push_str(&option_table("option", connector.options()));
    }
}

fn configuration() -> String {
    let mut page = heading(
        "Configuration",
        "The keys of `polder.toml`, which `--config` names. An unknown key is an error. Sections `[catalogs.NAME]` also take \
         the options of their [connector](catalogs.md).",
    );
    let rows = config::KEYS.iter().map(|key| [code(key.key), key.value.to_string(), key.doc.to_string()]);
    page.push_str(&table(["key", "value", "meaning"], rows));
    page.push_str("\n## Settings of a session\n\n`SET name = value`, `RESET name`, `SHOW name`, `SHOW ALL`. Settings that begin with `datafusion.` are DataFusion's own.\n");
    page.push_str(&option_table("setting", SETTINGS));
    page
}

fn option_table(what: &'static str, specs: &[OptionSpec]) -> String {
    let rows = specs.iter().map(|spec| {
        let default = match spec.default {
            Some(default) => code(default),
            None if spec.required => "required".to_string(),
            None => String::new(),
        };
        [code(spec.name), spec.type_name(), default, spec.doc.to_string()]
    });
    table([what, "value", "default", "meaning"], rows)
}

/// The constants of the contract crate, each with its comment.
fn errors() -> String {
    let mut page = heading(
        "Errors",
        "Every error has a message, often a `detail` with the causes and a `hint` with the next step, and a SQLSTATE, which \
         clients of every protocol see. A code that a source sent is passed on as it is, so others may appear.",
    );
    let source = include_str!("../catalog/src/error.rs");
    let rows = documented(source, "    pub const ").into_iter().filter_map(|(doc, _)| {
        let (state, meaning) = doc.split_once(": ")?;
        (state.len() == 5).then(|| [code(state), meaning.to_string()])
    });
    page.push_str(&table(["SQLSTATE", "meaning"], rows));
    page
}

/// The table that the answer itself is written from.
fn metrics() -> String {
    let mut page = heading(
        "Metrics",
        "What `GET /metrics` on the HTTP listener tells, in Prometheus' text format. Numbers of a catalog begin anew when it is \
         attached or altered, all others when the server starts. A histogram has the series `_bucket`, `_sum` and `_count`.",
    );
    let rows = metrics::FAMILIES.iter().map(|family| {
        let labels = family.labels.iter().map(|label| code(label)).collect::<Vec<_>>().join(", ");
        [code(family.name), family.kind.as_str().to_string(), labels, family.doc.to_string()]
    });
    page.push_str(&table(["metric", "type", "labels", "meaning"], rows));
    page
}

/// The variants of the one enum of statements, each with its comment.
fn sql(functions: &[String]) -> String {
    let mut page = heading(
        "SQL",
        "PostgreSQL-flavoured SQL as DataFusion speaks it, and the statements that only Polder has. Names are folded to \
         lower case unless quoted with `\"`; a table is `catalog.schema.table`.",
    );
    let source = include_str!("sql/statement.rs");
    let body =
        source.split_once("enum Statement {").map_or("", |(_, rest)| rest.split("\n}").next().unwrap_or_default());
    let rows = documented(body, "    ").into_iter().map(|(doc, _)| {
        let end = doc.rfind('`').map_or(0, |at| at + 1);
        let (syntax, rest) = doc.split_at(end);
        [syntax.to_string(), rest.trim_matches([':', '.', ' ']).to_string()]
    });
    page.push_str(&table(["statement", "note"], rows));
    page.push_str(
        "\n## Options of CREATE TABLE\n\nOf a table of Polder's own. A catalog's connector has options of its own.\n",
    );
    page.push_str(&option_table("option", execute::TABLE_OPTIONS));
    page.push_str("\n## Options of CREATE TOPIC\n");
    page.push_str(&option_table("option", execute::TOPIC_OPTIONS));
    page.push_str("\n## Options of COPY\n");
    page.push_str(&option_table("option", execute::COPY_OPTIONS));
    page.push_str("\n## Table functions\n\n`query('catalog', 'text')` hands a text to a source that has a language of its own, untouched, and reads what it answers. `'folder/*.parquet'` in place of a table reads local files, in the command line only.\n");
    page.push_str("\n## Functions\n\n");
    let _ = writeln!(page, "{}", functions.iter().map(|name| code(name)).collect::<Vec<_>>().join(", "));
    page
}

/// Items that begin with `prefix` after a documentation comment: the comment on one line, and the item's line.
fn documented(source: &str, prefix: &str) -> Vec<(String, String)> {
    let mut items = Vec::new();
    let mut doc = Vec::new();
    for line in source.lines() {
        if let Some(text) = line.trim_start().strip_prefix("/// ") {
            doc.push(text);
        } else {
            if line.starts_with(prefix) && !doc.is_empty() {
                items.push((doc.join(" "), line.trim().to_string()));
            }
            doc.clear();
        }
    }
    items
}

fn heading(title: &str, text: &str) -> String {
    format!(
        "# {title}\n\n<!-- Written by the tests from the code: POLDER_UPDATE=1 scripts/test --test sql reference -->\n\n{text}\n"
    )
}

fn table<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut text = format!("\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(N));
    for row in rows {
        let cells = row.map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn code(text: &str) -> String {
    if text.contains('`') { text.to_string() } else { format!("`{text}`") }
}
