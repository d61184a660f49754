//! From a type to its reading: what is selected, what the bytes mean, what Arrow field comes out.

use super::{Base, PgKind, PgType};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use polder_catalog::mark::{self, Comparison};
use std::sync::Arc;

/// What becomes of a value that the column's Arrow type has not: infinity in a date, NaN in a numeric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrepresentable {
    /// The query fails, naming column and value.
    Error,
    /// The value becomes NULL.
    Null,
    /// A column whose type can hold such values is read as text.
    Text,
}

/// What a catalog's options say about reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadingRules {
    pub(crate) unrepresentable: Unrepresentable,
    /// The scale of `numeric` without precision, if the user fixed it.
    pub(crate) numeric_scale: Option<u8>,
}

/// What the SELECT list says for a column of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The column itself.
    AsIs,
    /// `column::text`.
    Text,
    /// `column::text[]`.
    TextArray,
    /// What the type's output function prints. The cast of `inet` to text gives `10.0.0.1/32`; everyone else prints
    /// `10.0.0.1`.
    Printed,
    /// The same for each element.
    PrintedArray,
}

/// What the bytes of one value in a binary COPY mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    /// Four bytes without a sign: `oid`, `xid`, `cid`.
    UInt4,
    /// Eight bytes without a sign: `xid8`.
    UInt8,
    Float4,
    Float8,
    /// Read as a decimal of this precision and scale: 128 bits up to 38 digits, 256 beyond.
    Numeric {
        precision: u8,
        scale: i8,
    },
    Text,
    Bytea,
    Date,
    Time,
    /// Both timestamps: microseconds since 2000.
    Timestamp,
    Interval,
    Uuid,
    Array(Box<Wire>),
    Composite(Vec<Wire>),
}

/// How a column is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) selection: Selection,
    pub(crate) wire: Wire,
    pub(crate) field: FieldRef,
    /// Whether the type has values that the field has not.
    pub(crate) lossy: bool,
    /// What DESCRIBE says beside the type.
    pub(crate) note: Option<String>,
}

/// The oid of `inet`.
const INET: u32 = 869;

/// Digits of a 256-bit decimal.
const PRECISION_MAX: u8 = 76;
/// The scale of a `numeric` of which nothing is known: PostgreSQL's own division gives at most about twenty digits.
const SCALE_UNKNOWN: u8 = 20;
/// Statistics are a sample: a few digits more than they show cost nothing in 256 bits and spare an error.
const SCALE_SAMPLED_MIN: u8 = 10;
/// Row types nest; a deeper one than this is read as text.
const DEPTH_MAX: usize = 16;

impl Reading {
    /// How a column named `name` of this type is read. `sampled_scale` is the largest scale that the column's
    /// statistics show, for a `numeric` without precision.
    pub(crate) fn of(
        name: &str,
        pg_type: &PgType,
        typmod: i32,
        nullable: bool,
        sampled_scale: Option<u8>,
        rules: ReadingRules,
    ) -> Self {
        let reader = Reader { rules, sampled_scale };
        let read = reader.read(pg_type, typmod, 0).unwrap_or_else(|reason| as_text(pg_type, reason));
        if read.lossy && rules.unrepresentable == Unrepresentable::Text {
            let reason = format!("read as text, since Arrow has no {} for all its values", pg_type.name);
            return as_text(pg_type, Some(reason)).named(name, nullable);
        }
        let nullable = nullable || (read.lossy && rules.unrepresentable == Unrepresentable::Null);
        read.named(name, nullable)
    }
}

/// A reading without a name.
struct Read {
    selection: Selection,
    wire: Wire,
    /// Type and marks; its name is replaced.
    field: Field,
    lossy: bool,
    note: Option<String>,
}

impl Read {
    fn exact(wire: Wire, data_type: DataType) -> Self {
        Self { selection: Selection::AsIs, wire, field: unnamed(data_type), lossy: false, note: None }
    }

    fn lossy(wire: Wire, data_type: DataType, refused: &str) -> Self {
        Self { lossy: true, note: Some(format!("not representable: {refused}")), ..Self::exact(wire, data_type) }
    }

    fn named(self, name: &str, nullable: bool) -> Reading {
        let Self { selection, wire, field, lossy, note } = self;
        let field = Arc::new(field.with_name(name).with_nullable(nullable));
        Reading { selection, wire, field, lossy, note }
    }
}

fn unnamed(data_type: DataType) -> Field {
    Field::new("", data_type, true)
}

struct Reader {
    rules: ReadingRules,
    sampled_scale: Option<u8>,
}

impl Reader {
    /// `Err` holds the note of a type that must be read as text.
    fn read(&self, pg_type: &PgType, typmod: i32, depth: usize) -> Result<Read, Option<String>> {
        if depth > DEPTH_MAX {
            return Err(Some("nested too deeply, read as text".to_string()));
        }
        match &pg_type.kind {
            PgKind::Base(base) => self.base(*base, typmod),
            PgKind::Domain(base, own) => self.read(base, if *own >= 0 { *own } else { typmod }, depth + 1),
            PgKind::Enum => Ok(Read {
                field: mark::marked(unnamed(DataType::Utf8), &pg_type.name, Comparison::Equality),
                ..Read::exact(Wire::Text, DataType::Utf8)
            }),
            PgKind::Array(element) => self.array(element, typmod, depth),
            PgKind::Composite(attributes) => {
                let mut wires = Vec::with_capacity(attributes.len());
                let mut fields = Vec::with_capacity(attributes.len());
                let mut lossy = false;
                for attribute in attributes {
                    let read = self.read(&attribute.pg_type, attribute.typmod, depth + 1)?;
                    if read.selection != Selection::AsIs {
                        return Err(Some(format!("read as text, since its attribute \"{}\" is", attribute.name)));
                    }
                    lossy |= read.lossy;
                    wires.push(read.wire);
                    fields.push(Arc::new(read.field.with_name(&attribute.name).with_nullable(true)));
                }
                let read = Read::exact(Wire::Composite(wires), DataType::Struct(fields.into()));
                Ok(Read { lossy, ..read })
            }
            PgKind::Other => Err(None),
        }
    }

    fn array(&self, element: &PgType, typmod: i32, depth: usize) -> Result<Read, Option<String>> {
        let list = |read: Read, selection: Selection| Read {
            selection,
            ..Read::lossy(
                Wire::Array(Box::new(read.wire)),
                DataType::List(Arc::new(read.field.with_name("item").with_nullable(true))),
                "arrays of several dimensions, or with a lower bound other than 1",
            )
        };
        match self.read(element, typmod, depth + 1) {
            Ok(read) if read.selection == Selection::AsIs => Ok(list(read, Selection::AsIs)),
            // An array of arrays (through a domain) has no cast to text[] that keeps its shape.
            Ok(_) => Err(None),
            Err(note) if matches!(element.without_domains(-1).0.kind, PgKind::Other) => {
                let read = as_text(element, note);
                let is_printed = read.selection == Selection::Printed;
                Ok(list(read, if is_printed { Selection::PrintedArray } else { Selection::TextArray }))
            }
            Err(note) => Err(note),
        }
    }

    fn base(&self, base: Base, typmod: i32) -> Result<Read, Option<String>> {
        Ok(match base {
            Base::Bool => Read::exact(Wire::Bool, DataType::Boolean),
            Base::Int2 => Read::exact(Wire::Int2, DataType::Int16),
            Base::Int4 => Read::exact(Wire::Int4, DataType::Int32),
            Base::Int8 => Read::exact(Wire::Int8, DataType::Int64),
            Base::Oid | Base::Xid | Base::Cid => Read::exact(Wire::UInt4, DataType::UInt32),
            Base::Xid8 => Read::exact(Wire::UInt8, DataType::UInt64),
            Base::Float4 => Read::exact(Wire::Float4, DataType::Float32),
            Base::Float8 => Read::exact(Wire::Float8, DataType::Float64),
            Base::Numeric => return self.numeric(typmod),
            Base::Text | Base::Varchar | Base::Bpchar | Base::Name => Read::exact(Wire::Text, DataType::Utf8),
            Base::Json => Read { field: json("json"), ..Read::exact(Wire::Text, DataType::Utf8) },
            Base::Bytea => Read::exact(Wire::Bytea, DataType::Binary),
            Base::Date => Read::lossy(Wire::Date, DataType::Date32, "infinity, -infinity"),
            Base::Time => Read::lossy(Wire::Time, DataType::Time64(TimeUnit::Microsecond), "24:00:00"),
            Base::Timestamp => timestamp(None),
            Base::Timestamptz => timestamp(Some("UTC".into())),
            Base::Interval => Read::lossy(
                Wire::Interval,
                DataType::Interval(IntervalUnit::MonthDayNano),
                "a time part beyond 292 years",
            ),
            Base::Uuid => Read { field: uuid(), ..Read::exact(Wire::Uuid, DataType::FixedSizeBinary(16)) },
        })
    }

    fn numeric(&self, typmod: i32) -> Result<Read, Option<String>> {
        let Some((precision, scale)) = numeric_typmod(typmod) else {
            return Ok(self.numeric_without_precision());
        };
        // Arrow wants 0 <= scale <= precision; PostgreSQL also has numeric(3,5) and numeric(3,-2).
        let digits = if scale < 0 { precision + i32::from(-scale) } else { precision.max(i32::from(scale)) };
        let scale = scale.max(0);
        let Ok(scale @ 0..=76) = u8::try_from(scale) else {
            return Err(Some(format!("read as text, since Arrow's decimals have at most {PRECISION_MAX} digits")));
        };
        let narrow = digits <= i32::from(PRECISION_MAX);
        let precision = if narrow { digits as u8 } else { PRECISION_MAX };
        let refused = if narrow { "NaN" } else { "NaN and more than 76 digits" };
        Ok(decimal(precision, scale, refused))
    }

    fn numeric_without_precision(&self) -> Read {
        let (scale, origin) = match (self.rules.numeric_scale, self.sampled_scale) {
            (Some(fixed), _) => (fixed, "from the option numeric_scale"),
            (None, Some(sampled)) => (sampled.max(SCALE_SAMPLED_MIN), "from the column's statistics"),
            (None, None) => (SCALE_UNKNOWN, "for want of statistics"),
        };
        let scale = scale.min(PRECISION_MAX / 2);
        let read = decimal(PRECISION_MAX, scale, "NaN, infinity, more digits");
        Read { note: Some(format!("scale {scale} {origin}; not representable: NaN, infinity, more digits")), ..read }
    }
}

/// Precision and scale of a modifier; `None` without one. Since version 15 the scale is eleven bits with a sign.
fn numeric_typmod(typmod: i32) -> Option<(i32, i16)> {
    let packed = typmod.checked_sub(4).filter(|packed| *packed >= 0)?;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    Some(((packed >> 16) & 0xffff, scale as i16))
}

fn decimal(precision: u8, scale: u8, refused: &str) -> Read {
    let scale = scale as i8;
    let data_type =
        if precision <= 38 { DataType::Decimal128(precision, scale) } else { DataType::Decimal256(precision, scale) };
    Read::lossy(Wire::Numeric { precision, scale }, data_type, refused)
}

fn timestamp(zone: Option<Arc<str>>) -> Read {
    let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone);
    Read::lossy(Wire::Timestamp, data_type, "infinity, -infinity, after the year 294246")
}

fn uuid() -> Field {
    let metadata = [(mark::EXTENSION.to_string(), mark::UUID.to_string())];
    unnamed(DataType::FixedSizeBinary(16)).with_metadata(metadata.into())
}

/// `json` and `jsonb`: marked text, which is also Arrow's canonical JSON.
fn json(native_type: &str) -> Field {
    let metadata = [(mark::EXTENSION.to_string(), mark::JSON.to_string())];
    mark::marked(unnamed(DataType::Utf8).with_metadata(metadata.into()), native_type, Comparison::None)
}

fn as_text(pg_type: &PgType, note: Option<String>) -> Read {
    let field = match pg_type.name.as_str() {
        name @ "jsonb" if pg_type.schema == "pg_catalog" => json(name),
        name => mark::marked(unnamed(DataType::Utf8), name, Comparison::None),
    };
    let selection = if pg_type.without_domains(-1).0.oid == INET { Selection::Printed } else { Selection::Text };
    Read { selection, field, note, ..Read::exact(Wire::Text, DataType::Utf8) }
}

impl Wire {
    /// What the bytes of a built-in type mean that Arrow has as `data_type`: for an expression's result.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int16 => Self::Int2,
            DataType::Int32 => Self::Int4,
            DataType::Int64 => Self::Int8,
            DataType::UInt32 => Self::UInt4,
            DataType::UInt64 => Self::UInt8,
            DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                Self::Numeric { precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Self::Text,
            DataType::Binary => Self::Bytea,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp,
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval,
            DataType::FixedSizeBinary(16) => Self::Uuid,
            _ => return None,
        })
    }
}
