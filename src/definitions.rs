//! What the user has defined: catalogs, named queries, topics, and the tables that the log writes elsewhere.
//!
//! ```text
//! DATA/lock               held while an engine has the directory open
//! DATA/log/main           every change of a definition, an entry of the log
//! DATA/definitions.json   everything as of an entry of main: a checkpoint, which may lag and can be made again
//! ```
//!
//! **Invariant**: this module alone knows how definitions are kept. A directory of format 1 had them in the file alone; they
//! become entries when it is first opened.

mod change;
mod store;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use change::{Change, changes_of, definitions_in, entry_of};
pub(crate) use store::DefinitionStore;
pub(crate) use table::{
    StoredCheck, StoredColumn, StoredIndex, StoredReference, StoredSharding, TableDefinition, dataset_id,
};

use crate::sql;
use crate::sql::{ProcedureDefinition, ViewDefinition};
use polder_catalog::TableName;
use polder_log::TopicDefinition;
use std::collections::BTreeMap;

/// The name of Polder's own catalog.
pub(crate) const POLDER: &str = "polder";

/// Everything that is defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Definitions {
    pub(crate) catalogs: BTreeMap<String, CatalogDefinition>,
    /// Named queries of `polder.public`.
    pub(crate) views: BTreeMap<String, ViewDefinition>,
    /// Procedures of `polder.public`.
    pub(crate) procedures: BTreeMap<String, ProcedureDefinition>,
    /// Topics of `polder.public`.
    pub(crate) topics: BTreeMap<String, TopicDefinition>,
    /// Tables of other catalogs.
    pub(crate) tables: BTreeMap<TableName, TableDefinition>,
    /// The greatest id that a dataset ever had: ids are never reused.
    pub(crate) last_dataset: u64,
}

/// `CREATE CATALOG`, without the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogDefinition {
    pub(crate) connector: String,
    /// As given. Secrets are references here, so this may be stored.
    pub(crate) options: Vec<(String, String)>,
}

impl CatalogDefinition {
    /// The statement that makes this catalog.
    pub(crate) fn statement(&self, name: &str) -> String {
        let head = format!("CREATE CATALOG {} USING {}", sql::identifier(name), sql::identifier(&self.connector));
        if self.options.is_empty() {
            return head;
        }
        let option = |(name, value): &(String, String)| format!("{} = {}", sql::identifier(name), sql::literal(value));
        format!("{head} WITH ({})", self.options.iter().map(option).collect::<Vec<_>>().join(", "))
    }
}

fn view_statement(name: &str, view: &ViewDefinition) -> String {
    let columns = match &view.columns[..] {
        [] => String::new(),
        names => format!(" ({})", names.iter().map(|name| sql::identifier(name)).collect::<Vec<_>>().join(", ")),
    };
    format!("CREATE VIEW {}{columns} AS {}", sql::identifier(name), view.text)
}

fn procedure_statement(name: &str, procedure: &ProcedureDefinition) -> String {
    let parameter = |(name, of): &(String, String)| format!("{} {of}", sql::identifier(name));
    let parameters: Vec<_> = procedure.parameters.iter().map(parameter).collect();
    // A tag that the text does not have.
    let tag = (0..).map(|at| format!("$p{at}$")).find(|tag| !procedure.body.contains(tag.as_str()));
    let tag = tag.unwrap_or_default();
    let body = &procedure.body;
    format!("CREATE PROCEDURE {} ({}) AS {tag}{body}{tag}", sql::identifier(name), parameters.join(", "))
}
