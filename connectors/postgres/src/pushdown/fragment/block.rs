//! A SELECT under construction, and the values of its columns.

use crate::pushdown::ast::{Expr as Sql, From, Item, Name, OrderBy, Query, Type};
use crate::pushdown::expr::{Scope, translate};
use crate::pushdown::reason;
use crate::pushdown::typed::{self, Collation, Kind, Typed, pg_type};
use crate::table::{PgOutput, PgRelation};
use crate::types::Wire;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::Expr;
use polder_catalog::Reason;
use std::sync::Arc;

/// A SELECT that can still take more.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) from: From,
    pub(crate) filters: Vec<Sql>,
    pub(crate) values: Vec<Value>,
    pub(crate) group_by: Option<Vec<Sql>>,
    pub(crate) order_by: Vec<OrderBy>,
    pub(crate) limit: Option<u64>,
}

/// One column of a block.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    raw: Sql,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    /// A column of a table, as it is.
    Column(Arc<PgRelation>, usize),
    /// An expression, in the type of PostgreSQL that is read back as this one.
    Computed(DataType, Kind),
}

impl Block {
    pub(crate) fn new(from: From, values: Vec<Value>) -> Self {
        Self { from, filters: Vec::new(), values, group_by: None, order_by: Vec::new(), limit: None }
    }

    /// Whether a filter, join or aggregate on top would see other rows if it were added to this SELECT.
    pub(crate) fn is_closed(&self) -> bool {
        self.group_by.is_some() || self.limit.is_some()
    }

    /// This block as a derived table.
    pub(crate) fn nested(self, alias: Name) -> Self {
        let column = |index| Sql::Column { table: Some(alias.clone()), column: Name::column(index) };
        let values = self.values.iter().enumerate().map(|(index, value)| value.outside(column(index))).collect();
        let items = self
            .values
            .iter()
            .enumerate()
            .map(|(index, value)| Item { expr: value.raw.clone(), alias: Some(Name::column(index)) });
        let query = Box::new(self.query(items.collect()));
        Self::new(From::Query { query, alias }, values)
    }

    /// The finished query, and what its columns are. `fields` are those of the fragment's schema.
    pub(crate) fn finish(&self, fields: &[FieldRef]) -> Result<(Query, Vec<PgOutput>), Reason> {
        let mut items = Vec::with_capacity(self.values.len());
        let mut outputs = Vec::with_capacity(self.values.len());
        for (index, (value, field)) in self.values.iter().zip(fields).enumerate() {
            items.push(Item { expr: value.selected(), alias: None });
            let field = Arc::new(field.as_ref().clone().with_name(format!("c{index}")));
            outputs.push(PgOutput { wire: value.wire(field.data_type())?, field });
        }
        Ok((self.query(items), outputs))
    }

    fn query(&self, items: Vec<Item>) -> Query {
        Query {
            items,
            from: self.from.clone(),
            filter: Sql::all(self.filters.iter().cloned()),
            group_by: self.group_by.clone(),
            order_by: self.order_by.clone(),
            limit: self.limit,
        }
    }
}

impl Value {
    /// A column of a table under its alias.
    pub(crate) fn column(alias: &Name, relation: &Arc<PgRelation>, index: usize) -> Self {
        let column = Name::of_server(&relation.columns[index].name);
        let raw = Sql::Column { table: Some(alias.clone()), column };
        Self { raw, origin: Origin::Column(Arc::clone(relation), index) }
    }

    /// The result of an expression, cast to the type that is read.
    pub(crate) fn computed(typed: Typed) -> Result<Self, Reason> {
        let Some(to) = pg_type(&typed.data_type).filter(|_| Wire::of(&typed.data_type).is_some()) else {
            return Err(reason::type_(format!("a result of type {} cannot be read", typed.data_type)));
        };
        let (expr, kind) = match typed.kind {
            Kind::Opaque | Kind::Null => return Err(reason::type_("a result without an exact counterpart")),
            Kind::Label => (typed.expr.cast(Type::Text), Kind::Text(Collation::Deterministic)),
            Kind::Integer(_) | Kind::Float if !is_cast_to(&typed.expr, &to) => (typed.expr.cast(to), typed.kind),
            kind => (typed.expr, kind),
        };
        Ok(Self { raw: expr, origin: Origin::Computed(typed.data_type, kind) })
    }

    /// The value as expressions see it.
    pub(crate) fn typed(&self) -> Result<Typed, Reason> {
        match &self.origin {
            Origin::Column(relation, index) => {
                typed::column(self.raw.clone(), &relation.columns[*index], relation.rules)
            }
            Origin::Computed(data_type, kind) => Ok(Typed::new(self.raw.clone(), data_type.clone(), *kind)),
        }
    }

    /// The same value, seen from outside the derived table that holds it.
    fn outside(&self, raw: Sql) -> Self {
        let origin = match &self.origin {
            // A constant in a derived table has the database's collation.
            Origin::Computed(data_type, Kind::Text(Collation::Constant)) => {
                Origin::Computed(data_type.clone(), Kind::Text(Collation::Deterministic))
            }
            other => other.clone(),
        };
        Self { raw, origin }
    }

    /// Whether statistics say that no two rows share the value.
    pub(crate) fn is_unique(&self) -> bool {
        match &self.origin {
            Origin::Column(relation, index) => {
                relation.columns[*index].statistics.distinct.is_some_and(|distinct| distinct <= -0.999)
            }
            Origin::Computed(..) => false,
        }
    }

    fn selected(&self) -> Sql {
        match &self.origin {
            Origin::Column(relation, index) => typed::selected(self.raw.clone(), &relation.columns[*index]),
            Origin::Computed(..) => self.raw.clone(),
        }
    }

    fn wire(&self, expected: &DataType) -> Result<Wire, Reason> {
        let (data_type, wire) = match &self.origin {
            Origin::Column(relation, index) => {
                let column = &relation.columns[*index];
                (column.field.data_type(), Some(column.wire.clone()))
            }
            Origin::Computed(data_type, _) => (data_type, Wire::of(data_type)),
        };
        let cannot = || reason::type_(format!("a result of type {data_type} cannot be read as {expected}"));
        wire.filter(|_| data_type == expected).ok_or_else(cannot)
    }
}

fn is_cast_to(expr: &Sql, to: &Type) -> bool {
    matches!(expr, Sql::Cast(_, cast) if cast == to)
}

/// The columns of a block, by the schema of the plan that it stands for.
pub(crate) struct Columns<'a> {
    pub(crate) schema: &'a DFSchema,
    pub(crate) values: &'a [Value],
}

impl Columns<'_> {
    /// The value of an expression; a mere column keeps whatever type it has.
    pub(crate) fn value(&self, expr: &Expr) -> Result<Value, Reason> {
        match expr {
            Expr::Alias(alias) => self.value(&alias.expr),
            Expr::Column(column) => Ok(self.found(column)?.clone()),
            other => Value::computed(translate(other, self)?),
        }
    }

    /// The value of a group's key: one that PostgreSQL tells apart as we do.
    pub(crate) fn key(&self, expr: &Expr) -> Result<(Sql, Value), Reason> {
        let value = self.value(expr)?;
        let typed = value.typed()?;
        let value = match typed.kind {
            Kind::Opaque | Kind::Null => return Err(reason::type_("its type has no equality that both sides know")),
            // Of 0 and -0, which are equal, the group is called 0 here; adding 0 makes it so there.
            Kind::Float => {
                let to = pg_type(&typed.data_type).expect("a float has a counterpart");
                let zero = Sql::typed("0", to);
                let expr = typed.expr.clone().binary(crate::pushdown::ast::Operator::Plus, zero);
                Value::computed(Typed { expr, ..typed })?
            }
            Kind::Text(Collation::Mixed) => Value::computed(Typed {
                expr: typed.expr.clone().collate_c(),
                kind: Kind::Text(Collation::C),
                ..typed
            })?,
            _ if typed.expr != value.raw => Value::computed(typed)?,
            _ => value,
        };
        Ok((value.raw.clone(), value))
    }

    fn found(&self, column: &Column) -> Result<&Value, Reason> {
        let index = self.schema.maybe_index_of_column(column);
        index.map(|index| &self.values[index]).ok_or_else(|| reason::lacks(format!("there is no column {column}")))
    }
}

impl Scope for Columns<'_> {
    fn resolve(&self, column: &Column) -> Result<Typed, Reason> {
        self.found(column)?.typed()
    }
}
