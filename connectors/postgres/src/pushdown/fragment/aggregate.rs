//! Aggregates whose result is the same value on both sides, not merely close.
//!
//! Sums of floats stay local (their result depends on the order of addition, and PostgreSQL raises an error where it
//! overflows), and so do their extremes (with NaN, DataFusion's depend on the order too).

use super::block::{Block, Columns, Value};
use crate::pushdown::ast::{Expr as Sql, Literal, Operator, Type};
use crate::pushdown::expr::{condition, translate as expression};
use crate::pushdown::reason;
use crate::pushdown::typed::{Bounds, Collation, Kind, Typed, pg_type};
use arrow::datatypes::{DataType, i256};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{AggregateFunction, Cast};
use datafusion_expr::{Aggregate, Expr};
use polder_catalog::Reason;

/// Every aggregate that is ever pushed. A test compares it with what the generated queries covered.
pub(crate) const NAMES: &[&str] = &["avg", "bool_and", "bool_or", "count", "max", "min", "sum"];

/// Adds the aggregate to an open block.
pub(super) fn translate(aggregate: &Aggregate, input: Block) -> Result<Block, Reason> {
    let columns = Columns { schema: aggregate.input.schema(), values: &input.values };
    let mut keys = Vec::with_capacity(aggregate.group_expr.len());
    let mut values = Vec::with_capacity(aggregate.group_expr.len() + aggregate.aggr_expr.len());
    for expr in &aggregate.group_expr {
        if matches!(expr, Expr::GroupingSet(_)) {
            return Err(reason::lacks("grouping sets are not handed over"));
        }
        let (key, value) = columns.key(expr)?;
        keys.push(key);
        values.push(value);
    }
    for expr in &aggregate.aggr_expr {
        values.push(Value::computed(function(expr, &columns)?)?);
    }
    Ok(Block { filters: input.filters.clone(), group_by: Some(keys), ..Block::new(input.from.clone(), values) })
}

fn function(expr: &Expr, columns: &Columns<'_>) -> Result<Typed, Reason> {
    let call = match expr {
        Expr::Alias(alias) => return function(&alias.expr, columns),
        Expr::AggregateFunction(call) => call,
        other => return Err(reason::lacks(format!("{} is no aggregate", other.variant_name()))),
    };
    let name = call.func.name();
    if !call.params.order_by.is_empty() || call.params.null_treatment.is_some() {
        return Err(reason::semantics(format!("{name}() with an order of its own")));
    }
    if !NAMES.contains(&name) {
        return Err(reason::semantics(format!("{name}() is not known to mean the same")));
    }
    let filter = call.params.filter.as_ref().map(|filter| condition(filter, columns)).transpose()?;
    let call = Call { name, call, columns, filter };
    match name {
        "count" => call.count(),
        "sum" => call.sum(),
        "avg" => call.avg(),
        "min" => call.extreme("min", "bool_and"),
        "max" => call.extreme("max", "bool_or"),
        "bool_and" => call.boolean("bool_and"),
        "bool_or" => call.boolean("bool_or"),
        _ => Err(reason::lacks(format!("{name}() has no translation"))),
    }
}

struct Call<'a> {
    name: &'a str,
    call: &'a AggregateFunction,
    columns: &'a Columns<'a>,
    filter: Option<Sql>,
}

impl Call<'_> {
    fn argument(&self) -> Result<&Expr, Reason> {
        match self.call.params.args.as_slice() {
            [argument] => Ok(argument),
            _ => Err(reason::semantics(format!("{}() of several arguments", self.name))),
        }
    }

    fn aggregate(&self, function: &'static str, argument: Option<Sql>) -> Sql {
        let (argument, filter) = (argument.map(Box::new), self.filter.clone().map(Box::new));
        Sql::Aggregate { function, distinct: self.call.params.distinct, argument, filter }
    }

    fn not_distinct(&self) -> Result<(), Reason> {
        if self.call.params.distinct {
            return Err(reason::semantics(format!("{}(DISTINCT ...) is not handed over", self.name)));
        }
        Ok(())
    }

    fn count(&self) -> Result<Typed, Reason> {
        let argument = match self.argument()? {
            Expr::Literal(value, _) if !value.is_null() && !self.call.params.distinct => None,
            Expr::Literal(ScalarValue::Null, _) => return Err(reason::type_("count() of a NULL without a type")),
            other => Some(self.counted(expression(other, self.columns)?)?),
        };
        Ok(int8(self.aggregate("count", argument)))
    }

    fn counted(&self, value: Typed) -> Result<Sql, Reason> {
        match value.kind {
            _ if !self.call.params.distinct => Ok(value.expr),
            Kind::Opaque | Kind::Null => Err(reason::type_("its type has no equality that both sides know")),
            Kind::Float => Err(reason::semantics("which floats are distinct differs for 0 and -0")),
            Kind::Text(Collation::Mixed) => Ok(value.expr.collate_c()),
            _ => Ok(value.expr),
        }
    }

    fn sum(&self) -> Result<Typed, Reason> {
        self.not_distinct()?;
        let value = expression(self.argument()?, self.columns)?;
        match (value.kind, &value.data_type) {
            (Kind::Integer(bounds), DataType::Int64) => {
                let sum = self.aggregate("sum", Some(value.expr));
                Ok(int8(if bounds.within(Bounds::INT4) { sum } else { wrapped(sum) }))
            }
            (Kind::Decimal, DataType::Decimal128(precision, scale)) if *precision <= 28 => {
                let data_type = DataType::Decimal128(precision + 10, *scale);
                Ok(Typed::new(self.aggregate("sum", Some(value.expr)), data_type, Kind::Decimal))
            }
            (Kind::Decimal, DataType::Decimal256(precision, scale)) if *precision <= 66 => {
                let data_type = DataType::Decimal256(precision + 10, *scale);
                Ok(Typed::new(self.aggregate("sum", Some(value.expr)), data_type, Kind::Decimal))
            }
            (Kind::Float, _) => Err(reason::semantics("a sum of floats depends on the order of addition")),
            (_, data_type) => Err(reason::semantics(format!("a sum of {data_type} may overflow in another way"))),
        }
    }

    /// Of integers that `float8` holds exactly, as the exact sum by the count; of decimals, the quotient cut as ours is.
    fn avg(&self) -> Result<Typed, Reason> {
        self.not_distinct()?;
        let argument = self.argument()?;
        if let Expr::Cast(Cast { expr, field }) = argument
            && field.data_type() == &DataType::Float64
        {
            let value = expression(expr, self.columns)?;
            if matches!(value.kind, Kind::Integer(bounds) if bounds.within(Bounds::INT4)) {
                let sum = self.aggregate("sum", Some(value.expr.clone().cast(Type::Int8))).cast(Type::Float8);
                let count = self.aggregate("count", Some(value.expr)).cast(Type::Float8);
                return Ok(Typed::new(guarded_quotient(sum, count), DataType::Float64, Kind::Float));
            }
        }
        let value = expression(argument, self.columns)?;
        match (value.kind, &value.data_type) {
            (Kind::Decimal, DataType::Decimal128(precision, scale)) if *precision <= 24 && *scale <= 34 => {
                let data_type = DataType::Decimal128(precision + 4, scale + 4);
                Ok(Typed::new(self.decimal_average(value.expr.clone(), scale + 4), data_type, Kind::Decimal))
            }
            (Kind::Float, _) => Err(reason::semantics("a sum of floats depends on the order of addition")),
            (_, data_type) => Err(reason::semantics(format!("an average of {data_type} is rounded in another way"))),
        }
    }

    fn decimal_average(&self, value: Sql, scale: i8) -> Sql {
        let power = |scale: i8| Sql::Literal(Literal::Decimal { unscaled: i256::ONE, scale });
        let sum = self.aggregate("sum", Some(value.clone())).binary(Operator::Multiply, power(-scale));
        let count = self.aggregate("count", Some(value)).cast(Type::Numeric);
        let zero = Sql::Literal(Literal::Integer(0));
        let quotient = Sql::call("div", vec![sum, Sql::call("nullif", vec![count, zero])]);
        quotient.binary(Operator::Multiply, power(scale))
    }

    fn extreme(&self, function: &'static str, of_booleans: &'static str) -> Result<Typed, Reason> {
        let value = expression(self.argument()?, self.columns)?;
        let Typed { expr, data_type, kind, .. } = value;
        let (function, expr, kind) = match kind {
            Kind::Boolean => (of_booleans, expr, kind),
            Kind::Integer(_) | Kind::Decimal | Kind::Date | Kind::Time | Kind::Timestamp | Kind::Timestamptz => {
                (function, expr, kind)
            }
            Kind::Text(Collation::C) => (function, expr, kind),
            Kind::Text(_) => (function, expr.collate_c(), Kind::Text(Collation::C)),
            Kind::Float => {
                return Err(reason::semantics(format!("with NaN, {function}() of floats depends on the order")));
            }
            _ => return Err(reason::lacks(format!("{function}() of {data_type} is not handed over"))),
        };
        Ok(Typed::new(self.aggregate(function, Some(expr)), data_type, kind))
    }

    fn boolean(&self, function: &'static str) -> Result<Typed, Reason> {
        let argument = condition(self.argument()?, self.columns)?;
        Ok(Typed::boolean(self.aggregate(function, Some(argument))))
    }
}

fn int8(expr: Sql) -> Typed {
    let data_type = DataType::Int64;
    let kind = Kind::Integer(Bounds::of(&data_type).expect("an integer has bounds"));
    let to = pg_type(&data_type).expect("an integer has a counterpart");
    Typed::new(expr.cast(to), data_type, kind)
}

/// NULL instead of an error where nothing was counted.
fn guarded_quotient(sum: Sql, count: Sql) -> Sql {
    let zero = Sql::typed("0", Type::Float8);
    sum.binary(Operator::Divide, Sql::call("nullif", vec![count, zero]))
}

/// The exact sum of 64-bit integers, wrapped into 64 bits as DataFusion's addition wraps.
fn wrapped(sum: Sql) -> Sql {
    let number = |value: i128| Sql::Literal(Literal::Decimal { unscaled: i256::from_i128(value), scale: 0 });
    let modulus = || number(1 << 64);
    let shifted = sum.binary(Operator::Plus, number(1 << 63));
    let remainder = shifted.binary(Operator::Modulo, modulus()).binary(Operator::Plus, modulus());
    remainder.binary(Operator::Modulo, modulus()).binary(Operator::Minus, number(1 << 63))
}
