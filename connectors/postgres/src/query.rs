//! `query('catalog', 'text')`: a text for PostgreSQL, handed over untouched.
//!
//! The text is one statement that can stand inside `COPY (...)`: SELECT, VALUES, TABLE or WITH. It is first prepared on its
//! own, so whatever closes a parenthesis, a comment or a constant inside it is closed inside it, and nothing of it can
//! reach around the COPY. It runs in a read-only transaction, under the query's snapshot, with the role's own search path.

use crate::describe;
use crate::pool::Pool;
use crate::scan::{ScanRequest, scan_query};
use crate::table::PgOutput;
use crate::types::{Reading, Selection};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_common::{Result as DataFusionResult, project_schema};
use datafusion_expr::{Expr, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{Error, PassThrough, ReadContext, Result, SqlState};
use std::collections::HashSet;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Verbatim {
    pool: Arc<Pool>,
}

impl Verbatim {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl PassThrough for Verbatim {
    async fn query(&self, context: &ReadContext, text: &str) -> Result<Arc<dyn TableProvider>> {
        // A semicolon ends a statement in every client, and says nothing to the server.
        let text = text.trim_end().trim_end_matches(';').trim_end();
        let endpoint = self.pool.endpoint();
        let columns = self.pool.describe(context, async |session| self.describe(session, text).await).await?;
        if columns.is_empty() {
            return Err(endpoint.at(Error::fix(SqlState::SYNTAX, "the text returns no rows")
                .with_hint("query() takes one SELECT, VALUES, TABLE or WITH; sources are only read from")));
        }
        let columns = with_unique_names(columns);
        Ok(Arc::new(VerbatimTable {
            pool: Arc::clone(&self.pool),
            context: context.clone(),
            text: text.to_string(),
            schema: Arc::new(arrow::datatypes::Schema::new(
                columns.iter().map(|column| Arc::clone(&column.output.field)).collect::<Vec<_>>(),
            )),
            columns,
        }))
    }
}

/// A result may have two columns of one name, a table may not: the second `b` is named `b_1`.
fn with_unique_names(mut columns: Vec<VerbatimColumn>) -> Vec<VerbatimColumn> {
    let mut taken: HashSet<String> = HashSet::new();
    for column in &mut columns {
        let name = column.output.field.name().clone();
        let numbered = (1..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|candidate| !taken.contains(candidate));
        let free = free.expect("there are more numbers than columns");
        if free != name {
            column.output.field = Arc::new(column.output.field.as_ref().clone().with_name(&free));
        }
        taken.insert(free);
    }
    columns
}

/// A column of the text's result.
#[derive(Clone, Debug)]
struct VerbatimColumn {
    output: PgOutput,
    selection: Selection,
}

impl Verbatim {
    /// What the text returns. Nothing of it is run.
    async fn describe(&self, session: &mut crate::connection::Session, text: &str) -> Result<Vec<VerbatimColumn>> {
        let endpoint = self.pool.endpoint();
        let client = &session.client;
        let failed = |error| endpoint.failed(error);
        if text.contains('\0') {
            return Err(endpoint.at(Error::fix(SqlState::CHARACTER, "the text holds a NUL, which PostgreSQL has not")));
        }
        client.batch_execute("BEGIN READ ONLY; SET LOCAL search_path TO DEFAULT").await.map_err(failed)?;
        let prepared = client.prepare(text).await;
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
        let prepared = prepared.map_err(failed)?;
        if !prepared.params().is_empty() {
            return Err(endpoint.at(Error::fix(SqlState::SYNTAX, "the text has parameters")
                .with_hint("write the values in place of $1, $2")));
        }
        let oids: Vec<u32> = prepared.columns().iter().map(|column| column.type_().oid()).collect();
        let rows =
            client.query_typed(describe::TYPES_OF_OIDS, &[(&oids, tokio_postgres::types::Type::OID_ARRAY)]).await;
        let types = describe::read_types(&rows.map_err(failed)?).map_err(failed)?;
        let rules = endpoint.options.rules;
        let columns = prepared.columns().iter().map(|column| {
            let pg_type = describe::resolve(&types, column.type_().oid(), column.type_().name());
            let reading = Reading::of(column.name(), &pg_type, column.type_modifier(), true, None, rules);
            VerbatimColumn {
                output: PgOutput { field: reading.field, wire: reading.wire },
                selection: reading.selection,
            }
        });
        Ok(columns.collect())
    }
}

/// The text as a table.
#[derive(Debug)]
struct VerbatimTable {
    pool: Arc<Pool>,
    context: ReadContext,
    text: String,
    columns: Vec<VerbatimColumn>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for VerbatimTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // Checks the indices.
        project_schema(&self.schema, projection)?;
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let outputs = wanted.iter().map(|index| self.columns[*index].output.clone()).collect();
        let request =
            ScanRequest { verbatim: true, ..ScanRequest::query(self.select(wanted, *wanted == all), outputs) };
        Ok(scan_query(&self.pool, &self.context, request))
    }
}

impl VerbatimTable {
    /// The text itself if it serves as it is; else a selection from it, with columns by position, since a result may have
    /// two of one name.
    fn select(&self, wanted: &[usize], is_all: bool) -> String {
        if is_all && self.columns.iter().all(|column| column.selection == Selection::AsIs) {
            return self.text.clone();
        }
        let names: Vec<String> = (0..self.columns.len()).map(|index| format!("c{index}")).collect();
        let items: Vec<String> = wanted
            .iter()
            .map(|index| match self.columns[*index].selection {
                Selection::AsIs => format!("c{index}"),
                Selection::Text => format!("c{index}::pg_catalog.text"),
                Selection::TextArray => format!("c{index}::pg_catalog.text[]"),
                Selection::Printed => format!("pg_catalog.textin(pg_catalog.inet_out(c{index}))"),
                Selection::PrintedArray => {
                    format!("pg_catalog.textin(pg_catalog.array_out(c{index}))::pg_catalog.text[]")
                }
            })
            .collect();
        // The line break ends a comment that the text may end with.
        format!("SELECT {} FROM ({}\n) AS polder ({})", items.join(", "), self.text, names.join(", "))
    }
}
