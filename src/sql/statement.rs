//! Everything that can be said to Polder, as a closed enum.

use datafusion::sql::parser::Statement as DataFusionStatement;

/// One statement. Matched without `_`, so that a new one is handled everywhere.
#[derive(Debug)]
pub(crate) enum Statement {
    /// `SELECT`, `VALUES`, `WITH`, `TABLE`: gives rows.
    Query(Query),
    /// `EXPLAIN [ANALYZE] [VERBOSE] query`.
    Explain { query: Query, analyze: bool, verbose: bool },
    /// `CREATE [OR REPLACE] CATALOG [IF NOT EXISTS] name USING connector [WITH (...)]`.
    CreateCatalog { name: String, connector: String, options: Vec<(String, String)>, exists: IfExists },
    /// `ALTER CATALOG name SET (...)`.
    AlterCatalog { name: String, options: Vec<(String, String)> },
    /// `DROP CATALOG [IF EXISTS] name [CASCADE]`.
    DropCatalog { name: String, if_exists: bool, cascade: bool },
    /// `CHECK CATALOG name`.
    CheckCatalog { name: String },
    /// `CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name [(columns)] AS query`.
    CreateView { name: Name, definition: ViewDefinition, exists: IfExists },
    /// `DROP VIEW [IF EXISTS] name [CASCADE]`.
    DropView { name: Name, if_exists: bool, cascade: bool },
    /// `SHOW CATALOGS`.
    ShowCatalogs,
    /// `SHOW SCHEMAS [FROM catalog]`.
    ShowSchemas { catalog: Option<String> },
    /// `SHOW TABLES [FROM catalog[.schema]] [LIKE 'pattern']`.
    ShowTables { catalog: Option<String>, schema: Option<String>, pattern: Option<String> },
    /// `DESCRIBE table`.
    Describe { name: Name },
    /// `SET name = value`.
    Set { name: String, value: String },
    /// `RESET name`.
    Reset { name: String },
    /// `SHOW name` or `SHOW ALL`.
    ShowSetting { name: String },
}

/// What to do if the object exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfExists {
    /// An error.
    Refuse,
    /// `IF NOT EXISTS`: leave it.
    Keep,
    /// `OR REPLACE`.
    Replace,
}

/// A query as parsed.
#[derive(Clone, Debug)]
pub(crate) struct Query(pub(crate) DataFusionStatement);

/// A dotted name of one to three parts, as written: unquoted parts are lower case already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) Vec<String>);

/// What a named query stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ViewDefinition {
    /// Names for the columns, if given.
    pub(crate) columns: Vec<String>,
    /// The query, in the user's own words: a parsed query printed again might not be the same.
    pub(crate) text: String,
}
