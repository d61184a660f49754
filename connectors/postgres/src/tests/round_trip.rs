//! What the printer writes, the server reads back as it was.

use super::server::{Database, context};
use crate::pushdown::ast::{Expr, From, Item, Literal, Name, Query, Text};
use arrow::array::AsArray;
use datafusion::prelude::SessionContext;
use polder_catalog::Source;
use std::sync::Arc;

/// What ends, escapes, comments or reorders, somewhere.
const CHARACTERS: [char; 14] = ['\'', '"', '\\', '$', ';', '-', '/', '*', '%', '\n', 'é', '🦀', '\u{1}', 'x'];

/// All texts of one to three of these characters, and the empty one.
fn texts() -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut last = texts.clone();
    for _ in 0..3 {
        last = last.iter().flat_map(|text| CHARACTERS.map(|character| format!("{text}{character}"))).collect();
        texts.extend(last.clone());
    }
    texts
}

fn name(text: &str) -> Name {
    Name::new(text).expect("no NUL")
}

/// Selects these values under these names, and gives back both as the server understood them.
async fn selected(source: &Arc<dyn Source>, table: &str, items: &[(String, String)]) -> Vec<(String, String)> {
    let from = From::Table { schema: name("public"), table: name(table), alias: Some(name(table)) };
    let literal = |text: &str| Expr::Literal(Literal::Text(Text::new(text).expect("no NUL")));
    let items = items.iter().map(|(alias, value)| Item { expr: literal(value), alias: Some(name(alias)) });
    let sql = crate::pushdown::print(&Query::new(items.collect(), from));
    let provider = source.pass_through().expect("it has a language").query(&context(), &sql).await;
    let provider = provider.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = SessionContext::new().read_table(provider).expect("a table").collect().await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(rows[0].num_rows(), 1, "{sql}");
    let fields = rows[0].schema_ref().fields().iter().map(|field| field.name().clone());
    fields.zip(rows[0].columns().iter().map(|column| column.as_string::<i32>().value(0).to_string())).collect()
}

// Protects against injection where a unit test cannot: by the server's own lexer, also in a database whose settings
// give backslashes a meaning.
#[tokio::test(flavor = "multi_thread")]
async fn texts_and_names_come_back_as_they_were() {
    let database = Database::create();
    database.psql(&format!(
        "CREATE TABLE one AS SELECT 1 AS n; ALTER DATABASE {0} SET standard_conforming_strings = off;
         ALTER DATABASE {0} SET backslash_quote = on; ALTER DATABASE {0} SET escape_string_warning = off;
         ALTER DATABASE {0} SET quote_all_identifiers = on",
        database.name
    ));
    let source = database.attach(&[]).await;
    let texts = texts();
    for chunk in texts.chunks(400) {
        // No name is empty.
        let items: Vec<_> = chunk.iter().map(|text| (format!("n{text}"), text.clone())).collect();
        assert_eq!(selected(&source, "one", &items).await, items);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_any_name_are_found() {
    let database = Database::create();
    let source = database.attach(&[]).await;
    let hostile =
        ["a\"\"b", "a\\\"; drop table x; --", "\\' OR true --", "a''b", "$$", "-1", "/* x", "Ünï", "🦀", "\n\t"];
    for table in hostile {
        let hex: String = table.bytes().map(|byte| format!("{byte:02x}")).collect();
        let create =
            format!("SELECT format('CREATE TABLE %I AS SELECT 1', convert_from('\\x{hex}', 'UTF8')) \\gexec\n");
        database.psql(&create);
        let items = [(table.to_string(), table.to_string())];
        assert_eq!(selected(&source, table, &items).await, items);
    }
    let listed = source.datasets(&context(), "public").await.expect("listed");
    assert!(hostile.iter().all(|table| listed.iter().any(|entry| entry.name == *table)), "{listed:?}");
}
