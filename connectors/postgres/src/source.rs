//! One attached database.

use crate::check;
use crate::connection::Endpoint;
use crate::describe::{self, kind_of};
use crate::options::{PgOptions, SPECS};
use crate::pool::Pool;
use crate::provider::PgTable;
use crate::pushdown::PgFederation;
use crate::query::Verbatim;
use crate::table::{PgColumn, PgRelation};
use async_trait::async_trait;
use polder_catalog::{
    Capabilities, CatalogName, Check, Column, ColumnId, Connector, Dataset, DatasetEntry, DatasetId, Federation,
    OptionSpec, Options, PassThrough, ReadContext, Result, Source, Support,
};
use std::sync::Arc;
use tokio_postgres::types::Type;

/// The connector behind `USING postgres`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresConnector;

#[async_trait]
impl Connector for PostgresConnector {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn doc(&self) -> &'static str {
        "A PostgreSQL database, version 12 or newer."
    }

    fn options(&self) -> &'static [OptionSpec] {
        SPECS
    }

    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>> {
        let options = PgOptions::parse(&options)?;
        let endpoint = Arc::new(Endpoint::new(name.clone(), options));
        Ok(Arc::new(PostgresSource { pool: Pool::new(endpoint) }))
    }
}

/// A database under the name of its catalog. Nothing but connections is kept between statements.
#[derive(Debug)]
struct PostgresSource {
    pool: Arc<Pool>,
}

#[async_trait]
impl Source for PostgresSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            projection: Support::Exact,
            filter: Support::Exact,
            limit: Support::Exact,
            top_n: Support::Exact,
            aggregate: Support::Exact,
            join: Support::Exact,
            keys: true,
            snapshot: true,
            transactions: false,
        }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        let endpoint = self.pool.endpoint();
        self.pool
            .describe(context, async |session| {
                let rows = session.client.query_typed(describe::SCHEMAS, &[]).await;
                let rows = rows.map_err(|error| endpoint.failed(error))?;
                rows.iter().map(|row| row.try_get(0).map_err(|error| endpoint.failed(error))).collect()
            })
            .await
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        if schema.contains('\0') {
            return Ok(Vec::new());
        }
        let endpoint = self.pool.endpoint();
        self.pool
            .describe(context, async |session| {
                let rows = session.client.query_typed(describe::RELATIONS, &[(&schema, Type::TEXT)]).await;
                let rows = rows.map_err(|error| endpoint.failed(error))?;
                rows.iter().map(|row| entry(row).map_err(|error| endpoint.failed(error))).collect()
            })
            .await
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        let endpoint = self.pool.endpoint();
        let described = self
            .pool
            .describe(context, async |session| describe::relation(endpoint, session, schema, table).await)
            .await?;
        Ok(described.map(|relation| self.dataset_of(context, relation)))
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        check::check(&self.pool, context).await
    }

    fn federation(&self) -> Option<Arc<dyn Federation>> {
        Some(Arc::new(PgFederation::new(Arc::clone(&self.pool))))
    }

    fn pass_through(&self) -> Option<Arc<dyn PassThrough>> {
        Some(Arc::new(Verbatim::new(Arc::clone(&self.pool))))
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

impl PostgresSource {
    fn dataset_of(&self, context: &ReadContext, relation: PgRelation) -> Dataset {
        let entry = DatasetEntry {
            id: DatasetId(relation.oid.to_string().into()),
            name: relation.name.clone(),
            kind: relation.kind,
        };
        let columns = relation.columns.iter().map(column).collect();
        let provider = Arc::new(PgTable::new(Arc::clone(&self.pool), context.clone(), Arc::new(relation)));
        Dataset { entry, columns, provider }
    }
}

fn entry(row: &tokio_postgres::Row) -> std::result::Result<DatasetEntry, tokio_postgres::Error> {
    let oid: u32 = row.try_get("oid")?;
    let id = DatasetId(oid.to_string().into());
    Ok(DatasetEntry { id, name: row.try_get("name")?, kind: kind_of(row.try_get("kind")?) })
}

fn column(column: &PgColumn) -> Column {
    Column {
        id: ColumnId(column.attnum.to_string().into()),
        field: Arc::clone(&column.field),
        native_type: column.native_type.clone(),
        note: column.note.clone(),
    }
}
