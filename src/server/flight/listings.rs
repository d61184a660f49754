//! What there is: catalogs, schemas, tables and their columns, as the statements SHOW tell it.

use super::Server;
use super::encode::unwritable;
use crate::session::{Outcome, Session};
use crate::sql::identifier;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Schema;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetTablesBuilder};
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use futures::StreamExt;
use polder_catalog::Result;
use std::sync::Arc;

/// Tables whose columns are asked for at once.
const ASKED_AT_ONCE: usize = 4;
/// What a table can be.
const TABLE_TYPES: [&str; 4] = ["SYSTEM TABLE", "TABLE", "TOPIC", "VIEW"];

/// A line of a listing.
type Line = Vec<Option<String>>;

impl Server {
    pub(super) async fn catalogs(&self, session: &Arc<Session>) -> Result<RecordBatch> {
        let mut catalogs = GetCatalogsBuilder::new();
        for name in self.catalog_names(session).await? {
            catalogs.append(name);
        }
        catalogs.build().map_err(unwritable)
    }

    /// A source that is down has no schemas now, unless it is the one that is asked.
    pub(super) async fn schemas(&self, session: &Arc<Session>, command: CommandGetDbSchemas) -> Result<RecordBatch> {
        let wanted = command.catalog.clone();
        let mut schemas = command.into_builder();
        for catalog in self.catalog_names(session).await? {
            if wanted.as_ref().is_some_and(|wanted| *wanted != catalog) {
                continue;
            }
            let listing = self.lines(session, format!("SHOW SCHEMAS FROM {}", identifier(&catalog))).await;
            match listing {
                Ok(lines) => lines.iter().filter_map(|line| line[1].as_ref()).for_each(|schema| {
                    schemas.append(&catalog, schema);
                }),
                Err(error) if wanted.is_some() => return Err(error),
                Err(error) => tracing::warn!(%catalog, %error, "a catalog was left out of a listing"),
            }
        }
        schemas.build().map_err(unwritable)
    }

    /// The names are filtered first: columns are asked for those alone that are left.
    pub(super) async fn tables(&self, session: &Arc<Session>, command: CommandGetTables) -> Result<RecordBatch> {
        let (catalog, include_schema) = (command.catalog.clone(), command.include_schema);
        let command = CommandGetTables { include_schema: false, ..command };
        let mut names = command.into_builder();
        let lines = match catalog {
            Some(catalog) if catalog.is_empty() => Vec::new(),
            Some(catalog) => self.lines(session, format!("SHOW TABLES FROM {}", identifier(&catalog))).await?,
            None => self.lines(session, "SHOW TABLES".to_string()).await?,
        };
        for line in lines {
            // A source that is down has a line without a table.
            if let [Some(catalog), Some(schema), Some(table), Some(kind)] = &line[..] {
                names.append(catalog, schema, table, kind.to_uppercase(), &Schema::empty()).map_err(unwritable)?;
            }
        }
        let names = names.build().map_err(unwritable)?;
        if include_schema { self.with_columns(session, &names).await } else { Ok(names) }
    }

    async fn with_columns(&self, session: &Arc<Session>, names: &RecordBatch) -> Result<RecordBatch> {
        let texts: Vec<_> = names.columns().iter().map(|column| column.as_string::<i32>()).collect();
        let lines: Vec<[String; 4]> =
            (0..names.num_rows()).map(|row| [0, 1, 2, 3].map(|at| texts[at].value(row).to_string())).collect();
        let mut asked = Vec::new();
        for [catalog, schema, table, _] in &lines {
            asked.push(self.columns(session, [catalog, schema, table]));
        }
        let columns: Vec<_> = futures::stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await;
        let none = None::<String>;
        let mut tables = GetTablesBuilder::new(none.clone(), none.clone(), none, Vec::<String>::new(), true);
        for ([catalog, schema, table, kind], columns) in lines.iter().zip(columns) {
            tables.append(catalog, schema, table, kind, &columns).map_err(unwritable)?;
        }
        tables.build().map_err(unwritable)
    }

    /// The columns of a table; none of one that cannot be read now.
    async fn columns(&self, session: &Arc<Session>, name: [&str; 3]) -> Arc<Schema> {
        let name = name.map(identifier).join(".");
        let described = async {
            let prepared = Arc::new(session.prepare(&format!("SELECT * FROM {name}"))?);
            self.describe(session, prepared).await
        };
        match described.await {
            Ok(described) => described.columns.unwrap_or_else(|| Arc::new(Schema::empty())),
            Err(error) => {
                tracing::warn!(table = %name, %error, "the columns of a table were left out of a listing");
                Arc::new(Schema::empty())
            }
        }
    }

    async fn catalog_names(&self, session: &Arc<Session>) -> Result<Vec<String>> {
        let lines = self.lines(session, "SHOW CATALOGS".to_string()).await?;
        Ok(lines.into_iter().filter_map(|line| line.into_iter().next().flatten()).collect())
    }

    /// A listing, all of whose columns are text.
    async fn lines(&self, session: &Arc<Session>, sql: String) -> Result<Vec<Line>> {
        let prepared = Arc::new(session.prepare(&sql)?);
        let Outcome::Rows(rows) = self.run(session, prepared, Vec::new()).await? else { return Ok(Vec::new()) };
        let batches = self.work(rows.collect()).await?;
        let line = |batch: &RecordBatch, row: usize| {
            let value = |column: &ArrayRef| {
                let texts = column.as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_string())
            };
            batch.columns().iter().map(value).collect()
        };
        Ok(batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| line(batch, row))).collect())
    }
}

pub(super) fn table_types() -> Result<RecordBatch> {
    let mut types = CommandGetTableTypes {}.into_builder();
    TABLE_TYPES.iter().for_each(|kind| types.append(kind));
    types.build().map_err(unwritable)
}
