//! Names to tables: the I/O that a query needs before it can be planned.
//!
//! Every table that a query names is described anew, all at once, so that what was created, altered or dropped at a source
//! is seen by the next statement. Named queries are expanded here, each use anew.

use crate::access::{LOCAL, Object, Privilege, Sight, denied};
use crate::catalogs::{Catalogs, POLDER, PUBLIC, SYSTEM, own_table};
use crate::engine::Inner;
use crate::execute::{after, cut, past, show};
use crate::plan::{self, PassThroughCall, Planner, Tables};
use crate::sql::{self, Name, Query, Statement};
use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::TableReference;
use futures::future::{BoxFuture, try_join_all};
use polder_catalog::{CatalogName, DatasetEntry, Error, ReadContext, Result, Source, SourceTable, SqlState, TableName};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Named queries inside named queries, beyond which a circle is assumed.
const VIEW_DEPTH_MAX: usize = 32;

/// What is appended to the name of a topic for the newest rows of its keys.
const LATEST: &str = "$latest";

/// Where one query finds its tables.
pub(crate) struct Resolver<'a> {
    engine: &'a Inner,
    catalogs: &'a Catalogs,
    context: &'a ReadContext,
    /// Whose rights count.
    user: Arc<str>,
}

/// What a dotted name means, before anything was asked of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A named query of `polder.public`.
    View(String),
    /// A topic of `polder.public`, or the newest rows of its keys.
    Topic { name: String, latest: bool },
    /// A table of `polder.system`.
    System(String),
    /// A dataset of an attached catalog.
    Dataset(TableName),
    /// A file or pattern of this machine, written in single quotes.
    LocalFiles(String),
}

impl Target {
    /// Its full name; none for a file.
    pub(crate) fn full_name(&self) -> Option<TableName> {
        let own = |schema: &str, table: &str| TableName {
            catalog: CatalogName::new(POLDER),
            schema: schema.to_string(),
            table: table.to_string(),
        };
        match self {
            Self::View(name) | Self::Topic { name, .. } => Some(own(PUBLIC, name)),
            Self::System(name) => Some(own(SYSTEM, name)),
            Self::Dataset(name) => Some(name.clone()),
            Self::LocalFiles(_) => None,
        }
    }

    /// What a call of `query('catalog', ...)` stands on: the catalog, and no table that Polder knows.
    pub(crate) fn of_call(catalog: &str) -> Self {
        Self::Dataset(TableName { catalog: CatalogName::new(catalog), schema: String::new(), table: String::new() })
    }
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(engine: &'a Inner, catalogs: &'a Catalogs, context: &'a ReadContext) -> Self {
        Self { engine, catalogs, context, user: Arc::clone(&context.principal().0) }
    }

    /// Resolves everything that a query names.
    pub(crate) async fn query(&self, query: &Query) -> Result<Tables> {
        self.query_at_depth(query, 0).await
    }

    /// Resolves a table of a catalog, without its hidden columns.
    pub(crate) async fn table(&self, name: &TableName) -> Result<Arc<dyn TableProvider>> {
        self.dataset(name.clone(), &BTreeSet::new()).await
    }

    /// Resolves one name.
    pub(crate) async fn name(&self, reference: &TableReference) -> Result<Arc<dyn TableProvider>> {
        self.provider(reference, false, &BTreeSet::new(), 0).await
    }

    fn query_at_depth<'b>(&'b self, query: &'b Query, depth: usize) -> BoxFuture<'b, Result<Tables>> {
        Box::pin(async move {
            let names = plan::names(query)?;
            let columns = &names.columns;
            let tables = names.tables.iter().map(|(reference, quoted)| async move {
                let provider = Box::pin(self.provider(reference, *quoted, columns, depth));
                Ok::<_, Error>((reference.clone(), provider.await?))
            });
            let calls = names
                .calls
                .iter()
                .map(|call| async move { Ok::<_, Error>((call.clone(), Box::pin(self.pass_through(call)).await?)) });
            let (tables, calls) = tokio::try_join!(try_join_all(tables), try_join_all(calls))?;
            Ok(Tables { tables, calls: HashMap::from_iter(calls) })
        })
    }

    /// `columns` are the names that the query uses for columns: a hidden column is shown if it is among them.
    async fn provider(
        &self,
        reference: &TableReference,
        quoted: bool,
        columns: &BTreeSet<String>,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        let (reference, time) = sql::as_of(reference);
        let target = self.target(&reference, quoted)?;
        let name = target.full_name();
        let sight = self.sight(&name)?;
        let provider = match time {
            Some(time) => Box::pin(self.past(&reference, columns, time)).await?,
            None => self.of_target(target, columns, depth).await?,
        };
        match name.filter(|_| !sight.is_whole()) {
            Some(name) => Box::pin(self.restricted(&name, provider, &sight, depth)).await,
            None => Ok(provider),
        }
    }

    /// What the user sees of it.
    ///
    /// # Errors
    /// 42501 if nothing. Nobody has asked yet whether it is there.
    fn sight(&self, name: &Option<TableName>) -> Result<Sight> {
        let roles = self.engine.access.roles();
        match name {
            Some(name) => roles.sight(&self.user, &Object::table(name)),
            None => roles.check_superuser(&self.user, "read files of this machine").map(|()| Sight::default()),
        }
    }

    /// A table as policies and rights on single columns let it be seen: they become part of the query, and so of what its source
    /// is sent.
    async fn restricted(
        &self,
        name: &TableName,
        provider: Arc<dyn TableProvider>,
        sight: &Sight,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        let text = restricted_text(name, &provider.schema(), sight, &self.user)?;
        let query = query_of(&name.table, &text)?;
        let itself = full_reference(name);
        // What a policy reads, its users need not be allowed to read.
        let others = Self { user: LOCAL.into(), ..*self };
        let names = plan::names(&query)?;
        let mut tables = Tables { tables: Vec::new(), calls: HashMap::new() };
        for (reference, quoted) in &names.tables {
            let provider = match *reference == itself {
                true => Arc::clone(&provider),
                false => Box::pin(others.provider(reference, *quoted, &names.columns, depth + 1)).await?,
            };
            tables.tables.push((reference.clone(), provider));
        }
        let plan = Box::pin(Planner::new(self.engine, self.context).logical(&query, &tables)).await;
        let plan = plan.map_err(|error| error.at(format!("policies of table {name}")))?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }

    async fn of_target(
        &self,
        target: Target,
        columns: &BTreeSet<String>,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        match target {
            // Views stand on views: what one of them needs of the stack is needed many times.
            Target::View(name) => self.view(&name, depth).await,
            Target::Topic { name, latest } => Box::pin(self.topic_table(name, latest, columns)).await,
            Target::System(name) => Box::pin(show::system_table(self.engine, self.catalogs, &name)).await,
            Target::Dataset(name) => Box::pin(self.dataset(name, columns)).await,
            Target::LocalFiles(pattern) => polder_object_store::local_file(self.context, &pattern).await,
        }
    }

    /// A table or topic as it was.
    async fn past(
        &self,
        reference: &TableReference,
        columns: &BTreeSet<String>,
        time: &str,
    ) -> Result<Arc<dyn TableProvider>> {
        match self.target(reference, false)? {
            Target::Dataset(name) if name.catalog.as_str() == POLDER => {
                let id = self.catalogs.tables.get(&name).map(|table| table.id);
                let id = id.ok_or_else(|| no_bare_table(&name.table))?;
                let dataset = past::table(self.engine, self.context, id, &name.table, time).await?;
                let table = SourceTable::new(name, dataset, None);
                Ok(Arc::new(table.hiding(|column| columns.contains(column))))
            }
            Target::Topic { name, latest } => {
                let topic = &self.catalogs.topics[&name];
                let position = past::topic(self.engine, &topic.shards, &name, time).await?;
                // What else the query reads of the topic is as it is now.
                let context = self.context.again();
                let topics = Arc::clone(self.engine.topics().await?);
                topics.read_at(&context, &position);
                let past = Resolver::new(self.engine, self.catalogs, &context);
                past.topic_table(name, latest, columns).await
            }
            Target::Dataset(_) | Target::View(_) | Target::System(_) | Target::LocalFiles(_) => {
                Err(Error::fix(SqlState::NOT_SUPPORTED, format!("\"{reference}\" is not kept as it was"))
                    .with_hint("AS OF is for tables of Polder's own and for topics"))
            }
        }
    }

    async fn topic_table(
        &self,
        name: String,
        latest: bool,
        columns: &BTreeSet<String>,
    ) -> Result<Arc<dyn TableProvider>> {
        let table = if latest { format!("{name}{LATEST}") } else { name };
        let source: Arc<dyn Source> = Arc::clone(self.engine.topics().await?) as _;
        let name = TableName { catalog: CatalogName::new(POLDER), schema: PUBLIC.to_string(), table };
        self.described(&source, name, columns).await
    }

    /// What a name means. A two-part name is a schema of Polder's own catalog, or else a catalog and a table in its default
    /// schema.
    pub(crate) fn target(&self, reference: &TableReference, quoted: bool) -> Result<Target> {
        let (reference, _) = &sql::as_of(reference);
        match reference {
            TableReference::Bare { table } if self.catalogs.views.contains_key(table.as_ref()) => {
                Ok(Target::View(table.to_string()))
            }
            TableReference::Bare { table } if quoted => self.local_files(table),
            TableReference::Bare { table } => self.of_public(table),
            TableReference::Partial { schema, table } => match schema.as_ref() {
                PUBLIC | SYSTEM => self.own(schema, table),
                catalog => {
                    let schema = self.catalogs.get(catalog)?.source(catalog)?.default_schema().to_string();
                    Ok(Target::Dataset(TableName {
                        catalog: CatalogName::new(catalog),
                        schema,
                        table: table.to_string(),
                    }))
                }
            },
            TableReference::Full { catalog, schema, table } if catalog.as_ref() == POLDER => self.own(schema, table),
            TableReference::Full { catalog, schema, table } => Ok(Target::Dataset(TableName {
                catalog: CatalogName::new(catalog.as_ref()),
                schema: schema.to_string(),
                table: table.to_string(),
            })),
        }
    }

    fn own(&self, schema: &str, table: &str) -> Result<Target> {
        match schema {
            PUBLIC if self.catalogs.views.contains_key(table) => Ok(Target::View(table.to_string())),
            PUBLIC => self.of_public(table),
            SYSTEM => Ok(Target::System(table.to_string())),
            _ => Err(Error::fix(SqlState::NO_SCHEMA, format!("schema \"{POLDER}.{schema}\" does not exist"))
                .with_hint(format!("the schemas of {POLDER} are {PUBLIC} and {SYSTEM}"))),
        }
    }

    fn of_public(&self, table: &str) -> Result<Target> {
        let own = self.catalogs.own_table(table).map(Target::Dataset);
        own.or_else(|| self.topic(table)).ok_or_else(|| no_bare_table(table))
    }

    fn topic(&self, table: &str) -> Option<Target> {
        let (name, latest) = match table.strip_suffix(LATEST) {
            Some(name) => (name, true),
            None => (table, false),
        };
        self.catalogs.topics.contains_key(name).then(|| Target::Topic { name: name.to_string(), latest })
    }

    fn local_files(&self, pattern: &str) -> Result<Target> {
        if self.engine.local_files {
            return Ok(Target::LocalFiles(pattern.to_string()));
        }
        Err(Error::fix(
            SqlState::PRIVILEGE,
            format!("'{pattern}' may not be read: files of this machine are closed here"),
        )
        .with_hint("attach the folder: CREATE CATALOG name USING object_store WITH (location = '...')"))
    }

    async fn dataset(&self, name: TableName, columns: &BTreeSet<String>) -> Result<Arc<dyn TableProvider>> {
        let source = self.catalogs.get(name.catalog.as_str())?.source(name.catalog.as_str())?;
        if name.catalog.as_str() == POLDER {
            Box::pin(self.engine.commit.tables()).await?;
        } else if self.catalogs.tables.contains_key(&name) {
            cut::touch(self.context, name.catalog.as_str());
            self.engine.followers.caught_up(name.catalog.as_str(), self.context).await?;
            after::followed(self.engine, name.catalog.as_str(), self.context).await?;
        }
        self.described(source, name, columns).await
    }

    async fn described(
        &self,
        source: &Arc<dyn Source>,
        name: TableName,
        columns: &BTreeSet<String>,
    ) -> Result<Arc<dyn TableProvider>> {
        match source.dataset(self.context, &name.schema, &name.table).await? {
            Some(dataset) => {
                let federation = if self.context.pushdown() { source.federation() } else { None };
                let takes_keys = self.context.pushdown() && source.capabilities().keys;
                let table = SourceTable::new(name, dataset, federation).taking_keys(takes_keys);
                Ok(Arc::new(table.hiding(|column| columns.contains(column))))
            }
            None => Err(self.no_table(source, &name).await),
        }
    }

    /// Looks at what there is, for a hint; a listing that fails gives none.
    async fn no_table(&self, source: &Arc<dyn Source>, name: &TableName) -> Error {
        let error = Error::fix(SqlState::NO_TABLE, format!("table {name} does not exist"));
        let Ok(schemas) = source.schemas(self.context).await else { return error };
        let tables = source.datasets(self.context, &name.schema).await.unwrap_or_default();
        // A schema of the system's own may have tables and not be listed.
        if tables.is_empty() && !schemas.contains(&name.schema) {
            return Error::fix(
                SqlState::NO_SCHEMA,
                format!("schema \"{}\" does not exist in {}", name.schema, name.catalog),
            )
            .with_hint(format!("SHOW SCHEMAS FROM {} lists them", name.catalog));
        }
        match nearest(&tables, &name.table) {
            Some(near) => error.with_hint(format!("did you mean \"{near}\"?")),
            None => error.with_hint(format!("SHOW TABLES FROM {} lists them", name.catalog)),
        }
    }

    async fn view(&self, name: &str, depth: usize) -> Result<Arc<dyn TableProvider>> {
        if depth >= VIEW_DEPTH_MAX {
            return Err(Error::fix(
                SqlState::STATE,
                format!("view \"{name}\" is nested too deeply, or contains itself"),
            ));
        }
        let definition = &self.catalogs.views[name];
        let in_view = |error: Error| error.at(format!("view \"{name}\""));
        let query = query_of(name, &definition.text)?;
        // It reads with the rights of whoever has made it.
        let roles = self.engine.access.roles();
        let owner = roles.owner(&Object::table(&own_table(name))).unwrap_or(LOCAL);
        let owner = Resolver { user: owner.into(), ..*self };
        let tables = owner.query_at_depth(&query, depth + 1).await.map_err(in_view)?;
        let plan = Box::pin(Planner::new(self.engine, self.context).logical(&query, &tables)).await.map_err(in_view)?;
        let plan = plan::with_column_names(plan, &definition.columns).map_err(in_view)?;
        Ok(Arc::new(ViewTable::new(plan, Some(definition.text.clone()))))
    }

    async fn pass_through(&self, call: &PassThroughCall) -> Result<Arc<dyn TableProvider>> {
        let object = Object::Catalog { catalog: call.catalog.clone() };
        self.engine.access.roles().check(&self.user, Privilege::Query, &object)?;
        let source = self.catalogs.get(&call.catalog)?.source(&call.catalog)?;
        let pass_through = source.pass_through().ok_or_else(|| {
            let error = format!("catalog \"{}\" takes no text of its own", call.catalog);
            let error = Error::fix(SqlState::NOT_SUPPORTED, error);
            match self.catalogs.attached.get(&call.catalog).map(|attached| &attached.definition.connector) {
                Some(connector) => error.with_detail(format!("a {connector} catalog has no query language")),
                None => error,
            }
        })?;
        pass_through.query(self.context, &call.text).await
    }
}

fn query_of(view: &str, text: &str) -> Result<Query> {
    match sql::parse(text).map_err(|error| error.at(format!("view \"{view}\"")))? {
        Statement::Query(query) => Ok(query),
        _ => Err(Error::report(format!("view \"{view}\" is not a query"))),
    }
}

/// The query that gives what is seen of a table.
pub(super) fn restricted_text(name: &TableName, schema: &Schema, sight: &Sight, user: &str) -> Result<String> {
    let seen = |column: &&str| sight.columns.as_ref().is_none_or(|columns| columns.contains(*column));
    let column = |column: &str| {
        let quoted = sql::identifier(column);
        match sight.masks.iter().rfind(|(masked, _)| masked == column) {
            Some((_, value)) => format!("({value}) AS {quoted}"),
            None => quoted,
        }
    };
    let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).filter(seen).map(column).collect();
    let from = [name.catalog.as_str(), &name.schema, &name.table].map(sql::identifier).join(".");
    let condition = match &sight.filters {
        None => String::new(),
        Some(filters) if filters.is_empty() => " WHERE false".to_string(),
        Some(filters) => format!(" WHERE ({})", filters.join(") OR (")),
    };
    if columns.is_empty() {
        return Err(denied(format!("permission denied for table {name}: none of its columns may be read")));
    }
    sql::with_current_user(&format!("SELECT {} FROM {from}{condition}", columns.join(", ")), user)
}

fn full_reference(name: &TableName) -> TableReference {
    TableReference::full(name.catalog.as_str(), name.schema.as_str(), name.table.as_str())
}

/// A dotted name as DataFusion has it.
pub(crate) fn reference(name: &Name) -> TableReference {
    match &name.0[..] {
        [table] => TableReference::bare(table.as_str()),
        [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
        [catalog, schema, table] => TableReference::full(catalog.as_str(), schema.as_str(), table.as_str()),
        _ => unreachable!("the parser reads one to three parts"),
    }
}

fn no_bare_table(table: &str) -> Error {
    Error::fix(SqlState::NO_TABLE, format!("table \"{table}\" does not exist"))
        .with_hint("tables of catalogs are named catalog.table or catalog.schema.table; SHOW TABLES lists them")
}

/// A name that differs in case only, or by a letter more or less.
fn nearest<'a>(tables: &'a [DatasetEntry], wanted: &str) -> Option<&'a str> {
    let folded = |name: &str| name.to_lowercase().replace(['_', '-', ' '], "");
    let wanted = folded(wanted);
    let near = |name: &str| {
        let name = folded(name);
        name == wanted || name.strip_suffix('s') == Some(&wanted) || wanted.strip_suffix('s') == Some(&name)
    };
    tables.iter().map(|table| table.name.as_str()).find(|name| near(name))
}
