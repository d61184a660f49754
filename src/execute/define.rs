//! DDL: catalogs and named queries. A change is durable before it is visible.

use crate::catalogs::{Attached, Catalogs, Origin, POLDER, PUBLIC, SYSTEM, place};
use crate::definitions::CatalogDefinition;
use crate::engine::Inner;
use crate::execute::publish::Defining;
use crate::execute::query;
use crate::execute::resolve::{Resolver, Target};
use crate::execute::table::taken;
use crate::plan::{self, Planner};
use crate::session::{Outcome, Session};
use crate::sql::{self, IfExists, Name, Statement, ViewDefinition};
use polder_catalog::{Error, Options, ReadContext, Result, SqlState};
use polder_log::store::Offset;
use tokio::sync::OwnedMutexGuard;

pub(super) async fn create_catalog(
    session: &Session,
    name: String,
    connector: String,
    options: Vec<(String, String)>,
    exists: IfExists,
) -> Result<Outcome> {
    refuse_reserved(&name)?;
    let context = query::context(session);
    let turn = Turn::of(session, &name, &context).await?;
    let mut defining = Defining::begin(session, &context).await?;
    match defining.catalogs.attached.get(&name) {
        None => {}
        Some(_) if exists == IfExists::Keep => return done("CREATE CATALOG"),
        Some(existing) if exists == IfExists::Replace => refuse_declared(&name, existing)?,
        Some(_) => {
            return Err(Error::fix(SqlState::DUPLICATE_CATALOG, format!("catalog \"{name}\" exists already"))
                .with_hint("change it with ALTER CATALOG, or write CREATE OR REPLACE CATALOG"));
        }
    }
    attach(&mut defining, &name, CatalogDefinition { connector, options }).await?.publish(defining, turn).await?;
    done("CREATE CATALOG")
}

/// Changes some options; the others, and whatever stands on the catalog, stay.
pub(super) async fn alter_catalog(session: &Session, name: String, options: Vec<(String, String)>) -> Result<Outcome> {
    let context = query::context(session);
    let turn = Turn::of(session, &name, &context).await?;
    let mut defining = Defining::begin(session, &context).await?;
    let existing = defining.catalogs.get(&name)?;
    refuse_declared(&name, existing)?;
    let mut definition = existing.definition.clone();
    for (option, value) in options {
        definition.options.retain(|(known, _)| *known != option);
        definition.options.push((option, value));
    }
    attach(&mut defining, &name, definition).await?.publish(defining, turn).await?;
    done("ALTER CATALOG")
}

/// The turn to write a catalog, whose source is about to be another one. A store that is stalled must not keep anybody from
/// mending it, so nothing is asked of it.
struct Turn(#[expect(dead_code, reason = "held until the new source has taken over")] OwnedMutexGuard<()>);

impl Turn {
    async fn of(session: &Session, catalog: &str, context: &ReadContext) -> Result<Self> {
        session.engine.0.turns.take(catalog, context).await.map(Self)
    }
}

/// A source that another one takes the place of.
struct Replaced {
    name: String,
    old: Option<Attached>,
}

/// Attaches a catalog in the copy that is being changed.
async fn attach(defining: &mut Defining, name: &str, definition: CatalogDefinition) -> Result<Replaced> {
    check_reach(defining.engine(), &definition).map_err(|error| error.at(place(name)))?;
    let attached = Attached::new(&defining.engine().registry, name, definition, Origin::Defined).await?;
    let has_tables = defining.catalogs.tables.keys().any(|table| table.catalog.as_str() == name);
    if has_tables && attached.source(name)?.writer().is_none() {
        return Err(Error::fix(SqlState::DEPENDENTS, format!("catalog \"{name}\" has tables that follow the log"))
            .with_detail(format!("a catalog USING {} is not written by Polder", attached.definition.connector))
            .with_hint("drop the tables first"));
    }
    let old = defining.catalogs.attached.insert(name.to_string(), attached);
    Ok(Replaced { name: name.to_string(), old })
}

/// # Errors
/// 42501 if it leads where it must not.
fn check_reach(engine: &Inner, definition: &CatalogDefinition) -> Result<()> {
    let connector = engine.registry.connector(&definition.connector)?;
    let options = Options::validate(connector.options(), definition.options.iter().cloned())?;
    connector.reaches(&options)?.iter().try_for_each(|reach| engine.locations.check(reach))
}

impl Replaced {
    /// Publishes, and lets the old source go once nobody writes through it any more.
    async fn publish(self, defining: Defining, turn: Turn) -> Result<()> {
        defining.publish().await?;
        close(self.old, &self.name).await;
        drop(turn);
        Ok(())
    }
}

/// Tables of the catalog go first, while there is a store that can be told.
pub(super) async fn drop_catalog(session: &Session, name: String, if_exists: bool, cascade: bool) -> Result<Outcome> {
    let engine = &session.engine.0;
    let context = query::context(session);
    let _turn = Turn::of(session, &name, &context).await?;
    let mut defining = Defining::begin(session, &context).await?;
    if if_exists && !defining.catalogs.attached.contains_key(&name) {
        return done("DROP CATALOG");
    }
    refuse_declared(&name, defining.catalogs.get(&name)?)?;
    drop_dependents_of_catalog(&mut defining, &context, &name, cascade)?;
    if drop_tables(&mut defining.catalogs, &name, cascade)? {
        let end = defining.publish().await?;
        hear_of_drops(engine, &name, end, &context).await?;
        defining = Defining::begin(session, &context).await?;
        drop_dependents_of_catalog(&mut defining, &context, &name, cascade)?;
    }
    let dropped = defining.catalogs.attached.remove(&name);
    defining.publish().await?;
    close(dropped, &name).await;
    done("DROP CATALOG")
}

/// What cannot be told to its store stays there; that must not keep a broken catalog for ever.
async fn hear_of_drops(engine: &Inner, catalog: &str, end: Option<Offset>, context: &ReadContext) -> Result<()> {
    let Some(end) = end else { return Ok(()) };
    if let Err(error) = engine.followers.reached(catalog, end, context).await {
        context.check()?;
        tracing::warn!(%catalog, %error, "the store still holds the tables that were dropped");
    }
    Ok(())
}

fn drop_dependents_of_catalog(defining: &mut Defining, context: &ReadContext, name: &str, cascade: bool) -> Result<()> {
    let stands_on = |target: &Target| matches!(target, Target::Dataset(table) if table.catalog.as_str() == name);
    drop_dependents(defining, context, &place(name), cascade, stands_on)
}

/// A view is planned before it is kept, so that a mistake in it is found now.
pub(super) async fn create_view(
    session: &Session,
    name: Name,
    definition: ViewDefinition,
    exists: IfExists,
) -> Result<Outcome> {
    let context = query::context(session);
    let mut defining = Defining::begin(session, &context).await?;
    let name = view_name(name)?;
    if let Some(what @ ("topic" | "table")) = taken(&defining.catalogs, &name) {
        return Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("{what} \"{name}\" exists already")));
    }
    if defining.catalogs.views.contains_key(&name) {
        match exists {
            IfExists::Keep => return done("CREATE VIEW"),
            IfExists::Replace => {}
            IfExists::Refuse => {
                return Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("view \"{name}\" exists already"))
                    .with_hint("write CREATE OR REPLACE VIEW"));
            }
        }
    }
    defining.catalogs.views.insert(name, definition.clone());
    let resolver = Resolver::new(defining.engine(), &defining.catalogs, &context);
    let Statement::Query(query) = sql::parse(&definition.text)? else {
        return Err(Error::fix(SqlState::SYNTAX, "a view is made of a query"));
    };
    let tables = resolver.query(&query).await?;
    let plan = Planner::new(defining.engine(), &context).logical(&query, &tables).await?;
    plan::with_column_names(plan, &definition.columns)?;
    defining.publish().await?;
    done("CREATE VIEW")
}

pub(super) async fn drop_view(session: &Session, name: Name, if_exists: bool, cascade: bool) -> Result<Outcome> {
    let context = query::context(session);
    let mut defining = Defining::begin(session, &context).await?;
    let name = view_name(name)?;
    if !defining.catalogs.views.contains_key(&name) {
        let missing = Error::fix(SqlState::NO_TABLE, format!("view \"{name}\" does not exist"));
        return if if_exists { done("DROP VIEW") } else { Err(missing) };
    }
    let stands_on = |target: &Target| matches!(target, Target::View(view) if *view == name);
    drop_dependents(&mut defining, &context, &format!("view \"{name}\""), cascade, stands_on)?;
    defining.catalogs.views.remove(&name);
    defining.publish().await?;
    done("DROP VIEW")
}

pub(super) fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Done(tag.to_string()))
}

/// Statements that still run keep their own reference to the source.
async fn close(replaced: Option<Attached>, name: &str) {
    if let Some(Ok(source)) = replaced.as_ref().map(|attached| attached.source(name)) {
        source.close().await;
    }
}

/// Tables that were created in a catalog go with it, if that is what CASCADE says; whether there were any.
fn drop_tables(catalogs: &mut Catalogs, catalog: &str, cascade: bool) -> Result<bool> {
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
    Ok(!tables.is_empty())
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
        Origin::Own => Err(Error::fix(SqlState::STATE, format!("catalog \"{name}\" is Polder's own"))
            .with_hint("it is always there, as it is")),
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
    defining: &mut Defining,
    context: &ReadContext,
    dropped: &str,
    cascade: bool,
    stands_on: impl Fn(&Target) -> bool,
) -> Result<()> {
    let (engine, catalogs) = (defining.engine(), &defining.catalogs);
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
    defining.catalogs.views.retain(|name, _| !dependents.contains(name));
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
