//! CREATE INDEX and DROP INDEX: part of the definition of their table, with names that share one space.

use crate::commit::position;
use crate::definitions::{StoredIndex, TableDefinition};
use crate::execute::define::done;
use crate::execute::publish::Defining;
use crate::execute::query;
use crate::execute::table::{defined_table, missing, place};
use crate::session::{Outcome, Session};
use crate::sql::{IfExists, Name};
use polder_catalog::{Error, Result, SqlState};
use polder_log::store::MAIN;

/// `CREATE INDEX name ON table (columns)`.
pub(super) async fn create(
    session: &Session,
    name: String,
    table: Name,
    columns: Vec<String>,
    exists: IfExists,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let mut defining = Defining::begin(session, &context).await?;
    let table = defined_table(defining.engine(), &defining.catalogs, &context, &table)?;
    if find(defining.catalogs.tables.values(), &name).is_some() {
        return match exists {
            IfExists::Keep => done("CREATE INDEX"),
            _ => Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("index \"{name}\" exists already"))),
        };
    }
    let mut definition = defining.catalogs.tables.remove(&table).ok_or_else(|| missing(&table))?;
    if !definition.is_own() {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, format!("table {table} cannot have an index"))
            .with_hint("indexes are on tables of Polder's own"));
    }
    let id = |column: &String| place(&definition, column).map(|at| definition.columns[at].id);
    let columns = columns.iter().map(id).collect::<Result<Vec<_>>>()?;
    definition.indexes.push(StoredIndex { name, columns });
    alter(session, defining, definition).await?;
    done("CREATE INDEX")
}

/// `DROP INDEX name`.
pub(super) async fn drop(session: &Session, name: &str, if_exists: bool) -> Result<Outcome> {
    let context = query::context(session);
    let defining = Defining::begin(session, &context).await?;
    let Some(mut definition) = find(defining.catalogs.tables.values(), name).cloned() else {
        return match if_exists {
            true => done("DROP INDEX"),
            false => Err(Error::fix(SqlState::NO_OBJECT, format!("index \"{name}\" does not exist"))),
        };
    };
    definition.indexes.retain(|index| index.name != name);
    alter(session, defining, definition).await?;
    done("DROP INDEX")
}

/// The table that has an index.
fn find<'a>(mut tables: impl Iterator<Item = &'a TableDefinition>, index: &str) -> Option<&'a TableDefinition> {
    tables.find(|table| table.indexes.iter().any(|known| known.name == index))
}

async fn alter(session: &Session, mut defining: Defining, definition: TableDefinition) -> Result<()> {
    let name = definition.full_name();
    let own = defining.catalogs.get(name.catalog.as_str())?.source(name.catalog.as_str())?;
    if let Some(writer) = own.writer() {
        writer.check_definition(&definition.for_source())?;
    }
    defining.catalogs.tables.insert(name, definition);
    if let Some(end) = defining.publish().await? {
        session.reached(&position([(MAIN.to_string(), end)]));
    }
    Ok(())
}
