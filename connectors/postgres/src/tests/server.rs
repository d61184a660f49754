//! One server for all tests of the crate, a database for each, and a small engine over the source.

use crate::PostgresConnector;
use arrow::record_batch::RecordBatch;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use polder_catalog::{
    CatalogName, Connector, Error, Options, Principal, QueryId, ReadContext, ReadContextBuilder, Result, Source,
};
use polder_testing::Postgres;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);
static COUNTER: AtomicUsize = AtomicUsize::new(0);

/// A database of a test's own.
pub(super) struct Database {
    pub(super) name: String,
    pub(super) url: String,
}

impl Database {
    pub(super) fn create() -> Self {
        let name = format!("db{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let url = SERVER.create_database(&name);
        Self { name, url }
    }

    /// One in another encoding than UTF-8.
    pub(super) fn create_in(encoding: &str) -> Self {
        let name = format!("db{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        SERVER.psql(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        ));
        Self { url: SERVER.url_of(&name), name }
    }

    /// Runs SQL past the connector.
    pub(super) fn psql(&self, sql: &str) -> String {
        SERVER.psql_in(&self.name, sql)
    }

    pub(super) fn server(&self) -> &'static Postgres {
        &SERVER
    }

    /// Ends the sessions that are in a query, as an administrator would, and says how many.
    pub(super) fn terminate(&self) -> String {
        self.psql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name LIKE 'polder: %'",
        )
    }

    pub(super) async fn attach(&self, options: &[(&str, &str)]) -> Arc<dyn Source> {
        self.attach_as("shop", options).await
    }

    pub(super) async fn attach_as(&self, name: &str, options: &[(&str, &str)]) -> Arc<dyn Source> {
        let mut given = vec![("url", self.url.as_str())];
        given.extend_from_slice(options);
        attach_as(name, &given).await.expect("the options are right")
    }

    /// How many sessions of this query's name run something right now.
    pub(super) fn running(&self) -> String {
        self.psql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                 AND application_name LIKE 'polder:%'",
        )
    }
}

pub(super) async fn attach(options: &[(&str, &str)]) -> Result<Arc<dyn Source>> {
    attach_as("shop", options).await
}

async fn attach_as(name: &str, options: &[(&str, &str)]) -> Result<Arc<dyn Source>> {
    let given = options.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let options = Options::validate(PostgresConnector.options(), given)?;
    PostgresConnector.attach(&CatalogName::new(name), options).await
}

pub(super) fn context() -> ReadContext {
    context_of(1)
}

pub(super) fn context_of(partitions: usize) -> ReadContext {
    building().partitions(partitions).build()
}

pub(super) fn context_with_pushdown(pushdown: bool) -> ReadContext {
    building().pushdown(pushdown).build()
}

/// The context of a query with an id of its own.
pub(super) fn building() -> ReadContextBuilder {
    let id = format!("q{}", COUNTER.fetch_add(1, Ordering::Relaxed));
    ReadContext::builder(QueryId(id.into()), Principal("test".into()))
}

/// Runs `sql` over the tables of schema `public` that it names.
pub(super) async fn run(
    source: &Arc<dyn Source>,
    context: &ReadContext,
    tables: &[&str],
    sql: &str,
) -> Result<Vec<RecordBatch>> {
    let session = session(source, context, tables).await?;
    let frame = session.sql(sql).await.map_err(Error::from_datafusion)?;
    frame.collect().await.map_err(Error::from_datafusion)
}

pub(super) async fn session(
    source: &Arc<dyn Source>,
    context: &ReadContext,
    tables: &[&str],
) -> Result<SessionContext> {
    session_on(source, context, tables, Arc::default()).await
}

/// A session with a memory pool and disk of its own.
pub(super) async fn session_on(
    source: &Arc<dyn Source>,
    context: &ReadContext,
    tables: &[&str],
    runtime: Arc<RuntimeEnv>,
) -> Result<SessionContext> {
    let config = SessionConfig::new().with_target_partitions(context.partitions());
    let session = SessionContext::new_with_config_rt(config, runtime);
    for name in tables {
        let dataset = source.dataset(context, "public", name).await?.expect("the table exists");
        let reference = datafusion::common::TableReference::bare(*name);
        session.register_table(reference, dataset.provider).map_err(Error::from_datafusion)?;
    }
    Ok(session)
}

/// The first column of the only row, as text.
pub(super) fn scalar(batches: &[RecordBatch]) -> String {
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).expect("there is a row");
    arrow::util::display::array_value_to_string(batch.column(0), 0).expect("the value prints")
}
