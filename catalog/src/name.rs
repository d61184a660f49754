//! Names: what a user calls a catalog and a table.

use std::fmt;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The name of an attached catalog, as written in `CREATE CATALOG name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogName(Arc<str>);

impl CatalogName {
    /// Any text is a name; whether it needs quotes in SQL is the printer's concern.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as given, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CatalogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for CatalogName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A dataset's full name: catalog, schema and table, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The attached catalog.
    pub catalog: CatalogName,
    /// The schema inside the catalog, `public` where a system has none.
    pub schema: String,
    /// The table, view, topic or index.
    pub table: String,
}

impl fmt::Display for TableName {
    /// Prints the name as SQL: a part that is not a plain lower-case identifier is quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_identifier(f, self.catalog.as_str())?;
        f.write_str(".")?;
        write_identifier(f, &self.schema)?;
        f.write_str(".")?;
        write_identifier(f, &self.table)
    }
}

fn write_identifier(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let starts_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_plain = starts_plain && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { f.write_str(name) } else { write!(f, "\"{}\"", name.replace('"', "\"\"")) }
}
