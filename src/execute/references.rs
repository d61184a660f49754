//! FOREIGN KEY: what it may refer to, and what stands in the way of altering a table.

use crate::catalogs::Catalogs;
use crate::definitions::{StoredColumn, StoredReference, TableDefinition};
use crate::engine::Inner;
use crate::execute::table::{defined_table, missing, place};
use crate::sql::ReferenceSpec;
use polder_catalog::{Error, ReadContext, Result, SqlState};

/// The foreign keys of a table that is to be.
///
/// # Errors
/// 42830 if the columns referred to are no key, 42804 if the types differ.
pub(super) fn of(
    engine: &Inner,
    catalogs: &Catalogs,
    context: &ReadContext,
    table: &TableDefinition,
    specs: &[ReferenceSpec],
) -> Result<Vec<StoredReference>> {
    specs.iter().map(|spec| reference(engine, catalogs, context, table, spec)).collect()
}

fn reference(
    engine: &Inner,
    catalogs: &Catalogs,
    context: &ReadContext,
    table: &TableDefinition,
    spec: &ReferenceSpec,
) -> Result<StoredReference> {
    // A table may refer to itself, which is not there yet.
    let own = table.full_name();
    let target = match spec.table.0.last().is_some_and(|name| *name == table.name) && spec.table.0.len() == 1 {
        true => table,
        false => {
            let name = defined_table(engine, catalogs, context, &spec.table)?;
            if name == own { table } else { catalogs.tables.get(&name).ok_or_else(|| missing(&name))? }
        }
    };
    if !target.is_own() {
        return Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("a foreign key cannot refer to {}", target.full_name()),
        )
        .with_hint("it refers to tables of Polder's own"));
    }
    let wanted = match spec.key.is_empty() {
        true => target.key.clone(),
        false => spec.key.iter().map(|name| Ok(target.columns[place(target, name)?].id)).collect::<Result<_>>()?,
    };
    let sorted = |ids: &[u32]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    // Rows are found by the columns in the order of the key.
    let key = std::iter::once(&target.key).chain(&target.unique).find(|key| sorted(key) == sorted(&wanted));
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
        let message = format!("the columns that the foreign key refers to are no key of table {}", target.full_name());
        Error::fix(SqlState::NO_KEY, message).with_hint("they need PRIMARY KEY or UNIQUE")
    })?;
    let key = key.clone();
    if spec.columns.len() != key.len() {
        let message = format!("a foreign key of {} columns refers to {}", spec.columns.len(), key.len());
        return Err(Error::fix(SqlState::NO_KEY, message));
    }
    let mut columns = Vec::new();
    for id in &key {
        let at = wanted.iter().position(|wanted| wanted == id).unwrap_or_default();
        let (from, to) = (&table.columns[place(table, &spec.columns[at])?], column(target, *id)?);
        if from.field.data_type() != to.field.data_type() {
            let (from, to) = (&from.field, &to.field);
            let message =
                format!("column \"{}\" is {}, \"{}\" is {}", from.name(), from.data_type(), to.name(), to.data_type());
            return Err(
                Error::fix(SqlState::TYPE, message).with_hint("a foreign key has the types of what it refers to")
            );
        }
        columns.push(from.id);
    }
    let reference = StoredReference { columns, table: target.id, key };
    refuse_apart(table, target, &reference)?;
    Ok(reference)
}

/// A row and what it refers to must be at home in one place, which decides about both.
fn refuse_apart(table: &TableDefinition, target: &TableDefinition, reference: &StoredReference) -> Result<()> {
    let together = match (&table.sharding, &target.sharding) {
        (None, None) => true,
        (Some(own), Some(other)) => {
            let refers = |id: &u32| {
                let at = reference.key.iter().position(|known| known == id)?;
                Some(reference.columns[at])
            };
            let of_target: Vec<_> = other.key.iter().map(refers).collect();
            own.count == other.count
                && own.hash == other.hash
                && of_target == own.key.iter().copied().map(Some).collect::<Vec<_>>()
        }
        _ => false,
    };
    match together {
        true => Ok(()),
        false => Err(Error::fix(SqlState::NOT_SUPPORTED, "a foreign key cannot reach another shard").with_hint(
            "both tables lie in main, or are spread over as many shards by the columns of the foreign key; a procedure can check \
             what is elsewhere",
        )),
    }
}

fn column(table: &TableDefinition, id: u32) -> Result<&StoredColumn> {
    let found = table.columns.iter().find(|column| column.id == id);
    found.ok_or_else(|| Error::report("a key has a column that its table has not"))
}

/// Whether what a table refers to is there now that nobody else defines anything.
pub(super) fn still_hold(catalogs: &Catalogs, table: &TableDefinition) -> Result<()> {
    for reference in table.references.iter().filter(|reference| reference.table != table.id) {
        let target = catalogs.tables.values().find(|known| known.id == reference.table);
        let has_key =
            target.is_some_and(|target| target.key == reference.key || target.unique.contains(&reference.key));
        if !has_key {
            return Err(Error::retry(SqlState::STATE, "what a foreign key refers to was dropped meanwhile"));
        }
    }
    Ok(())
}

/// Refuses to drop a table that others refer to; it is out of the catalogs already.
pub(super) fn refuse_referred(catalogs: &Catalogs, table: &TableDefinition) -> Result<()> {
    let refers = |other: &&TableDefinition| other.references.iter().any(|reference| reference.table == table.id);
    match catalogs.tables.values().find(refers) {
        None => Ok(()),
        Some(other) => Err(Error::fix(
            SqlState::DEPENDENTS,
            format!("table {} cannot be dropped, because {} refers to it", table.full_name(), other.full_name()),
        )),
    }
}

/// Refuses to drop a column that is part of a foreign key, here or in a table that refers to it.
pub(super) fn refuse_column(catalogs: &Catalogs, table: &TableDefinition, name: &str) -> Result<()> {
    let Some(column) = table.columns.iter().find(|column| column.field.name() == name) else { return Ok(()) };
    let own = table.references.iter().any(|reference| reference.columns.contains(&column.id));
    let mut others = catalogs.tables.values().flat_map(|other| &other.references);
    match own || others.any(|reference| reference.table == table.id && reference.key.contains(&column.id)) {
        true => Err(Error::fix(SqlState::DEPENDENTS, format!("column \"{name}\" is part of a foreign key"))),
        false => Ok(()),
    }
}
