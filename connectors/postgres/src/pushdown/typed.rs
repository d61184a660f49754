//! A translated expression with what we know of it: its Arrow type, the family of its values, the range of an integer.

use super::ast::{Expr, Literal, Type};
use super::reason;
use crate::table::PgColumn;
use crate::types::{Base, PgKind, ReadingRules, Selection, Unrepresentable};
use arrow::datatypes::{DataType, TimeUnit};
use polder_catalog::Reason;
use polder_catalog::mark;

/// Families of values that compare with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    /// An integer and the range that its values cannot leave.
    Integer(Bounds),
    /// `float4` or `float8`. NaN equals NaN and is the greatest, -0 equals 0, on both sides.
    Float,
    Decimal,
    Text(Collation),
    /// An enum, held as PostgreSQL's own value. It is equal to texts, and has no order that both sides know.
    Label,
    Bytes,
    Uuid,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    /// A NULL of no type.
    Null,
    /// Neither compared nor computed with; at most tested for NULL.
    Opaque,
}

/// Both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: i128,
    pub(crate) max: i128,
}

/// What PostgreSQL would use to compare a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collation {
    /// A constant takes the collation of what it meets.
    Constant,
    /// Of one column: equal texts are the same bytes, their order is unknown.
    Deterministic,
    /// Bytes in order. Either the column's own or written out.
    C,
    /// Of several columns: to compare it, a collation must be written out.
    Mixed,
}

/// A translated expression.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// Evaluates without error for every row.
    pub(crate) expr: Expr,
    /// The type of DataFusion's expression.
    pub(crate) data_type: DataType,
    pub(crate) kind: Kind,
    /// The constant, if it is one that PostgreSQL can read without a cast in a comparison.
    pub(crate) constant: Option<Literal>,
}

impl Typed {
    pub(crate) fn new(expr: Expr, data_type: DataType, kind: Kind) -> Self {
        Self { expr, data_type, kind, constant: None }
    }

    pub(crate) fn boolean(expr: Expr) -> Self {
        Self::new(expr, DataType::Boolean, Kind::Boolean)
    }

    /// An `int4` that can be any.
    pub(crate) fn int4(expr: Expr) -> Self {
        Self::new(expr, DataType::Int32, Kind::Integer(Bounds::INT4))
    }

    /// The form for a comparison: a constant without its cast, so that PostgreSQL can use an index on the other side.
    pub(crate) fn into_comparand(self) -> Expr {
        match self.constant {
            Some(constant) => Expr::Literal(constant),
            None => self.expr,
        }
    }

    /// The predicate itself.
    pub(crate) fn into_boolean(self) -> Result<Expr, Reason> {
        match self.kind {
            Kind::Boolean => Ok(self.expr),
            Kind::Null => Ok(self.expr.cast(Type::Bool)),
            _ => Err(reason::type_(format!("a value of type {} is no condition", self.data_type))),
        }
    }

    /// A text with its collation.
    pub(crate) fn into_text(self) -> Result<(Expr, Collation), Reason> {
        match self.kind {
            Kind::Text(collation) => Ok((self.expr, collation)),
            Kind::Label => Ok((self.expr.cast(Type::Text), Collation::Deterministic)),
            _ => Err(reason::type_(format!("a value of type {} is not text at the source", self.data_type))),
        }
    }

    /// The integer constant.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self.constant {
            Some(Literal::Integer(value)) => Some(value),
            _ => None,
        }
    }

    /// The text constant.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.constant {
            Some(Literal::Text(text)) if matches!(self.kind, Kind::Text(_)) => Some(text.as_str()),
            _ => None,
        }
    }
}

impl Bounds {
    pub(crate) const INT4: Self = Self { min: i32::MIN as i128, max: i32::MAX as i128 };

    /// All values of an integer type.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        let (min, max) = match data_type {
            DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
            DataType::UInt8 => (0, u8::MAX.into()),
            DataType::UInt16 => (0, u16::MAX.into()),
            DataType::UInt32 => (0, u32::MAX.into()),
            DataType::UInt64 => (0, u64::MAX.into()),
            _ => return None,
        };
        Some(Self { min, max })
    }

    /// One value.
    pub(crate) fn exactly(value: i64) -> Self {
        Self { min: value.into(), max: value.into() }
    }

    /// Whether no value leaves `other`.
    pub(crate) fn within(self, other: Self) -> bool {
        self.min >= other.min && self.max <= other.max
    }

    /// The smallest range around all of these values.
    pub(crate) fn around(values: impl IntoIterator<Item = i128>) -> Self {
        let mut bounds = Self { min: i128::MAX, max: i128::MIN };
        for value in values {
            bounds.min = bounds.min.min(value);
            bounds.max = bounds.max.max(value);
        }
        bounds
    }

    /// The range around both.
    pub(crate) fn union(self, other: Self) -> Self {
        Self::around([self.min, self.max, other.min, other.max])
    }
}

impl Collation {
    /// The collation of a value made of both.
    pub(crate) fn merged(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant, one) | (one, Self::Constant) => one,
            (Self::C, Self::C) => Self::C,
            _ => Self::Mixed,
        }
    }
}

/// The type of PostgreSQL that holds exactly the values of an Arrow type, and is read back as it.
pub(crate) fn pg_type(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::Boolean => Type::Bool,
        DataType::Int16 => Type::Int2,
        DataType::Int32 => Type::Int4,
        DataType::Int64 => Type::Int8,
        DataType::Float32 => Type::Float4,
        DataType::Float64 => Type::Float8,
        DataType::Decimal128(..) | DataType::Decimal256(..) => Type::Numeric,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::Bytea,
        DataType::FixedSizeBinary(16) => Type::Uuid,
        DataType::Date32 => Type::Date,
        DataType::Time64(TimeUnit::Microsecond) => Type::Time,
        DataType::Timestamp(TimeUnit::Microsecond, None) => Type::Timestamp,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if is_utc(zone) => Type::Timestamptz,
        _ => return None,
    })
}

/// Whether a time zone is the one that our sessions pin.
pub(crate) fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "+00:00" | "+00")
}

/// A column as expressions see it. `raw` is the column itself, in whatever scope it stands.
pub(crate) fn column(raw: Expr, column: &PgColumn, rules: ReadingRules) -> Result<Typed, Reason> {
    if column.lossy && rules.unrepresentable == Unrepresentable::Null {
        let text = format!("\"{}\" may hold values that are read as NULL here and are none at the source", column.name);
        return Err(reason::type_(text));
    }
    let data_type = column.field.data_type().clone();
    let (pg_type, typmod) = column.pg_type.without_domains(column.typmod);
    let (expr, kind) = match &pg_type.kind {
        PgKind::Enum if !column.is_utf8 => (raw, Kind::Opaque),
        PgKind::Enum if mark::of(column.field.metadata()).is_some() => (raw, Kind::Label),
        // ROW(NULL, NULL) IS NULL, says PostgreSQL; the struct is not.
        PgKind::Composite(_) => return Err(reason::type_(format!("\"{}\" is a row type", column.name))),
        PgKind::Base(base) if column.selection == Selection::AsIs => base_column(raw, *base, typmod, column)?,
        PgKind::Base(_) | PgKind::Array(_) | PgKind::Enum | PgKind::Domain(..) | PgKind::Other => (raw, Kind::Opaque),
    };
    Ok(Typed::new(expr, data_type, kind))
}

fn base_column(raw: Expr, base: Base, typmod: i32, column: &PgColumn) -> Result<(Expr, Kind), Reason> {
    let whole = || Bounds::of(column.field.data_type()).map_or(Kind::Opaque, Kind::Integer);
    Ok(match base {
        Base::Bool => (raw, Kind::Boolean),
        Base::Int2 | Base::Int4 | Base::Int8 => (raw, whole()),
        Base::Oid => (raw.cast(Type::Int8), whole()),
        Base::Float4 | Base::Float8 => (raw, Kind::Float),
        Base::Numeric => (raw, Kind::Decimal),
        Base::Text | Base::Varchar => text_column(raw, column),
        Base::Name => text_column(raw.cast(Type::Text), column),
        Base::Bpchar => {
            let (text, kind) = text_column(raw.cast(Type::Text), column);
            (padded(text, typmod, column)?, kind)
        }
        Base::Bytea => (raw, Kind::Bytes),
        Base::Date => (raw, Kind::Date),
        Base::Time => (raw, Kind::Time),
        Base::Timestamp => (raw, Kind::Timestamp),
        Base::Timestamptz => (raw, Kind::Timestamptz),
        Base::Uuid => (raw, Kind::Uuid),
        Base::Interval | Base::Json | Base::Xid | Base::Cid | Base::Xid8 => (raw, Kind::Opaque),
    })
}

/// Text whose own collation calls different texts equal is compared by its bytes from the start.
fn text_column(text: Expr, column: &PgColumn) -> (Expr, Kind) {
    if !column.is_utf8 {
        (text, Kind::Opaque)
    } else if !column.collation_deterministic {
        (text.collate_c(), Kind::Text(Collation::C))
    } else if column.collation_is_c && matches!(text, Expr::Column { .. }) {
        (text, Kind::Text(Collation::C))
    } else {
        (text, Kind::Text(Collation::Deterministic))
    }
}

/// `char(n)` is read with its blanks, and every cast to text takes them off.
fn padded(text: Expr, typmod: i32, column: &PgColumn) -> Result<Expr, Reason> {
    let length = typmod.checked_sub(4).filter(|length| *length > 0).ok_or_else(|| {
        let text = format!("\"{}\" is a char without a length, whose trailing blanks PostgreSQL ignores", column.name);
        reason::semantics(text)
    })?;
    Ok(Expr::call("rpad", vec![text, Expr::Literal(Literal::Integer(length.into()))]))
}

/// What the SELECT list says for a column that is read as it is.
pub(crate) fn selected(raw: Expr, column: &PgColumn) -> Expr {
    match column.selection {
        Selection::AsIs => raw,
        Selection::Text => raw.cast(Type::Text),
        Selection::TextArray => raw.cast(Type::TextArray),
        Selection::Printed => printed("inet_out", raw),
        Selection::PrintedArray => printed("array_out", raw).cast(Type::TextArray),
    }
}

fn printed(output: &'static str, raw: Expr) -> Expr {
    Expr::call("textin", vec![Expr::call(output, vec![raw])])
}
