//! Changes of definitions, as entries hold them: JSON, one record, with a format version.

use crate::commit::{Commit, Committed, log_error};
use crate::definitions::{
    CatalogDefinition, Definitions, POLDER, TableDefinition, dataset_id, procedure_statement, view_statement,
};
use crate::sql;
use polder_catalog::{CatalogName, Definition, Error, TableName};
use polder_log::store::{Encoding, Entry, EntryKind, NewEntry, Offset};
use polder_log::{TopicDefinition, store};
use polder_rows::Proposal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The dataset whose records are changes of definitions.
const DEFINITIONS: u64 = 0;

/// The format that this version writes. A newer one is refused.
const FORMAT: u32 = 1;

/// One thing defined, altered or dropped. Statements stand as the user would write them; what has ids, with its ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(crate) enum Change {
    /// A catalog, a named query or a procedure, new or in place of the one of its name.
    Define {
        statement: String,
    },
    DropCatalog {
        name: String,
    },
    DropView {
        name: String,
    },
    DropProcedure {
        name: String,
    },
    CreateTopic {
        topic: TopicDefinition,
    },
    AlterTopic {
        topic: TopicDefinition,
    },
    DropTopic {
        id: u64,
        name: String,
    },
    CreateTable {
        table: TableDefinition,
    },
    /// The table of the same id is now as described; it may have another name.
    AlterTable {
        table: TableDefinition,
    },
    DropTable {
        id: u64,
        catalog: String,
        schema: String,
        name: String,
    },
}

impl Change {
    /// A table of Polder's own goes, whatever it was called.
    pub(crate) fn forget(id: u64) -> Self {
        Self::DropTable { id, catalog: POLDER.to_string(), schema: String::new(), name: String::new() }
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    changes: Vec<Change>,
}

/// An entry with these changes; rows may be added to it.
pub(crate) fn entry_of(entry: &mut NewEntry, changes: &[Change]) -> store::Result<()> {
    let record = Record { format: FORMAT, changes: changes.to_vec() };
    entry.add_bytes(DEFINITIONS, &serde_json::to_vec(&record).expect("definitions serialize"))
}

/// Appends changes of definitions, in one entry.
pub(crate) async fn define(commit: &Commit, changes: &[Change]) -> polder_catalog::Result<Offset> {
    let mut entry = commit.new_entry(EntryKind::DEFINITION).await?;
    entry_of(&mut entry, changes).map_err(log_error)?;
    // This is how directories of the first format come into the log, and those had no tables.
    match commit.commit(entry, Proposal::default(), None).await? {
        Committed::Now(end) => Ok(end),
        Committed::Before(_) => Err(Error::report("a definition was taken for a request")),
    }
}

/// The changes in an entry of `main`: they are its first part, if it has any.
///
/// # Errors
/// In words, if they cannot be read.
pub(crate) fn changes_of(entry: &Entry) -> Result<Vec<Change>, String> {
    if entry.header().kind != EntryKind::DEFINITION {
        return Ok(Vec::new());
    }
    let Some(part) = entry.parts().next() else { return Ok(Vec::new()) };
    let part = part.map_err(|error| error.to_string())?;
    if part.id.dataset != DEFINITIONS || part.encoding != Encoding::BYTES {
        return Ok(Vec::new());
    }
    read(&part.payload)
}

fn read(json: &[u8]) -> Result<Vec<Change>, String> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let Head { format } = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if format > FORMAT {
        return Err(format!("its definitions have format {format}, this version of Polder reads up to {FORMAT}"));
    }
    let record: Record = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    Ok(record.changes)
}

/// What the changes define in a catalog.
pub(crate) fn definitions_in(changes: &[Change], catalog: &CatalogName) -> Vec<Definition> {
    let catalog = catalog.as_str();
    let definition = |change: &Change| match change {
        Change::CreateTable { table } if table.catalog == catalog => Some(Definition::Create(table.for_source())),
        Change::AlterTable { table } if table.catalog == catalog => Some(Definition::Alter(table.for_source())),
        Change::DropTable { id, catalog: of, .. } if of == catalog => Some(Definition::Drop(dataset_id(*id))),
        _ => None,
    };
    changes.iter().filter_map(definition).collect()
}

impl Definitions {
    /// What makes `new` of these definitions: first what goes, then what comes, in the order in which one stands on another.
    pub(crate) fn changes_to(&self, new: &Self) -> Vec<Change> {
        let gone_views = gone(&self.views, &new.views).map(|(name, _)| Change::DropView { name: name.clone() });
        let gone_procedures =
            gone(&self.procedures, &new.procedures).map(|(name, _)| Change::DropProcedure { name: name.clone() });
        let kept: Vec<u64> = new.tables.values().map(|table| table.id).collect();
        let gone_tables = self.tables.iter().filter(|(_, table)| !kept.contains(&table.id));
        let gone_tables = gone_tables.map(|(name, table)| Change::DropTable {
            id: table.id,
            catalog: name.catalog.to_string(),
            schema: name.schema.clone(),
            name: name.table.clone(),
        });
        let gone_topics =
            gone(&self.topics, &new.topics).map(|(name, topic)| Change::DropTopic { id: topic.id, name: name.clone() });
        let gone_catalogs =
            gone(&self.catalogs, &new.catalogs).map(|(name, _)| Change::DropCatalog { name: name.clone() });
        let catalogs = changed(&self.catalogs, &new.catalogs)
            .map(|(name, catalog)| Change::Define { statement: catalog.statement(name) });
        let topics = changed(&self.topics, &new.topics).map(|(_, topic)| match self.topics.get(&topic.name) {
            Some(old) if old.id == topic.id => Change::AlterTopic { topic: topic.clone() },
            _ => Change::CreateTopic { topic: topic.clone() },
        });
        let tables = changed(&self.tables, &new.tables).map(|(_, table)| {
            match self.tables.values().any(|old| old.id == table.id) {
                true => Change::AlterTable { table: table.clone() },
                false => Change::CreateTable { table: table.clone() },
            }
        });
        let views = changed(&self.views, &new.views)
            .map(|(name, view)| Change::Define { statement: view_statement(name, view) });
        let procedures = changed(&self.procedures, &new.procedures)
            .map(|(name, procedure)| Change::Define { statement: procedure_statement(name, procedure) });
        let going = gone_views.chain(gone_procedures).chain(gone_tables).chain(gone_topics).chain(gone_catalogs);
        going.chain(catalogs).chain(topics).chain(tables).chain(views).chain(procedures).collect()
    }

    /// Applies a change.
    ///
    /// # Errors
    /// In words, if it is none that this version knows.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), String> {
        match change {
            Change::Define { statement } => self.define(&statement)?,
            Change::DropCatalog { name } => drop(self.catalogs.remove(&name)),
            Change::DropView { name } => drop(self.views.remove(&name)),
            Change::DropProcedure { name } => drop(self.procedures.remove(&name)),
            Change::CreateTopic { topic } | Change::AlterTopic { topic } => {
                self.last_dataset = self.last_dataset.max(topic.id);
                self.topics.retain(|_, known| known.id != topic.id);
                self.topics.insert(topic.name.clone(), topic);
            }
            Change::DropTopic { id, .. } => self.topics.retain(|_, known| known.id != id),
            Change::CreateTable { table } | Change::AlterTable { table } => {
                self.last_dataset = self.last_dataset.max(table.id);
                self.tables.retain(|_, known| known.id != table.id);
                self.tables.insert(table.full_name(), table);
            }
            Change::DropTable { id, .. } => self.tables.retain(|_, known| known.id != id),
        }
        Ok(())
    }

    /// A catalog, a view or a procedure, by its statement.
    fn define(&mut self, statement: &str) -> Result<(), String> {
        match sql::parse(statement).map_err(|error| format!("{error} in: {statement}"))? {
            sql::Statement::CreateCatalog { name, connector, options, .. } => {
                self.catalogs.insert(name, CatalogDefinition { connector, options });
                Ok(())
            }
            sql::Statement::CreateView { name, definition, .. } => {
                let name = name.0.into_iter().next_back().ok_or("a view without a name")?;
                self.views.insert(name, definition);
                Ok(())
            }
            sql::Statement::CreateProcedure { name, definition, .. } => {
                let name = name.0.into_iter().next_back().ok_or("a procedure without a name")?;
                self.procedures.insert(name, definition);
                Ok(())
            }
            _ => Err(format!("not a definition: {statement}")),
        }
    }
}

impl TableDefinition {
    /// The full name.
    pub(crate) fn full_name(&self) -> TableName {
        let catalog = CatalogName::new(self.catalog.as_str());
        TableName { catalog, schema: self.schema.clone(), table: self.name.clone() }
    }
}

fn gone<'a, K: Ord, V>(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>) -> impl Iterator<Item = (&'a K, &'a V)> {
    old.iter().filter(|(name, _)| !new.contains_key(name))
}

fn changed<'a, K: Ord, V: PartialEq>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    new.iter().filter(|(name, value)| old.get(name) != Some(value))
}
