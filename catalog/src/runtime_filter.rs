//! Runtime filters: what a query finds out about the rows it still wants while it runs.
//!
//! A hash join knows the keys of its smaller side before it asks for the first row of the other. DataFusion hands them down
//! as a filter that is filled in while the query runs (its *dynamic filter*). Here that filter is read as plain
//! [`Keys`], which a source can be asked for: `id = ANY(...)`, the terms of an index, the shard of a key.
//!
//! What is read is never narrower than the filter, so a source that is asked for these keys sends every row that the join can
//! use. It may send more: the join checks each row itself.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, DynamicFilterTracking, InListExpr, Literal,
};
use datafusion_physical_expr::utils::collect_columns;
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The runtime filters of one scan, over the columns of its schema.
///
/// # Promises
/// 1. [`wanted`](Self::wanted) holds at least the rows that pass the filters, at any time.
/// 2. It never waits. Before a join has its keys, all rows are wanted; a scan that asks at its first poll asks late enough.
#[derive(Clone)]
pub struct RuntimeFilters {
    filters: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

/// The rows that a query wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// None: there is nothing on the other side of the join.
    Nothing,
    /// Those whose columns satisfy all of these; every row if there are none.
    Rows(Vec<Keys>),
}

/// What one column must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The column's place in the scan's schema.
    pub column: usize,
    /// Its values, each once, none NULL, if they are few enough to be known one by one.
    pub values: Option<Vec<ScalarValue>>,
    /// The least value, included.
    pub low: Option<ScalarValue>,
    /// The greatest value, included.
    pub high: Option<ScalarValue>,
}

impl RuntimeFilters {
    /// Filters over the columns of `schema`.
    pub fn new(filters: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Self {
        Self { filters, schema }
    }

    /// Whether some of a filter is filled in while the query runs.
    pub(crate) fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
        DynamicFilterTracking::classify(filter).contains_dynamic_filter()
    }

    /// The names of the columns that they are about.
    pub fn columns(&self) -> Vec<String> {
        let columns: BTreeSet<_> = self.filters.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        let field = |index: usize| self.schema.fields().get(index).map(|field| field.name().clone());
        columns.into_iter().filter_map(field).collect()
    }

    /// What the filters read, as DataFusion knows them.
    pub(crate) fn expressions(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.filters
    }

    /// What is wanted as far as it is known now.
    ///
    /// # Errors
    /// DataFusion's, if a filter does not fit its columns.
    pub fn wanted(&self) -> Result<Wanted> {
        let mut all = Domain::all();
        for filter in &self.filters {
            all = all.and(self.domain(filter)?);
        }
        let Domain::Columns(columns) = all else { return Ok(Wanted::Nothing) };
        let keys = columns.into_iter().map(|(column, Bounds { values, low, high })| Keys { column, values, low, high });
        Ok(Wanted::Rows(keys.collect()))
    }

    fn domain(&self, filter: &Arc<dyn PhysicalExpr>) -> Result<Domain> {
        if let Some(dynamic) = filter.downcast_ref::<DynamicFilterPhysicalExpr>() {
            return self.domain(&dynamic.current()?);
        }
        if let Some(literal) = filter.downcast_ref::<Literal>() {
            return Ok(match literal.value() {
                ScalarValue::Boolean(Some(true)) => Domain::all(),
                ScalarValue::Boolean(_) => Domain::Nothing,
                _ => Domain::all(),
            });
        }
        if let Some(binary) = filter.downcast_ref::<BinaryExpr>() {
            return self.binary(binary);
        }
        if let Some(list) = filter.downcast_ref::<InListExpr>().filter(|list| !list.negated()) {
            return Ok(self.in_list(list));
        }
        // `CASE hash % n WHEN 0 THEN ... WHEN 1 THEN ...`: a row is in one of the parts of the join.
        if let Some(case) = filter.downcast_ref::<CaseExpr>() {
            let mut any = case.else_expr().map_or(Ok(Domain::Nothing), |part| self.domain(part))?;
            for (_, part) in case.when_then_expr() {
                any = any.or(self.domain(part)?);
            }
            return Ok(any);
        }
        Ok(Domain::all())
    }

    fn binary(&self, binary: &BinaryExpr) -> Result<Domain> {
        match binary.op() {
            Operator::And => Ok(self.domain(binary.left())?.and(self.domain(binary.right())?)),
            Operator::Or => Ok(self.domain(binary.left())?.or(self.domain(binary.right())?)),
            operator => Ok(self.comparison(binary, *operator).unwrap_or_else(Domain::all)),
        }
    }

    /// `column operator constant`; a strict bound counts as one that is included.
    fn comparison(&self, binary: &BinaryExpr, operator: Operator) -> Option<Domain> {
        let constant = binary.right().downcast_ref::<Literal>()?.value();
        let (column, of) = self.column(binary.left())?;
        let bound = narrowed(constant, of)?;
        let bounds = match operator {
            Operator::Eq => Bounds { values: Some(vec![bound]), ..Bounds::default() },
            Operator::Gt | Operator::GtEq => Bounds { low: Some(bound), ..Bounds::default() },
            Operator::Lt | Operator::LtEq => Bounds { high: Some(bound), ..Bounds::default() },
            _ => return None,
        };
        Some(Domain::column(column, bounds))
    }

    /// `column IN (constants)`, or `struct(columns) IN (constants)`, which a join of several keys makes.
    fn in_list(&self, list: &InListExpr) -> Domain {
        let constants = list.list().iter().map(|item| Some(item.downcast_ref::<Literal>()?.value()));
        let Some(constants) = constants.collect::<Option<Vec<_>>>() else { return Domain::all() };
        if let Some((column, of)) = self.column(list.expr()) {
            return Domain::one_of(column, of, constants.into_iter().cloned());
        }
        let Some(function) = list.expr().downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == "struct")
        else {
            return Domain::all();
        };
        let mut all = Domain::all();
        for (field, argument) in function.args().iter().enumerate() {
            let values = constants.iter().map(|constant| match constant {
                ScalarValue::Struct(row) => ScalarValue::try_from_array(row.column(field), 0).ok(),
                _ => None,
            });
            let values = values.collect::<Option<Vec<_>>>();
            if let Some(((column, of), values)) = self.column(argument).zip(values) {
                all = all.and(Domain::one_of(column, of, values.into_iter()));
            }
        }
        all
    }

    /// A column as it is or in a type that has a place for each of its values, and the column's own type.
    fn column(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<(usize, &DataType)> {
        let (inner, to) = match expr.downcast_ref::<CastExpr>() {
            Some(cast) => (cast.expr(), Some(cast.cast_type())),
            None => (expr, None),
        };
        let column = inner.downcast_ref::<Column>()?.index();
        let of = self.schema.fields().get(column)?.data_type();
        to.is_none_or(|to| is_widening(of, to)).then_some((column, of))
    }
}

impl fmt::Display for Keys {
    /// For people: at most five values, and how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        match (&self.values, &self.low, &self.high) {
            (Some(values), ..) => {
                let shown = values.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let more = if values.len() > SHOWN { ", ..." } else { "" };
                write!(f, "one of {} ({shown}{more})", values.len())
            }
            (None, Some(low), Some(high)) => write!(f, "between {low} and {high}"),
            (None, Some(low), None) => write!(f, "at least {low}"),
            (None, None, Some(high)) => write!(f, "at most {high}"),
            (None, None, None) => write!(f, "anything"),
        }
    }
}

impl fmt::Debug for RuntimeFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.filters.iter().map(ToString::to_string)).finish()
    }
}

/// Whether a cast keeps all values apart and in their order.
fn is_widening(from: &DataType, to: &DataType) -> bool {
    let width = |integer: &DataType| integer.primitive_width().unwrap_or_default();
    from == to
        || (from.is_string() && to.is_string())
        || (from.is_signed_integer() && to.is_signed_integer() && width(from) <= width(to))
        || (from.is_unsigned_integer() && to.is_unsigned_integer() && width(from) <= width(to))
        || (from.is_unsigned_integer() && to.is_signed_integer() && width(from) < width(to))
}

/// The value in the column's own type; `None` if that type has no place for it.
fn narrowed(value: &ScalarValue, to: &DataType) -> Option<ScalarValue> {
    let narrow = value.cast_to(to).ok().filter(|narrow| !narrow.is_null())?;
    (narrow.cast_to(&value.data_type()).ok()? == *value).then_some(narrow)
}

/// The rows that pass a filter, as far as single columns tell.
#[derive(Clone, Debug)]
enum Domain {
    Nothing,
    /// Bounds of some columns; the others are free.
    Columns(BTreeMap<usize, Bounds>),
}

#[derive(Clone, Debug, Default)]
struct Bounds {
    values: Option<Vec<ScalarValue>>,
    low: Option<ScalarValue>,
    high: Option<ScalarValue>,
}

impl Domain {
    fn all() -> Self {
        Self::Columns(BTreeMap::new())
    }

    fn column(column: usize, bounds: Bounds) -> Self {
        Self::Columns(BTreeMap::from([(column, bounds)]))
    }

    /// NULL equals nothing, and what the column's type has no place for is not in it.
    fn one_of(column: usize, of: &DataType, values: impl Iterator<Item = ScalarValue>) -> Self {
        let mut seen = HashSet::new();
        let values = values.filter_map(|value| narrowed(&value, of)).filter(|value| seen.insert(value.clone()));
        let values: Vec<_> = values.collect();
        if values.is_empty() {
            return Self::Nothing;
        }
        Self::column(column, Bounds { values: Some(values), ..Bounds::default() })
    }

    fn and(self, other: Self) -> Self {
        let (Self::Columns(mut columns), Self::Columns(others)) = (self, other) else { return Self::Nothing };
        for (column, bounds) in others {
            let both = match columns.remove(&column) {
                Some(own) => own.and(bounds),
                None => bounds,
            };
            if both.values.as_ref().is_some_and(Vec::is_empty) {
                return Self::Nothing;
            }
            columns.insert(column, both);
        }
        Self::Columns(columns)
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (Self::Columns(columns), Self::Columns(mut others)) => {
                // A column that one side leaves free is free.
                let both =
                    columns.into_iter().filter_map(|(column, own)| Some((column, own.or(others.remove(&column)?))));
                Self::Columns(both.filter(|(_, bounds)| !bounds.is_free()).collect())
            }
        }
    }
}

impl Bounds {
    fn is_free(&self) -> bool {
        self.values.is_none() && self.low.is_none() && self.high.is_none()
    }

    fn and(self, other: Self) -> Self {
        let values = match (self.values, other.values) {
            (Some(own), Some(others)) => {
                let others: HashSet<_> = others.into_iter().collect();
                Some(own.into_iter().filter(|value| others.contains(value)).collect())
            }
            (own, others) => own.or(others),
        };
        Self { values, low: tighter(self.low, other.low, true), high: tighter(self.high, other.high, false) }
    }

    fn or(self, other: Self) -> Self {
        let values = self.values.zip(other.values).map(|(own, others)| {
            let mut seen: HashSet<_> = own.iter().cloned().collect();
            own.into_iter().chain(others.into_iter().filter(|value| seen.insert(value.clone()))).collect()
        });
        Self { values, low: looser(self.low, other.low, true), high: looser(self.high, other.high, false) }
    }
}

/// The bound that leaves less, of those there are. Bounds that cannot be compared leave the first.
fn tighter(one: Option<ScalarValue>, other: Option<ScalarValue>, low: bool) -> Option<ScalarValue> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let is_other = one.partial_cmp(&other).is_some_and(|order| if low { order.is_lt() } else { order.is_gt() });
            Some(if is_other { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

/// The bound that leaves more; none if one side has none, or they cannot be compared.
fn looser(one: Option<ScalarValue>, other: Option<ScalarValue>, low: bool) -> Option<ScalarValue> {
    let (one, other) = one.zip(other)?;
    let order = one.partial_cmp(&other)?;
    Some(if (low && order.is_gt()) || (!low && order.is_lt()) { other } else { one })
}
