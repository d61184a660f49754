//! DDL of what the log writes: topics of Polder's own, and tables in catalogs that follow it.

use crate::catalogs::{Catalogs, POLDER, PUBLIC, SYSTEM, own_table};
use crate::commit::{log_error, position};
use crate::definitions::{Change, StoredCheck, StoredColumn, StoredSharding, TableDefinition, definitions_in};
use crate::engine::Inner;
use crate::execute::define::{done, drop_dependents};
use crate::execute::publish::Defining;
use crate::execute::query;
use crate::execute::references;
use crate::execute::resolve::{Resolver, Target, reference};
use crate::execute::write::{self, Draft};
use crate::plan::Planner;
use crate::session::{Outcome, Session};
use crate::sql::{self, CheckSpec, ColumnSpec, IfExists, Name, Query, TableChange, TableSpec};
use arrow::datatypes::{Field, SchemaRef};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{self, ColumnDef, Ident, ObjectName};
use polder_catalog::{
    CatalogName, Error, OptionKind, OptionSpec, Options, ReadContext, Result, SqlState, TableName, Writer,
};
use polder_log::store::{EntryKind, MAIN};
use polder_log::{KeyHash, Retention, TopicColumn, TopicDefinition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every option of `CREATE TOPIC ... WITH (...)`.
pub(crate) const TOPIC_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("shards", OptionKind::Integer(1, 1024), "over how many shards the records are spread").default("1"),
    OptionSpec::new(
        "key",
        OptionKind::Text,
        "the column that tells which records are about one thing: they go to one shard, in order, and the newest is what \
         NAME$latest shows",
    ),
    OptionSpec::new(
        "retention",
        OptionKind::Duration,
        "records older than this may be removed; kept for ever if not given",
    ),
    OptionSpec::new(
        "retention_bytes",
        OptionKind::Integer(1 << 20, i64::MAX),
        "the oldest records of a shard that is larger may be removed",
    ),
];

/// `CREATE TOPIC`: its shards first, then its definition, so that who sees the topic finds its shards.
/// What a table of Polder's own is made `WITH`.
pub(crate) const TABLE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "shards",
        OptionKind::Integer(1, 256),
        "over how many shards the rows are spread, each with an order of its own; if not given they lie in main, in one order",
    ),
    OptionSpec::new(
        "key",
        OptionKind::Text,
        "the columns of the primary key, separated by commas, by which rows are spread: those with the same values lie in one \
         shard, in every table of as many shards; if not given the whole primary key",
    ),
];

pub(super) async fn create_topic(
    session: &Session,
    name: Name,
    columns: Vec<ColumnSpec>,
    options: Vec<(String, String)>,
    exists: IfExists,
) -> Result<Outcome> {
    let engine = &session.engine.0;
    let context = query::context(session);
    let name = own_name(name, "topic")?;
    if let Some(column) = columns.iter().find(|column| !column.options.is_empty()) {
        return Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("column \"{}\" of a topic takes no options", column.name),
        ));
    }
    let options = Options::validate(TOPIC_OPTIONS, options)?;
    let schema = types(session, &columns).await?;
    let mut defining = Defining::begin(session, &context).await?;
    if defining.catalogs.topics.contains_key(&name) && exists == IfExists::Keep {
        return done("CREATE TOPIC");
    }
    refuse_taken(&defining.catalogs, &name)?;
    let topic = topic(engine.next_dataset(), name, &schema, &options)?;
    topic.check()?;
    make_shards(engine, &topic).await?;
    defining.catalogs.last_dataset = topic.id;
    defining.catalogs.topics.insert(topic.name.clone(), topic);
    defining.publish().await?;
    done("CREATE TOPIC")
}

/// One that is there was made for this topic by a statement that did not come to its end. Whatever is in it is nobody's.
async fn make_shards(engine: &Inner, topic: &TopicDefinition) -> Result<()> {
    let log = Arc::clone(engine.commit.log().await?);
    let shards = topic.shards.clone();
    let made = tokio::task::spawn_blocking(move || {
        for shard in shards {
            if log.shard(&shard).is_some() {
                log.drop_shard(&shard)?;
            }
            log.create_shard(&shard)?;
        }
        Ok(())
    });
    made.await.map_err(|error| Error::report("making shards ended in a panic").with_source(error))?.map_err(log_error)
}

fn topic(id: u64, name: String, schema: &SchemaRef, options: &Options) -> Result<TopicDefinition> {
    let columns: Vec<TopicColumn> =
        (1..).zip(schema.fields()).map(|(id, field)| TopicColumn { id, field: Arc::clone(field) }).collect();
    let key = options.text("key").map(|key| {
        let column = columns.iter().find(|column| column.field.name() == key);
        column
            .map(|column| column.id)
            .ok_or_else(|| Error::fix(SqlState::NO_COLUMN, format!("column \"{key}\" of the key does not exist")))
    });
    let count = options.integer("shards").unwrap_or(1);
    Ok(TopicDefinition {
        id,
        // The id keeps a later topic of this name apart, so that a position never means another one's records.
        shards: (0..count).map(|shard| format!("{name}-{id}-{shard}")).collect(),
        name,
        columns,
        schema: 1,
        key: key.transpose()?,
        hash: KeyHash::default(),
        retention: Retention {
            age: options.duration("retention"),
            bytes: options.integer("retention_bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        },
    })
}

/// `DROP TOPIC`: its definition first, then its shards.
pub(super) async fn drop_topic(session: &Session, name: Name, if_exists: bool, cascade: bool) -> Result<Outcome> {
    let engine = &session.engine.0;
    let context = query::context(session);
    let mut defining = Defining::begin(session, &context).await?;
    let name = own_name(name, "topic")?;
    if !defining.catalogs.topics.contains_key(&name) {
        let missing = Error::fix(SqlState::NO_TABLE, format!("topic \"{name}\" does not exist"));
        return if if_exists { done("DROP TOPIC") } else { Err(missing) };
    }
    let stands_on = |target: &Target| matches!(target, Target::Topic { name: topic, .. } if *topic == name);
    drop_dependents(&mut defining, &context, &format!("topic \"{name}\""), cascade, stands_on)?;
    defining.catalogs.topics.remove(&name);
    defining.publish().await?;
    engine.drop_orphans().await;
    done("DROP TOPIC")
}

/// `CREATE TABLE` in a catalog that follows the log, with the rows of a query if there is one: one entry.
pub(super) async fn create_table(
    session: &Session,
    name: Name,
    spec: TableSpec,
    rows: Option<Query>,
    exists: IfExists,
) -> Result<Outcome> {
    let engine = &session.engine.0;
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let catalogs = engine.catalogs();
    let name = table_name(engine, &catalogs, &context, &name)?;
    let writer = writer(&catalogs, &name)?;
    if catalogs.tables.contains_key(&name) && exists == IfExists::Keep {
        return done("CREATE TABLE");
    }
    refuse_table(&catalogs, &name)?;
    let schema = match &rows {
        Some(query) if spec.columns.is_empty() => write::schema_of(session, &context, query).await?,
        _ => types(session, &spec.columns).await?,
    };
    let mut table = table(engine.next_dataset(), &name, &schema, &spec, writer.as_ref())?;
    table.references = references::of(engine, &catalogs, &context, &table, &spec.references)?;
    check_rules(engine, &context, &table)?;
    writer.check_definition(&table.for_source())?;
    if rows.is_some() && table.sharding.is_some() {
        return Err(polder_rows::spans());
    }
    let change = Change::CreateTable { table: table.clone() };
    let mut draft = Draft::new(engine, EntryKind::DEFINITION).await?;
    draft.define(std::slice::from_ref(&change))?;
    // A query may take its time, so nobody else is kept from defining something meanwhile.
    let count = match &rows {
        Some(query) => Some(write::fill(session, &context, &table, query, &mut draft).await?),
        None => None,
    };
    let mut defining = Defining::begin(session, &context).await?;
    refuse_table(&defining.catalogs, &name)?;
    self::writer(&defining.catalogs, &name)?;
    references::still_hold(&defining.catalogs, &table)?;
    defining.catalogs.last_dataset = defining.catalogs.last_dataset.max(table.id);
    defining.catalogs.tables.insert(name, table.clone());
    let (entry, changes) = draft.finish()?;
    let definitions = definitions_in(&[change], &CatalogName::new(POLDER));
    let proposal = engine.commit.propose(definitions, &changes, None).await?;
    let end = defining.publish_entry(entry, proposal).await?;
    session.reached(&position([(MAIN.to_string(), end)]));
    engine.reached(&table.catalog, end, &context).await?;
    match count {
        Some(count) => done(&format!("SELECT {count}")),
        None => done("CREATE TABLE"),
    }
}

fn refuse_table(catalogs: &Catalogs, name: &TableName) -> Result<()> {
    refuse_other(catalogs, name)?;
    match catalogs.tables.contains_key(name) {
        true => Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("table {name} exists already"))),
        false => Ok(()),
    }
}

fn table(
    id: u64,
    name: &TableName,
    schema: &SchemaRef,
    spec: &TableSpec,
    writer: &dyn Writer,
) -> Result<TableDefinition> {
    let mut columns = Vec::new();
    for (id, field) in (1..).zip(schema.fields()) {
        let options = spec.columns.iter().find(|column| column.name == *field.name());
        let (default, identity) = options.map(|column| (column.default.clone(), column.identity)).unwrap_or_default();
        let options = options.map(|column| column.options.clone()).unwrap_or_default();
        let options = column_options(writer, options)?;
        columns.push(StoredColumn { id, field: Arc::clone(field), options, default, identity });
    }
    let id_of = |name: &String| columns.iter().find(|column| column.field.name() == name).map(|column| column.id);
    let key: Vec<u32> = spec.key.iter().filter_map(id_of).collect();
    let unique = spec.unique.iter().map(|names| names.iter().filter_map(id_of).collect()).collect();
    let number = |at: usize| if at == 0 { String::new() } else { at.to_string() };
    let check = |(at, check): (usize, &CheckSpec)| StoredCheck {
        name: check.name.clone().unwrap_or_else(|| format!("{}_check{}", name.table, number(at))),
        condition: check.condition.clone(),
    };
    let checks = spec.checks.iter().enumerate().map(check).collect();
    let is_own = name.catalog.as_str() == POLDER;
    let known = if is_own { TABLE_OPTIONS } else { writer.dataset_options() };
    let options = Options::validate(known, spec.options.iter().cloned())?;
    let sharding = if is_own { sharding(&columns, &key, &options)? } else { None };
    Ok(TableDefinition {
        id,
        catalog: name.catalog.to_string(),
        schema: name.schema.clone(),
        name: name.table.clone(),
        last_column: u32::try_from(columns.len()).unwrap_or(u32::MAX),
        columns,
        key,
        unique,
        checks,
        indexes: Vec::new(),
        references: Vec::new(),
        sharding,
        options: if is_own { BTreeMap::new() } else { spec.options.iter().cloned().collect() },
        version: 1,
    })
}

/// How the rows of a table are spread that is to be.
fn sharding(columns: &[StoredColumn], key: &[u32], options: &Options) -> Result<Option<StoredSharding>> {
    let Some(count) = options.integer("shards") else {
        return match options.text("key") {
            None => Ok(None),
            Some(_) => Err(Error::fix(SqlState::PARAMETER, "a key without shards has nothing to spread")
                .with_hint("WITH (shards = 4, key = '...')")),
        };
    };
    let id = |name: &str| {
        let column = columns.iter().find(|column| column.field.name() == name);
        let message = || Error::fix(SqlState::NO_COLUMN, format!("column \"{name}\" of the key does not exist"));
        column.map(|column| column.id).ok_or_else(message)
    };
    let key = match options.text("key") {
        None => key.to_vec(),
        Some(names) => names.split(',').map(|name| id(name.trim())).collect::<Result<_>>()?,
    };
    let count = u32::try_from(count).map_err(|_| Error::fix(SqlState::PARAMETER, "too many shards"))?;
    Ok(Some(StoredSharding { count, key, hash: KeyHash::default() }))
}

/// Whether the defaults, numbers and conditions of a table can be kept and computed.
fn check_rules(engine: &Inner, context: &ReadContext, table: &TableDefinition) -> Result<()> {
    let has_rules = |column: &StoredColumn| column.default.is_some() || column.identity.is_some();
    if !table.is_own() {
        return match table.unique.is_empty()
            && table.checks.is_empty()
            && table.references.is_empty()
            && !table.columns.iter().any(has_rules)
        {
            true => Ok(()),
            false => Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                "only tables of Polder's own have a default, an identity, UNIQUE, CHECK or FOREIGN KEY",
            )),
        };
    }
    let planner = Planner::new(engine, context);
    for column in &table.columns {
        if let Some(default) = &column.default {
            let (name, wanted) = (column.field.name(), column.field.data_type());
            if sql::has_query(default) {
                let message = format!("the default of column \"{name}\" has a query in it");
                return Err(Error::fix(SqlState::NOT_SUPPORTED, message));
            }
            let given =
                planner.default_type(default).map_err(|error| error.at(format!("default of column \"{name}\"")))?;
            if !arrow::compute::can_cast_types(&given, wanted) {
                let message = format!("the default of column \"{name}\" is {given}, the column is {wanted}");
                return Err(Error::fix(SqlState::TYPE, message));
            }
        }
    }
    let mut numbered = table.columns.iter().filter(|column| column.identity.is_some());
    if let Some(column) = numbered.next()
        && (!column.field.data_type().is_integer() || numbered.next().is_some())
    {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, "one column may be an identity, and it is an integer"));
    }
    let schema = table.arrow_schema();
    table.checks.iter().try_for_each(|check| planner.condition(&check.condition, &schema).map(drop))
}

/// Conditions stand in the words of their author, so what they name keeps its name.
fn refuse_named(table: &TableDefinition, column: &str) -> Result<()> {
    match table.checks.iter().find(|check| sql::names_in(&check.condition).contains(column)) {
        None => Ok(()),
        Some(check) => Err(Error::fix(
            SqlState::DEPENDENTS,
            format!("check \"{}\" of table {} names column \"{column}\"", check.name, table.full_name()),
        )),
    }
}

fn column_options(writer: &dyn Writer, options: Vec<(String, String)>) -> Result<BTreeMap<String, String>> {
    Options::validate(writer.column_options(), options.iter().cloned())?;
    Ok(options.into_iter().collect())
}

/// `ALTER TABLE`.
pub(super) async fn alter_table(session: &Session, name: Name, change: TableChange) -> Result<Outcome> {
    let engine = &session.engine.0;
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let name = defined_table(engine, &engine.catalogs(), &context, &name)?;
    let _turn = engine.turn(name.catalog.as_str(), &context).await?;
    let mut defining = Defining::begin(session, &context).await?;
    let writer = writer(&defining.catalogs, &name)?;
    let mut table = defining.catalogs.tables.remove(&name).ok_or_else(|| missing(&name))?;
    match change {
        TableChange::AddColumn(column) => add_column(session, &mut table, column, writer.as_ref()).await?,
        TableChange::DropColumn(column) => {
            references::refuse_column(&defining.catalogs, &table, &column)?;
            drop_column(&mut table, &column)?;
        }
        TableChange::RenameColumn { from, to } => rename_column(&mut table, &from, &to)?,
        TableChange::RenameTable(to) => table.name = to,
    }
    refuse_table(&defining.catalogs, &table.full_name())?;
    table.version += 1;
    writer.check_definition(&table.for_source())?;
    defining.catalogs.tables.insert(table.full_name(), table);
    if let Some(end) = defining.publish().await? {
        session.reached(&position([(MAIN.to_string(), end)]));
        engine.reached(name.catalog.as_str(), end, &context).await?;
    }
    done("ALTER TABLE")
}

async fn add_column(
    session: &Session,
    table: &mut TableDefinition,
    column: ColumnSpec,
    writer: &dyn Writer,
) -> Result<()> {
    if column.not_null {
        return Err(Error::fix(
            SqlState::NOT_NULL,
            format!("column \"{}\" would be NULL in the rows there are", column.name),
        )
        .with_hint("add it without NOT NULL"));
    }
    refuse_column(table, &column.name)?;
    if column.unique
        || !column.checks.is_empty()
        || column.references.is_some()
        || column.default.is_some()
        || column.identity.is_some()
    {
        return Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            "a column is added without a default, an identity, UNIQUE or CHECK",
        ));
    }
    let schema = types(session, std::slice::from_ref(&column)).await?;
    table.last_column += 1;
    let options = column_options(writer, column.options)?;
    let field = Arc::clone(&schema.fields()[0]);
    table.columns.push(StoredColumn { id: table.last_column, field, options, default: None, identity: None });
    Ok(())
}

fn drop_column(table: &mut TableDefinition, column: &str) -> Result<()> {
    let at = place(table, column)?;
    if table.key.contains(&table.columns[at].id) {
        return Err(Error::fix(SqlState::DEPENDENTS, format!("column \"{column}\" is part of the primary key")));
    }
    let id = table.columns[at].id;
    if table.unique.iter().any(|columns| columns.contains(&id)) {
        return Err(Error::fix(SqlState::DEPENDENTS, format!("column \"{column}\" is part of a unique constraint")));
    }
    if let Some(index) = table.indexes.iter().find(|index| index.columns.contains(&id)) {
        return Err(Error::fix(SqlState::DEPENDENTS, format!("index \"{}\" is on column \"{column}\"", index.name)));
    }
    refuse_named(table, column)?;
    if table.columns.len() == 1 {
        return Err(
            Error::fix(SqlState::NOT_SUPPORTED, "a table keeps at least one column").with_hint("drop the table")
        );
    }
    table.columns.remove(at);
    Ok(())
}

fn rename_column(table: &mut TableDefinition, from: &str, to: &str) -> Result<()> {
    let at = place(table, from)?;
    refuse_column(table, to)?;
    refuse_named(table, from)?;
    table.columns[at].field = Arc::new(table.columns[at].field.as_ref().clone().with_name(to));
    Ok(())
}

pub(super) fn place(table: &TableDefinition, column: &str) -> Result<usize> {
    table.columns.iter().position(|known| known.field.name() == column).ok_or_else(|| {
        Error::fix(SqlState::NO_COLUMN, format!("column \"{column}\" of table {} does not exist", table.full_name()))
    })
}

fn refuse_column(table: &TableDefinition, column: &str) -> Result<()> {
    match place(table, column) {
        Ok(_) => Err(Error::fix(
            SqlState::DUPLICATE_COLUMN,
            format!("table {} has a column \"{column}\" already", table.full_name()),
        )),
        Err(_) => Ok(()),
    }
}

/// `DROP TABLE`.
pub(super) async fn drop_table(session: &Session, name: Name, if_exists: bool, cascade: bool) -> Result<Outcome> {
    let engine = &session.engine.0;
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let name = match defined_table(engine, &engine.catalogs(), &context, &name) {
        Ok(name) => name,
        Err(error) if if_exists && error.state() == SqlState::NO_TABLE => return done("DROP TABLE"),
        Err(error) => return Err(error),
    };
    let _turn = engine.turn(name.catalog.as_str(), &context).await?;
    let mut defining = Defining::begin(session, &context).await?;
    let stands_on = |target: &Target| matches!(target, Target::Dataset(table) if *table == name);
    drop_dependents(&mut defining, &context, &format!("table {name}"), cascade, stands_on)?;
    let table = defining.catalogs.tables.remove(&name).ok_or_else(|| missing(&name))?;
    references::refuse_referred(&defining.catalogs, &table)?;
    if let Some(end) = defining.publish().await? {
        session.reached(&position([(MAIN.to_string(), end)]));
        engine.reached(name.catalog.as_str(), end, &context).await?;
    }
    done("DROP TABLE")
}

/// The types of columns as SQL names them.
async fn types(session: &Session, columns: &[ColumnSpec]) -> Result<SchemaRef> {
    let context = query::context(session);
    let definition = |column: &ColumnSpec| ColumnDef {
        name: Ident::with_quote('"', column.name.as_str()),
        data_type: column.sql_type.clone(),
        options: Vec::new(),
    };
    let create = CreateTableBuilder::new(ObjectName::from(Ident::new("t")));
    let create = create.columns(columns.iter().map(definition).collect()).build();
    let create = DataFusionStatement::Statement(Box::new(create.into()));
    let schema = Planner::new(&session.engine.0, &context).column_types(create).await?;
    let fields = schema.fields().iter().zip(columns);
    let fields: Vec<Field> = fields.map(|(field, column)| plain(field).with_nullable(!column.not_null)).collect();
    Ok(Arc::new(arrow::datatypes::Schema::new(fields)))
}

/// The Arrow types of names with SQL types.
pub(super) async fn types_of(session: &Session, columns: Vec<(String, ast::DataType)>) -> Result<SchemaRef> {
    let columns: Vec<_> = columns.into_iter().map(|(name, sql_type)| ColumnSpec::new(name, sql_type)).collect();
    types(session, &columns).await
}

/// Text is kept as `Utf8`, however queries pass it on.
pub(super) fn plain(field: &Field) -> Field {
    use arrow::datatypes::DataType;
    let data_type = match field.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) if values.is_string() => DataType::Utf8,
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

pub(super) fn own_name(name: Name, what: &str) -> Result<String> {
    let parts: Vec<_> = name.0.iter().map(String::as_str).collect();
    match parts[..] {
        [name] | [PUBLIC, name] | [POLDER, PUBLIC, name] => Ok(name.to_string()),
        _ => Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("a {what} cannot be made in \"{}\"", parts[..parts.len() - 1].join(".")),
        )
        .with_hint(format!("a {what} lives in {POLDER}.{PUBLIC}"))),
    }
}

/// What has a name in Polder's own schema already.
pub(super) fn taken(catalogs: &Catalogs, name: &str) -> Option<&'static str> {
    match name {
        _ if catalogs.topics.contains_key(name) => Some("topic"),
        _ if catalogs.views.contains_key(name) => Some("view"),
        _ => catalogs.own_table(name).map(|_| "table"),
    }
}

fn refuse_taken(catalogs: &Catalogs, name: &str) -> Result<()> {
    match taken(catalogs, name) {
        None => Ok(()),
        Some(what) => Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("{what} \"{name}\" exists already"))),
    }
}

/// The full name of a table that is to be.
fn table_name(engine: &Inner, catalogs: &Catalogs, context: &ReadContext, name: &Name) -> Result<TableName> {
    let parts: Vec<_> = name.0.iter().map(String::as_str).collect();
    match parts[..] {
        [table] | [PUBLIC, table] | [POLDER, PUBLIC, table] => Ok(own_table(table)),
        [SYSTEM, _] | [POLDER, _, _] => Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("a table cannot be made in \"{}\"", parts[..parts.len() - 1].join(".")),
        )
        .with_hint(format!("tables of Polder's own live in {POLDER}.{PUBLIC}"))),
        _ => match Resolver::new(engine, catalogs, context).target(&reference(name), false)? {
            Target::Dataset(name) => Ok(name),
            _ => Err(Error::report("a name in a catalog was taken for another one")),
        },
    }
}

/// A table of Polder's own shares its names with topics and views.
fn refuse_other(catalogs: &Catalogs, name: &TableName) -> Result<()> {
    match taken(catalogs, &name.table).filter(|what| *what != "table" && name.catalog.as_str() == POLDER) {
        None => Ok(()),
        Some(what) => Err(Error::fix(SqlState::DUPLICATE_TABLE, format!("{what} \"{}\" exists already", name.table))),
    }
}

pub(super) fn defined_table(
    engine: &Inner,
    catalogs: &Catalogs,
    context: &ReadContext,
    name: &Name,
) -> Result<TableName> {
    match Resolver::new(engine, catalogs, context).target(&reference(name), false)? {
        Target::Dataset(name) if catalogs.tables.contains_key(&name) => Ok(name),
        Target::Dataset(name) => {
            catalogs.get(name.catalog.as_str())?;
            Err(missing(&name).with_hint("only tables that were created here can be altered or dropped here"))
        }
        Target::Topic { name, .. } => {
            Err(Error::fix(SqlState::TYPE, format!("\"{name}\" is a topic")).with_hint("use DROP TOPIC"))
        }
        Target::View(name) => {
            Err(Error::fix(SqlState::TYPE, format!("\"{name}\" is a view")).with_hint("use DROP VIEW"))
        }
        Target::System(name) | Target::LocalFiles(name) => {
            Err(Error::fix(SqlState::TYPE, format!("\"{name}\" cannot be altered or dropped")))
        }
    }
}

fn writer(catalogs: &Catalogs, name: &TableName) -> Result<Arc<dyn Writer>> {
    let catalog = name.catalog.as_str();
    let attached = catalogs.get(catalog)?;
    attached.source(catalog)?.writer().ok_or_else(|| {
        let connector = &attached.definition.connector;
        Error::fix(SqlState::READ_ONLY, format!("tables cannot be created in catalog \"{catalog}\""))
            .with_detail(format!("a {connector} catalog is not written by Polder"))
            .with_hint("create it at the source itself, here by its name alone, or in a catalog that the log can write")
    })
}

pub(super) fn missing(name: &TableName) -> Error {
    Error::fix(SqlState::NO_TABLE, format!("table {name} does not exist"))
}
