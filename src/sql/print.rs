//! Identifiers and literals as SQL text, for the statements that definitions are kept as.

/// Always quoted, so that it reads back as it is.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A standard string literal: only the quote is special.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
