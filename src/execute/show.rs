//! Statements that look: SHOW, DESCRIBE, CHECK CATALOG, and the system tables.

use crate::access::{LOCAL, Object, denied};
use crate::catalogs::{Catalogs, Origin, POLDER, PUBLIC, SYSTEM};
use crate::commit::Ledger;
use crate::definitions::{TableDefinition, dataset_id};
use crate::engine::Inner;
use crate::execute::resolve::{Resolver, reference};
use crate::execute::{access, operation, query};
use crate::follow::Progress;
use crate::home::name_of;
use crate::requests::Told;
use crate::run;
use crate::session::{Outcome, Rows, Session};
use crate::sql::{Argument, Name, ProcedureDefinition, Statement};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::future::join_all;
use polder_catalog::{CheckState, Error, ReadContext, Result, Source, SourceTable, SqlState, TableName, mark};
use polder_log::TopicDefinition;
use polder_log::store::{MAIN, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;

type Line<const N: usize> = [Option<String>; N];

/// A small result of text columns.
pub(super) fn rows<const N: usize>(columns: &[&str; N], lines: impl IntoIterator<Item = Line<N>>) -> Outcome {
    Outcome::Rows(Rows::ready(batch(columns, lines)))
}

fn batch<const N: usize>(columns: &[&str; N], lines: impl IntoIterator<Item = Line<N>>) -> RecordBatch {
    let lines: Vec<_> = lines.into_iter().collect();
    let schema = Schema::new(columns.iter().map(text_field).collect::<Vec<_>>());
    let column =
        |at: usize| -> ArrayRef { Arc::new(lines.iter().map(|line| line[at].as_deref()).collect::<StringArray>()) };
    RecordBatch::try_new(Arc::new(schema), (0..N).map(column).collect())
        .expect("one array per column, all of one length")
}

fn some(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

/// The columns of what a statement of this kind shows; None if it shows nothing.
pub(super) fn columns(statement: &Statement) -> Option<SchemaRef> {
    let setting;
    let names: &[&str] = match statement {
        Statement::ShowCatalogs => &CATALOG_COLUMNS,
        Statement::ShowSchemas { .. } => &SCHEMA_COLUMNS,
        Statement::ShowTables { .. } => &TABLE_COLUMNS,
        Statement::Describe { .. } => &COLUMN_COLUMNS,
        Statement::CheckCatalog { .. } => &CHECK_COLUMNS,
        Statement::ShowPosition => &POSITION_COLUMNS,
        Statement::ShowSetting { name } if name == "all" => &SETTING_COLUMNS,
        Statement::ShowSetting { name } => {
            setting = [name.as_str()];
            &setting
        }
        Statement::Explain { .. } => &PLAN_COLUMNS,
        _ => return None,
    };
    Some(Arc::new(Schema::new(names.iter().map(text_field).collect::<Vec<_>>())))
}

fn text_field(name: &&str) -> Field {
    Field::new(*name, DataType::Utf8, true)
}

pub(super) const PLAN_COLUMNS: [&str; 1] = ["plan"];
const SCHEMA_COLUMNS: [&str; 2] = ["catalog", "schema"];
const COLUMN_COLUMNS: [&str; 5] = ["column", "type", "native_type", "nullable", "note"];
const CHECK_COLUMNS: [&str; 4] = ["check", "state", "detail", "fix"];
const POSITION_COLUMNS: [&str; 1] = ["position"];
const SETTING_COLUMNS: [&str; 3] = ["name", "setting", "description"];
const CATALOG_COLUMNS: [&str; 4] = ["catalog", "connector", "origin", "options"];

pub(super) fn catalogs(session: &Session) -> Result<Outcome> {
    let catalogs = session.engine.0.catalogs();
    let (roles, user) = (session.engine.0.access.roles(), session.user());
    let mut lines = catalog_lines(&catalogs);
    lines.retain(|[name, ..]| shows_catalog(session, name.as_deref().unwrap_or_default()));
    if !roles.is_superuser(user) {
        lines.iter_mut().for_each(|[_, _, _, options]| *options = None);
    }
    Ok(rows(&CATALOG_COLUMNS, lines))
}

fn shows_catalog(session: &Session, name: &str) -> bool {
    let roles = session.engine.0.access.roles();
    name == POLDER || roles.shows(session.user(), &Object::Catalog { catalog: name.to_string() })
}

fn catalog_lines(catalogs: &Catalogs) -> Vec<Line<4>> {
    let own = [some(POLDER), None, some("built in"), None];
    let attached = catalogs.attached.iter().map(|(name, attached)| {
        let origin = match attached.origin {
            Origin::Defined => "statement",
            Origin::Declared => "configuration",
            Origin::Own => "built in",
        };
        let definition = &attached.definition;
        let options: Vec<_> = definition.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        [some(name), some(&definition.connector), some(origin), some(options.join(", "))]
    });
    std::iter::once(own).chain(attached).collect()
}

pub(super) async fn schemas(session: &Session, catalog: Option<&str>) -> Result<Outcome> {
    let catalogs = session.engine.0.catalogs();
    let context = query::context(session);
    let mut lines = Vec::new();
    if catalog.is_none_or(|name| name == POLDER) {
        lines.extend([PUBLIC, SYSTEM].map(|schema| [some(POLDER), some(schema)]));
    }
    for (name, source) in chosen(session, &catalogs, catalog)? {
        match source.schemas(&context).await {
            Ok(schemas) => lines.extend(schemas.into_iter().map(|schema| [some(&name), some(schema)])),
            Err(error) if catalog.is_some() => return Err(error),
            // One source that is down does not hide the others.
            Err(error) => lines.push([some(&name), some(format!("({error})"))]),
        }
    }
    Ok(rows(&SCHEMA_COLUMNS, lines))
}

const TABLE_COLUMNS: [&str; 4] = ["catalog", "schema", "table", "kind"];

pub(super) async fn tables(
    session: &Session,
    catalog: Option<&str>,
    schema: Option<&str>,
    pattern: Option<&str>,
) -> Result<Outcome> {
    let engine = &session.engine.0;
    let catalogs = engine.catalogs();
    let context = query::context(session);
    // `SHOW TABLES FROM public` means Polder's own schema.
    let (catalog, schema) = match (catalog, schema) {
        (Some(own @ (PUBLIC | SYSTEM)), None) => (Some(POLDER), Some(own)),
        other => other,
    };
    let mut lines = Vec::new();
    if catalog.is_none_or(|name| name == POLDER) {
        lines.extend(own_tables(&catalogs));
    }
    let listings = chosen(session, &catalogs, catalog)?.into_iter().map(|(name, source)| {
        let context = &context;
        async move {
            let listing = list(&source, context, schema).await;
            (name, listing)
        }
    });
    for (name, listing) in join_all(listings).await {
        match listing {
            Ok(tables) => {
                lines.extend(
                    tables
                        .into_iter()
                        .map(|[schema, table, kind]| [some(&name), some(schema), some(table), some(kind)]),
                );
            }
            Err(error) if catalog.is_some() => return Err(error),
            Err(error) => lines.push([some(&name), None, None, some(format!("unreachable: {error}"))]),
        }
    }
    lines.retain(|line| schema.is_none_or(|schema| line[1].as_deref() == Some(schema)));
    lines.retain(|line| shows_table(session, line));
    if let Some(pattern) = pattern {
        lines.retain(|line| line[2].as_deref().is_some_and(|table| matches_like(pattern, table)));
    }
    Ok(rows(&TABLE_COLUMNS, lines))
}

fn shows_table(session: &Session, [catalog, schema, table, _]: &Line<4>) -> bool {
    let (roles, user) = (session.engine.0.access.roles(), session.user());
    match (catalog, schema, table) {
        (Some(catalog), Some(schema), Some(table)) => {
            let (catalog, schema, table) = (catalog.clone(), schema.clone(), table.clone());
            user.as_ref() == LOCAL || roles.shows(user, &Object::Table { catalog, schema, table })
        }
        // A source that cannot be reached.
        _ => true,
    }
}

async fn list(source: &Arc<dyn Source>, context: &ReadContext, schema: Option<&str>) -> Result<Vec<[String; 3]>> {
    let schemas = match schema {
        Some(schema) => vec![schema.to_string()],
        None => source.schemas(context).await?,
    };
    let mut tables = Vec::new();
    for schema in schemas {
        let datasets = source.datasets(context, &schema).await?;
        tables.extend(
            datasets.into_iter().map(|dataset| [schema.clone(), dataset.name, dataset.kind.as_str().to_string()]),
        );
    }
    Ok(tables)
}

fn own_tables(catalogs: &Catalogs) -> Vec<Line<4>> {
    let views = catalogs.views.keys().map(|name| [some(POLDER), some(PUBLIC), some(name), some("view")]);
    let system = SYSTEM_TABLES.iter().map(|name| [some(POLDER), some(SYSTEM), some(*name), some("system table")]);
    let topics = catalogs.topics.keys().map(|name| [some(POLDER), some(PUBLIC), some(name), some("topic")]);
    let tables = catalogs.tables.keys().filter(|name| name.catalog.as_str() == POLDER);
    let tables = tables.map(|name| [some(POLDER), some(&name.schema), some(&name.table), some("table")]);
    tables.chain(topics).chain(views).chain(system).collect()
}

fn chosen(session: &Session, catalogs: &Catalogs, catalog: Option<&str>) -> Result<Vec<(String, Arc<dyn Source>)>> {
    match catalog {
        Some(name) if !shows_catalog(session, name) => Err(denied(format!("permission denied for catalog {name}"))),
        Some(POLDER) => Ok(Vec::new()),
        Some(name) => Ok(vec![(name.to_string(), Arc::clone(catalogs.get(name)?.source(name)?))]),
        None => {
            // Its own tables are known without asking.
            let sources = catalogs.sources().filter(|(name, _)| name.as_str() != POLDER);
            let sources = sources.filter(|(name, _)| shows_catalog(session, name.as_str()));
            Ok(sources.map(|(name, source)| (name.to_string(), source)).collect())
        }
    }
}

/// SQL's LIKE over whole names, `%` and `_`, without regard to case.
fn matches_like(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
            Some(('_', rest)) => !text.is_empty() && matches(rest, &text[1..]),
            Some((letter, rest)) => text.first() == Some(letter) && matches(rest, &text[1..]),
        }
    }
    let letters = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    matches(&letters(pattern), &letters(text))
}

pub(super) async fn describe(session: &Session, name: &Name) -> Result<Outcome> {
    let engine = &session.engine.0;
    let catalogs = engine.catalogs();
    let context = query::context(session);
    let provider = Resolver::new(engine, &catalogs, &context).name(&reference(name)).await?;
    let nullable = |field: &Field| some(if field.is_nullable() { "yes" } else { "no" });
    if let Some(table) = provider.downcast_ref::<SourceTable>() {
        let lines = table.dataset().columns.iter().map(|column| {
            let field = &column.field;
            let hidden = mark::is_hidden(field.metadata()).then(|| "hidden: read when it is named".to_string());
            let note = column.note.clone().or_else(|| marked_note(field)).or(hidden);
            [some(field.name()), some(type_name(field)), some(&column.native_type), nullable(field), note]
        });
        return Ok(rows(&COLUMN_COLUMNS, lines));
    }
    let schema = provider.schema();
    let lines = schema.fields().iter().map(|field| {
        let native = mark::of(field.metadata()).map(|(native, _)| native.to_string());
        [some(field.name()), some(type_name(field)), native, nullable(field), marked_note(field)]
    });
    Ok(rows(&COLUMN_COLUMNS, lines))
}

fn type_name(field: &Field) -> String {
    if mark::is_uuid(field.metadata()) { "UUID".to_string() } else { field.data_type().to_string() }
}

fn marked_note(field: &Field) -> Option<String> {
    let (native, comparison) = mark::of(field.metadata())?;
    Some(match comparison {
        mark::Comparison::Equality => format!("{native} as text: equality is exact, order is the source's own"),
        mark::Comparison::None => format!("{native} as text: cast it to compare or group by the text"),
    })
}

pub(super) async fn check_catalog(session: &Session, name: &str) -> Result<Outcome> {
    let catalogs = session.engine.0.catalogs();
    let source = catalogs.get(name)?.source(name)?;
    let context = query::context(session);
    let checks = tokio::select! {
        checks = source.check(&context) => checks,
        error = context.stopped() => return Err(error),
    };
    let lines = checks.into_iter().map(|check| {
        debug_assert!(
            check.state == CheckState::Ok || !check.detail.is_empty(),
            "a check that failed says what it found"
        );
        [some(check.item), some(check.state.as_str()), some(check.detail), check.fix]
    });
    Ok(rows(&CHECK_COLUMNS, lines))
}

pub(super) fn position(session: &Session) -> Outcome {
    rows(&POSITION_COLUMNS, [[some(session.position().to_string())]])
}

pub(super) fn setting(session: &Session, name: &str) -> Result<Outcome> {
    let lines = session.settings().show(name)?;
    Ok(match (name, &lines[..]) {
        ("all", _) => rows(&SETTING_COLUMNS, lines.into_iter().map(|line| line.map(Some))),
        // As in PostgreSQL, one setting is one value under its own name.
        (name, lines) => rows(&[name], lines.iter().map(|[_, value, _]| [some(value)])),
    })
}

const SYSTEM_TABLES: &[&str] = &[
    "catalogs",
    "datasets",
    "dead_letters",
    "freshness",
    "grants",
    "log_shards",
    "policies",
    "procedures",
    "queries",
    "requests",
    "roles",
    "sources",
    "tokens",
    "views",
];

/// How far each catalog that follows the log is.
fn freshness_lines(engine: &Inner) -> Vec<Line<4>> {
    let line = |(catalog, progress): (String, Progress)| match progress {
        Progress::Starting => [some(catalog), some("starting"), None, None],
        Progress::At(at) => [some(catalog), some("following"), some(at.0.to_string()), None],
        Progress::Stalled { at, reason } => {
            [some(catalog), some("stalled"), some(at.0.to_string()), some(reason.as_ref())]
        }
    };
    engine.followers.progress().into_iter().map(line).collect()
}

/// Tables and topics: which are systems of record, which follow the log, and how far they are.
fn dataset_lines(engine: &Inner, catalogs: &Catalogs) -> Vec<Line<10>> {
    let log = engine.commit.opened();
    let end = log.map(|log| log.main().end());
    let progress: BTreeMap<String, Progress> = engine.followers.progress().into_iter().collect();
    let table = |(name, table): (&TableName, &TableDefinition)| {
        let head = [some(name.to_string()), some("table")];
        let offset = end.map_or(0, |end| end.offset.0);
        let [dataset, kind] = head;
        if table.is_own() {
            let frontier = some(format!("{MAIN}:{offset}"));
            let size = engine.commit.own().memory_bytes(&dataset_id(table.id)).map(|bytes| bytes.to_string());
            let record = some("system of record");
            return [dataset, kind, record, None, frontier, some("0"), some("0"), size, some("current"), None];
        }
        let (frontier, state, reason) = match progress.get(&table.catalog) {
            Some(Progress::At(at)) if at.0 == offset => (Some(*at), "current", None),
            Some(Progress::At(at)) => (Some(*at), "following", None),
            Some(Progress::Stalled { at, reason }) => (Some(*at), "stalled", Some(reason.to_string())),
            Some(Progress::Starting) => (None, "starting", None),
            None => (None, "not followed", None),
        };
        let is_current = frontier.is_some_and(|at| at.0 == offset);
        let behind = end.zip(engine.followers.looked_at(&table.catalog)).filter(|_| frontier.is_some());
        let (entries, time) = match behind {
            _ if is_current => (Some(0), Some(0)),
            Some((end, (entries, time))) => {
                let micros = end.time.0.saturating_sub(time.0);
                (Some(end.entries.0.saturating_sub(entries)), Some(micros.unsigned_abs() / 1000))
            }
            None => (None, None),
        };
        let (inputs, frontier) = (some(format!("log {MAIN}")), frontier.map(|at| format!("{MAIN}:{}", at.0)));
        let [entries, time] = [entries, time].map(|lag| lag.map(|lag| lag.to_string()));
        [dataset, kind, some("derived"), inputs, frontier, entries, time, None, some(state), reason]
    };
    let topic = |topic: &TopicDefinition| {
        let shards: Vec<_> = topic.shards.iter().filter_map(|shard| log?.shard(shard)).collect();
        let end = |shard: &Shard| format!("{}:{}", shard.name(), shard.end().offset.0);
        let frontier = shards.iter().map(end).collect::<Vec<_>>().join(",");
        let size = shards.iter().map(Shard::stored_bytes).sum::<u64>().to_string();
        let name = format!("{POLDER}.{PUBLIC}.{}", topic.name);
        let (record, zero, state) = (some("system of record"), some("0"), some("current"));
        [some(name), some("topic"), record, None, some(frontier), zero.clone(), zero, some(size), state, None]
    };
    catalogs.tables.iter().map(table).chain(catalogs.topics.values().map(topic)).collect()
}

/// The statements that clients gave a name, as the log has them.
async fn request_lines(engine: &Inner) -> Result<Vec<Line<6>>> {
    if engine.commit.stored().await?.is_none() {
        return Ok(Vec::new());
    }
    let line = |shard: &Shard, told: Told| {
        let (state, outcome) = match told.outcome {
            Ok(tag) => ("accepted", tag),
            Err(rejection) => ("refused", rejection.error().to_string()),
        };
        let at = chrono::DateTime::from_timestamp_micros(told.time.0).map(|at| at.to_rfc3339());
        [
            some(told.id),
            some(told.user),
            some(state),
            some(outcome),
            some(format!("{}:{}", shard.name(), told.end.0)),
            at,
        ]
    };
    let mut lines = Vec::new();
    for Ledger { shard, requests, .. } in engine.commit.ledgers().await? {
        lines.extend(requests.all(shard.end().entries.0).into_iter().map(|told| line(&shard, told)));
    }
    Ok(lines)
}

/// What can be called.
fn procedure_lines(catalogs: &Catalogs) -> Vec<Line<4>> {
    let line = |(name, procedure): (&String, &ProcedureDefinition)| {
        let parameters: Vec<_> = procedure.parameters.iter().map(|(name, of)| format!("{name} {of}")).collect();
        [some(PUBLIC), some(name), some(parameters.join(", ")), some(procedure.body.trim())]
    };
    catalogs.procedures.iter().map(line).collect()
}

/// Effects of procedures that could not be done.
async fn dead_letter_lines(engine: &Inner) -> Result<Vec<Line<8>>> {
    if engine.commit.stored().await?.is_none() {
        return Ok(Vec::new());
    }
    engine.commit.tables().await?;
    let mut lines = Vec::new();
    for (home, letter) in engine.commit.effects().dead() {
        let effect = run::effect_of(&engine.commit, &letter).await?;
        let value = |argument: &Argument| {
            let value = argument.value.as_deref().unwrap_or("NULL");
            format!("{} = {value}", argument.name)
        };
        let arguments = effect.as_ref().map(|effect| effect.arguments.iter().map(value).collect::<Vec<_>>().join(", "));
        let error = letter.rejection.error();
        lines.push([
            some(format!("{}:{}", name_of(home), letter.end)),
            some(&letter.origin),
            effect.map(|effect| effect.statement),
            arguments,
            letter.request_id,
            some(error.state().as_str()),
            some(error.message()),
            chrono::DateTime::from_timestamp_micros(letter.time).map(|at| at.to_rfc3339()),
        ]);
    }
    Ok(lines)
}

/// The shards of the log, if it was opened.
fn shard_lines(engine: &Inner) -> Vec<Line<5>> {
    let shards = engine.commit.opened().map(|log| log.shards()).unwrap_or_default();
    let line = |shard: &Shard| {
        let end = shard.end();
        [
            some(shard.name()),
            some(end.entries.0.to_string()),
            some(shard.start().0.to_string()),
            some(end.offset.0.to_string()),
            some(shard.sync_count().to_string()),
        ]
    };
    shards.iter().map(line).collect()
}

/// A table of `polder.system`, as it is now.
pub(super) async fn system_table(engine: &Inner, catalogs: &Catalogs, name: &str) -> Result<Arc<dyn TableProvider>> {
    let batch = match name {
        "catalogs" => batch(&CATALOG_COLUMNS, catalog_lines(catalogs)),
        "views" => {
            let views = catalogs.views.iter().map(|(name, view)| [some(PUBLIC), some(name), some(&view.text)]);
            batch(&["schema", "view", "definition"], views)
        }
        "freshness" => batch(&["catalog", "state", "offset", "reason"], freshness_lines(engine)),
        "datasets" => batch(
            &[
                "dataset",
                "kind",
                "record",
                "inputs",
                "frontier",
                "lag_entries",
                "lag_ms",
                "size_bytes",
                "state",
                "reason",
            ],
            dataset_lines(engine, catalogs),
        ),
        "requests" => {
            batch(&["request_id", "user", "state", "outcome", "position", "committed_at"], request_lines(engine).await?)
        }
        "queries" => operation::queries(engine),
        "sources" => operation::sources(catalogs),
        "procedures" => batch(&["schema", "procedure", "parameters", "definition"], procedure_lines(catalogs)),
        "dead_letters" => batch(
            &["position", "origin", "statement", "arguments", "request_id", "sqlstate", "reason", "at"],
            dead_letter_lines(engine).await?,
        ),
        "roles" => batch(
            &["name", "login", "superuser", "read_only", "has_password", "member_of"],
            access::role_lines(&engine.access.roles()),
        ),
        "grants" => batch(&["role", "privilege", "object", "columns"], access::grant_lines(&engine.access.roles())),
        "policies" => batch(
            &["table", "policy", "roles", "masked_column", "expression"],
            access::policy_lines(&engine.access.roles()),
        ),
        "tokens" => batch(&["name", "user", "valid_until"], access::token_lines(&engine.access.roles())),
        "log_shards" => batch(&["shard", "entries", "start_offset", "end_offset", "syncs"], shard_lines(engine)),
        _ => {
            return Err(Error::fix(SqlState::NO_TABLE, format!("table \"{POLDER}.{SYSTEM}.{name}\" does not exist"))
                .with_hint(format!("the system tables are: {}", SYSTEM_TABLES.join(", "))));
        }
    };
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(Error::from_datafusion)?;
    Ok(Arc::new(table))
}
