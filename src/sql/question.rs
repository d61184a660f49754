//! Question marks as parameters, which is how JDBC and ODBC write them.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use std::borrow::Cow;
use std::collections::HashSet;

/// The text with `$1`, `$2` in place of question marks, in order. One that numbers its parameters itself, or that cannot be
/// taken apart, is left as it is.
pub(crate) fn numbered(sql: &str) -> Cow<'_, str> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().unwrap_or_default();
    if tokens.iter().any(|token| matches!(&token.token, Token::Placeholder(name) if name.starts_with('$'))) {
        return Cow::Borrowed(sql);
    }
    let marks = tokens.iter().filter(|token| token.token == Token::Question);
    let marks: HashSet<_> = marks.map(|token| (token.span.start.line, token.span.start.column)).collect();
    if marks.is_empty() {
        return Cow::Borrowed(sql);
    }
    let (mut place, mut number, mut text) = ((1, 1), 0, String::with_capacity(sql.len() + marks.len()));
    for letter in sql.chars() {
        if marks.contains(&place) {
            number += 1;
            text.push_str(&format!("${number}"));
        } else {
            text.push(letter);
        }
        place = if letter == '\n' { (place.0 + 1, 1) } else { (place.0, place.1 + 1) };
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn question_marks_are_numbered_where_they_are_parameters() {
        let cases = [
            ("SELECT ?", "SELECT $1"),
            (
                "INSERT INTO t VALUES (?, '?', ?)\n-- ?\n, (?, \"?\", $$?$$)",
                "INSERT INTO t VALUES ($1, '?', $2)\n-- ?\n, ($3, \"?\", $$?$$)",
            ),
            ("SELECT 'é''?' || ? /* ? */", "SELECT 'é''?' || $1 /* ? */"),
            ("SELECT ?, $1", "SELECT ?, $1"),
            ("SELECT '", "SELECT '"),
        ];
        for (sql, want) in cases {
            assert_eq!(numbered(sql), want);
        }
    }
}
