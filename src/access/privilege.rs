//! What may be done, and with what.

use polder_catalog::{CatalogName, TableName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that a role may be allowed to do (SQL standard, 4.42; PostgreSQL's documentation, 5.8 "Privileges").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    /// New tables, topics and views in a schema.
    Create,
    /// `CALL` of a procedure.
    Execute,
    /// `query('catalog', '...')`: whatever the catalog's own login may read, in its own language.
    Query,
}

impl Privilege {
    pub(crate) const ALL: [Self; 8] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::Create,
        Self::Execute,
        Self::Query,
    ];

    /// In SQL's words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Create => "CREATE",
            Self::Execute => "EXECUTE",
            Self::Query => "QUERY",
        }
    }

    /// Whether it is about single columns, too.
    pub(crate) fn has_columns(self) -> bool {
        self == Self::Select
    }
}

/// The catalog and schema of all procedures.
const PROCEDURES: (&str, &str) = ("polder", "public");

/// Something that rights are about. Tables are topics and views as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Object {
    Catalog { catalog: String },
    Schema { catalog: String, schema: String },
    Table { catalog: String, schema: String, table: String },
    Procedure { name: String },
}

impl Object {
    pub(crate) fn table(name: &TableName) -> Self {
        Self::Table {
            catalog: name.catalog.as_str().to_string(),
            schema: name.schema.clone(),
            table: name.table.clone(),
        }
    }

    pub(crate) fn schema(catalog: &CatalogName, schema: &str) -> Self {
        Self::Schema { catalog: catalog.as_str().to_string(), schema: schema.to_string() }
    }

    /// Whether a right on it is one on the other.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Catalog { catalog }, other) => other.catalog() == catalog,
            (Self::Schema { catalog, schema }, Self::Table { catalog: of, schema: within, .. }) => {
                catalog == of && schema == within
            }
            (Self::Schema { catalog, schema }, Self::Procedure { .. }) => {
                (catalog.as_str(), schema.as_str()) == PROCEDURES
            }
            (object, other) => object == other,
        }
    }

    fn catalog(&self) -> &str {
        match self {
            Self::Catalog { catalog } | Self::Schema { catalog, .. } | Self::Table { catalog, .. } => catalog,
            Self::Procedure { .. } => PROCEDURES.0,
        }
    }

    /// Whether this can be granted on it.
    pub(crate) fn takes(&self, privilege: Privilege) -> bool {
        match self {
            Self::Catalog { .. } => true,
            Self::Schema { .. } => privilege != Privilege::Query,
            Self::Table { .. } => !matches!(privilege, Privilege::Create | Privilege::Execute | Privilege::Query),
            Self::Procedure { .. } => privilege == Privilege::Execute,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog { catalog } => write!(out, "catalog {catalog}"),
            Self::Schema { catalog, schema } => write!(out, "schema {catalog}.{schema}"),
            Self::Table { catalog, schema, table } => write!(out, "table {catalog}.{schema}.{table}"),
            Self::Procedure { name } => write!(out, "procedure {name}"),
        }
    }
}
