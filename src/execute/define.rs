//! DDL: catalogs and named queries. A change is durable before it is visible.

use crate::catalogs::{Attached, Catalogs, Origin, POLDER, PUBLIC, SYSTEM, place};
use crate::commit::log_error;
use crate::definitions::{CatalogDefinition, entry_of};
use crate::engine::Inner;
use crate::execute::query;
use crate::execute::resolve::{Resolver, Target};
use crate::plan::{self, Planner};
use crate::session::{Outcome, Session};
use crate::sql::{self, IfExists, Name, Statement, ViewDefinition};
use polder_catalog::{Error, ReadContext, Result, SqlState};
use polder_log::store::{EntryKind, NewEntry, Offset};

pub(super) async fn create_catalog(
    session: &Session,
    name: String,
    connector: String,
    options: Vec<(String, String)>,
    exists: IfExists,
) -> Result<Outcome> {
    let engine = &session.engine.0;
    let _defining = engine.defining.lock().await;
    let mut catalogs = Catalogs::clone(&engine.catalogs());
    refuse_reserved(&name)?;
    match catalogs.attached.get(&name) {
        None => {}
        Some(_) if exists == IfExists::Keep => return done("CREATE CATALOG"),
        Some(existing) if exists == IfExists::Replace => refuse_declared(&name, existing)?,
        Some(_) => {
            return Err(Error::fix(SqlState::DUPLICATE_CATALOG, format!("catalog \"{name}\" exists already"))
                .with_hint("change it with ALTER CATALOG, or write CREATE OR REPLACE CATALOG"));
        }
    }
    let definition = CatalogDefinition { connector, options };
    let attached = Attached::new(&engine.registry, &name, definition, Origin::Defined).await?;
    let replaced = catalogs.attached.insert(name.clone(), attached);
    publish(engine, catalogs).await?;
    close(replaced, &name).await;
    done("CREATE CATALOG")
}

/// Changes some options; the others, and whatever stands on the catalog, stay.
pub(super) async fn alter_catalog(session: &Session, name: String, options: Vec<(String, String)>) -> Result<Outcome> {
    let engine = &session.engine.0;
    let _defining = engine.defining.lock().await;
    let mut catalogs = Catalogs::clone(&engine.catalogs());
    let existing = catalogs.get(&name)?;
    refuse_declared(&name, existing)?;
    let mut definition = existing.definition.clone();
    for (option, value) in options {
        definition.options.retain(|(known, _)| *known != option);
        definition.options.push((option, value));
    }
    let attached = Attached::new(&engine.registry, &name, definition, Origin::Defined).await?;
    let replaced = catalogs.attached.insert(name.clone(), attached);
    publish(engine, catalogs).await?;
    close(replaced, &name).await;
    done("ALTER CATALOG")
}

pub(super) async fn drop_catalog(session: &Session, name: String, if_exists: bool, cascade: bool) -> Result<Outcome> {
    let engine = &session.engine.0;
    let _defining = engine.defining.lock().await;
    let mut catalogs = Catalogs::clone(&engine.catalogs());
    if if_exists && !catalogs.attached.contains_key(&name) {
        return done("DROP CATALOG");
    }
    refuse_declared(&name, catalogs.get(&name)?)?;
    let context = query::context(session);
    let stands_on = |target: &Target| matches!(target, Target::Dataset(table) if table.catalog.as_str() == name);
    drop_dependents(engine, &mut catalogs, &context, &place(&name), cascade, stands_on)?;
    drop_tables(&mut catalogs, &name, cascade)?;
    let dropped = catalogs.attached.remove(&name);
    if let Some(end) = publish(engine, catalogs).await? {
        // The store drops its tables before it is let go.
        engine.followers.reached(&name, end, &context).await?;
    }
    engine.followers.stop(&name);
    close(dropped, &name).await;
    done("DROP CATALOG")
}

/// A view is planned before it is kept, so that a mistake in it is found now.
pub(super) async fn create_view(
    session: &Session,
    name: Name,
    definition: ViewDefinition,
    exists: IfExists,
) -> Result<Outcome> {
    let engine = &session.engine.0;
    let _defining = engine.defining.lock().await;
    let mut catalogs = Catalogs::clone(&engine.catalogs());
    let name = view_name(name)?;
    if catalogs.topics.contains_key(&name) {
        return Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("topic \"{name}\" exists already")));
    }
    if catalogs.views.contains_key(&name) {
        match exists {
            IfExists::Keep => return done("CREATE VIEW"),
            IfExists::Replace => {}
            IfExists::Refuse => {
                return Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("view \"{name}\" exists already"))
                    .with_hint("write CREATE OR REPLACE VIEW"));
            }
        }
    }
    catalogs.views.insert(name.clone(), definition.clone());
    let context = query::context(session);
    let resolver = Resolver::new(engine, &catalogs, &context);
    let Statement::Query(query) = sql::parse(&definition.text)? else {
        return Err(Error::fix(SqlState::SYNTAX, "a view is made of a query"));
    };
    let tables = resolver.query(&query).await?;
    let plan = Planner::new(engine, &context).logical(&query, &tables).await?;
    plan::with_column_names(plan, &definition.columns)?;
    publish(engine, catalogs).await?;
    done("CREATE VIEW")
}

pub(super) async fn drop_view(session: &Session, name: Name, if_exists: bool, cascade: bool) -> Result<Outcome> {
    let engine = &session.engine.0;
    let _defining = engine.defining.lock().await;
    let mut catalogs = Catalogs::clone(&engine.catalogs());
    let name = view_name(name)?;
    if !catalogs.views.contains_key(&name) {
        let missing = Error::fix(SqlState::NO_TABLE, format!("view \"{name}\" does not exist"));
        return if if_exists { done("DROP VIEW") } else { Err(missing) };
    }
    let context = query::context(session);
    let stands_on = |target: &Target| matches!(target, Target::View(view) if *view == name);
    drop_dependents(engine, &mut catalogs, &context, &format!("view \"{name}\""), cascade, stands_on)?;
    catalogs.views.remove(&name);
    publish(engine, catalogs).await?;
    done("DROP VIEW")
}

pub(super) fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Done(tag.to_string()))
}

/// Makes definitions durable, as an entry of the log, then visible.
pub(super) async fn publish(engine: &Inner, catalogs: Catalogs) -> Result<Option<Offset>> {
    let changes = engine.catalogs().definitions().changes_to(&catalogs.definitions());
    if changes.is_empty() {
        engine.replace_catalogs(catalogs);
        return Ok(None);
    }
    let mut entry = engine.commit.new_entry(EntryKind::DEFINITION).await?;
    entry_of(&mut entry, &changes).map_err(log_error)?;
    publish_entry(engine, catalogs, entry).await.map(Some)
}

/// The same with an entry that says it already, and more.
pub(super) async fn publish_entry(engine: &Inner, catalogs: Catalogs, entry: NewEntry) -> Result<Offset> {
    let end = Box::pin(engine.commit.commit(entry)).await?;
    let definitions = catalogs.definitions();
    engine.replace_catalogs(catalogs);
    Box::pin(engine.follow()).await?;
    engine.store.save(&definitions, &engine.commit).await?;
    Ok(end)
}

/// Statements that still run keep their own reference to the source.
async fn close(replaced: Option<Attached>, name: &str) {
    if let Some(Ok(source)) = replaced.as_ref().map(|attached| attached.source(name)) {
        source.close().await;
    }
}

/// Tables that were created in a catalog go with it, if that is what CASCADE says.
fn drop_tables(catalogs: &mut Catalogs, catalog: &str, cascade: bool) -> Result<()> {
    let tables: Vec<_> = catalogs.tables.keys().filter(|name| name.catalog.as_str() == catalog).cloned().collect();
    if !tables.is_empty() && !cascade {
        let names: Vec<_> = tables.iter().map(ToString::to_string).collect();
        return Err(Error::fix(
            SqlState::DEPENDENTS,
            format!("catalog \"{catalog}\" cannot be dropped, because it has tables"),
        )
        .with_detail(format!("tables: {}", names.join(", ")))
        .with_hint("drop them first, or write CASCADE, which deletes their rows"));
    }
    catalogs.tables.retain(|name, _| name.catalog.as_str() != catalog);
    Ok(())
}

fn refuse_reserved(name: &str) -> Result<()> {
    if [POLDER, PUBLIC, SYSTEM].contains(&name) {
        return Err(Error::fix(SqlState::DUPLICATE_CATALOG, format!("\"{name}\" is a name of Polder's own"))
            .with_hint("choose another name"));
    }
    Ok(())
}

fn refuse_declared(name: &str, attached: &Attached) -> Result<()> {
    match attached.origin {
        Origin::Defined => Ok(()),
        Origin::Declared => {
            Err(Error::fix(SqlState::STATE, format!("catalog \"{name}\" is declared in the configuration file"))
                .with_hint("change it there"))
        }
    }
}

/// Named queries live in `polder.public`.
fn view_name(name: Name) -> Result<String> {
    let parts: Vec<_> = name.0.iter().map(String::as_str).collect();
    match parts[..] {
        [view] | [PUBLIC, view] | [POLDER, PUBLIC, view] => Ok(view.to_string()),
        _ => Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("a view cannot be made in \"{}\"", parts[..parts.len() - 1].join(".")),
        )
        .with_hint(format!("views live in {POLDER}.{PUBLIC}"))),
    }
}

/// Removes the views that stand on what is dropped, and those that stand on them; without CASCADE they keep it.
pub(super) fn drop_dependents(
    engine: &Inner,
    catalogs: &mut Catalogs,
    context: &ReadContext,
    dropped: &str,
    cascade: bool,
    stands_on: impl Fn(&Target) -> bool,
) -> Result<()> {
    let mut dependents: Vec<String> = Vec::new();
    loop {
        let found = catalogs.views.iter().find(|(name, view)| {
            let stands = |target: Target| {
                stands_on(&target) || matches!(&target, Target::View(view) if dependents.contains(view))
            };
            !dependents.contains(name) && targets(engine, catalogs, context, view).into_iter().any(stands)
        });
        match found {
            Some((name, _)) => dependents.push(name.clone()),
            None => break,
        }
    }
    if !dependents.is_empty() && !cascade {
        return Err(Error::fix(
            SqlState::DEPENDENTS,
            format!("{dropped} cannot be dropped, because views stand on it"),
        )
        .with_detail(format!("views: {}", dependents.join(", ")))
        .with_hint("drop them first, or write CASCADE"));
    }
    catalogs.views.retain(|name, _| !dependents.contains(name));
    Ok(())
}

fn targets(engine: &Inner, catalogs: &Catalogs, context: &ReadContext, view: &ViewDefinition) -> Vec<Target> {
    let Ok(Statement::Query(query)) = sql::parse(&view.text) else { return Vec::new() };
    let Ok(names) = plan::names(&query) else { return Vec::new() };
    let resolver = Resolver::new(engine, catalogs, context);
    let tables = names.tables.iter().filter_map(|(reference, quoted)| resolver.target(reference, *quoted).ok());
    let calls = names.calls.iter().map(|call| Target::of_call(&call.catalog));
    tables.chain(calls).collect()
}
