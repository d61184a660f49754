//! What a statement takes and gives, without running it.

use crate::access::Privilege;
use crate::execute::resolve::Resolver;
use crate::execute::write::{self, Writable};
use crate::execute::{query, show, table};
use crate::plan::{Planner, Shape};
use crate::session::{Description, Session};
use crate::sql::{self, Query, Statement, Types};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::sql::sqlparser::ast::{Expr, SelectItem};
use polder_catalog::{ReadContext, Result};

/// Describes a statement; `given` are types that the client has chosen for parameters.
///
/// # Errors
/// Those of a query's names and expressions. A statement that writes is described as far as that can be done.
pub(crate) async fn describe(
    session: &Session,
    statement: &Statement,
    given: &[Option<DataType>],
) -> Result<Description> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let count = sql::parameter_count(statement)?;
    let mut known = Types::new();
    known.extend(given.iter().enumerate().filter_map(|(at, given)| Some((at, given.clone()?))));
    let describing = Describing { session, context: &context };
    let columns = match statement {
        Statement::Query(query) => {
            let shape = describing.shape(query, count, &known).await?;
            known = shape.parameters;
            Some(shape.columns)
        }
        Statement::Explain { query, .. } => {
            known = describing.shape(query, count, &known).await?.parameters;
            show::columns(statement)
        }
        Statement::Insert { table, columns, query, returning, .. } => {
            let target = write::writable(session, table, &context, &[Privilege::Insert])?;
            sql::assigned_rows(query, |at| target.type_at(columns, at), &mut known);
            // What is wrong with it is told when it is run.
            if let Ok(shape) = describing.shape(query, count, &known).await {
                known.extend(shape.parameters);
            }
            describing.returned(&target, returning, None).await?
        }
        Statement::Update { table, assignments, which, returning } => {
            let target = write::writable(session, table, &context, &[Privilege::Update])?;
            let mut computed = Vec::new();
            for (column, value) in assignments {
                match sql::parameter(value) {
                    Some(at) => known.extend(target.type_of(column).map(|kind| (at, kind))),
                    None => computed.push(value.clone()),
                }
            }
            describing.condition(&target, computed, which, count, &mut known).await;
            describing.returned(&target, returning, which.alias.as_deref()).await?
        }
        Statement::Delete { table, which, returning } => {
            let target = write::writable(session, table, &context, &[Privilege::Delete])?;
            describing.condition(&target, Vec::new(), which, count, &mut known).await;
            describing.returned(&target, returning, which.alias.as_deref()).await?
        }
        other => show::columns(other),
    };
    let parameters = (0..count).map(|at| known.get(&at).cloned()).collect();
    Ok(Description { parameters, columns })
}

struct Describing<'a> {
    session: &'a Session,
    context: &'a ReadContext,
}

impl Describing<'_> {
    /// The columns of a query, and the types of its parameters. A parameter that nothing tells anything about is text, as in
    /// PostgreSQL.
    async fn shape(&self, query: &Query, count: usize, known: &Types) -> Result<Shape> {
        let engine = &self.session.engine.0;
        let catalogs = engine.catalogs();
        let tables = Resolver::new(engine, &catalogs, self.context).query(query).await?;
        let settings = self.session.settings();
        let planner = Planner::new(engine, self.context).with_settings(&settings);
        let known = &mut known.clone();
        sql::limits(query, known);
        self.casts(query, known).await?;
        let planned = planner.shape(&sql::cast_parameters(query, known)?, &tables).await.map(|mut shape| {
            shape.parameters.extend(known.clone());
            shape
        });
        let mut texts = match &planned {
            Ok(shape) if shape.parameters.len() == count => return planned,
            Ok(shape) => shape.parameters.clone(),
            Err(_) if known.len() == count => return planned,
            Err(_) => known.clone(),
        };
        (0..count).for_each(|at| {
            texts.entry(at).or_insert(DataType::Utf8);
        });
        match planner.shape(&sql::cast_parameters(query, &texts)?, &tables).await {
            Ok(shape) => Ok(Shape { parameters: texts, ..shape }),
            Err(_) => planned,
        }
    }

    /// Adds the types that parameters are cast to: a client may send a value in that type's format.
    async fn casts(&self, query: &Query, known: &mut Types) -> Result<()> {
        let casts: Vec<_> = sql::casts(query)?.into_iter().filter(|(at, _)| !known.contains_key(at)).collect();
        if casts.is_empty() {
            return Ok(());
        }
        let (places, types): (Vec<_>, Vec<_>) =
            casts.into_iter().map(|(at, kind)| (at, (format!("${at}"), kind))).unzip();
        let types = table::types_of(self.session, types).await?;
        known.extend(places.into_iter().zip(types.fields().iter().map(|field| field.data_type().clone())));
        Ok(())
    }

    /// Adds what the condition of a statement, and the values that it computes, tell about its parameters.
    async fn condition(
        &self,
        target: &Writable,
        computed: Vec<Expr>,
        which: &sql::Which,
        count: usize,
        known: &mut Types,
    ) {
        let Writable::Table(table) = target else { return };
        let Ok(query) = write::query_of(table, computed, which.clone()) else { return };
        if let Ok(shape) = self.shape(&query, count, known).await {
            known.extend(shape.parameters);
        }
    }

    /// The columns of RETURNING; the statement may call the table by another name.
    async fn returned(
        &self,
        target: &Writable,
        items: &[SelectItem],
        alias: Option<&str>,
    ) -> Result<Option<SchemaRef>> {
        let Writable::Table(table) = target else { return Ok(None) };
        if items.is_empty() {
            return Ok(None);
        }
        let items = write::under_own_name(table, alias, items);
        let (query, tables) = write::returned(table, &items, Vec::new())?;
        let shape = Planner::new(&self.session.engine.0, self.context).shape(&query, &tables).await?;
        Ok(Some(shape.columns))
    }
}
