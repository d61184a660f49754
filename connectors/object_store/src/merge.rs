//! The common schema of files that evolved: columns are matched by name, types widen where nothing is lost.

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// A schema under construction: each column with the file that gave it its type.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    files: usize,
}

#[derive(Debug)]
struct Column {
    name: String,
    data_type: DataType,
    nullable: bool,
    origin: usize,
    files: usize,
}

/// How far the types of a format are guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// The file says them.
    No,
    /// Of numbers, only that they are numbers (NDJSON).
    Number,
    /// All was text (CSV): where guesses differ, the text itself is common.
    Text,
}

/// Two files that give one column types with no common one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) column: String,
    /// Index and type of the earlier file.
    pub(crate) first: (usize, DataType),
    pub(crate) second: DataType,
}

impl Merge {
    /// Adds the schema of the next file. Guessed types may widen further.
    pub(crate) fn add(&mut self, schema: &Schema, guess: Guess) -> Result<(), Conflict> {
        let file = self.files;
        self.files += 1;
        for field in schema.fields() {
            let Some(at) = self.by_name.get(field.name()).copied() else {
                self.push(field, file);
                continue;
            };
            let column = &mut self.columns[at];
            column.files += 1;
            column.nullable |= field.is_nullable();
            if &column.data_type == field.data_type() {
                continue;
            }
            match widened(&column.data_type, field.data_type(), guess) {
                Some(wider) if wider == column.data_type => {}
                Some(wider) => {
                    column.data_type = wider;
                    column.origin = file;
                }
                None => {
                    let first = (column.origin, column.data_type.clone());
                    return Err(Conflict { column: column.name.clone(), first, second: field.data_type().clone() });
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, field: &Field, file: usize) {
        self.by_name.insert(field.name().clone(), self.columns.len());
        self.columns.push(Column {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            origin: file,
            files: 1,
        });
    }

    /// The common schema. A column that a file lacks may be NULL.
    pub(crate) fn finish(self) -> SchemaRef {
        let files = self.files;
        let field = |column: Column| Field::new(column.name, column.data_type, column.nullable || column.files < files);
        Arc::new(Schema::new(self.columns.into_iter().map(field).collect::<Fields>()))
    }
}

/// The type that holds every value of both, exactly; `None` if there is none.
pub(crate) fn widened(a: &DataType, b: &DataType, guess: Guess) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        (T::Dictionary(_, inner), other) | (other, T::Dictionary(_, inner)) => match other {
            T::Dictionary(_, outer) => widened(inner, outer, guess),
            other => widened(inner, other, guess),
        },
        (T::Timestamp(unit, zone), T::Timestamp(other, other_zone)) if zone == other_zone => {
            Some(T::Timestamp(finer(*unit, *other), zone.clone()))
        }
        (T::List(a), T::List(b)) => Some(T::List(widened_field(a, b, guess)?)),
        (T::LargeList(a), T::LargeList(b)) => Some(T::LargeList(widened_field(a, b, guess)?)),
        (T::Struct(a), T::Struct(b)) => widened_struct(a, b, guess),
        _ if is_text(a) && is_text(b) => Some(T::Utf8View),
        _ if is_binary(a) && is_binary(b) => Some(T::BinaryView),
        (T::Int64, T::Float64) | (T::Float64, T::Int64) if guess != Guess::No => Some(T::Float64),
        _ => widened_number(a, b).or_else(|| (guess == Guess::Text && is_flat(a) && is_flat(b)).then_some(T::Utf8)),
    }
}

/// Integers by sign and bits; floats where every integer fits exactly; decimals by their digits.
fn widened_number(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    match (integer(a), integer(b)) {
        (Some((signed_a, bits_a)), Some((signed_b, bits_b))) => {
            return match (signed_a, signed_b) {
                (true, true) => signed(bits_a.max(bits_b)),
                (false, false) => unsigned(bits_a.max(bits_b)),
                (true, false) => signed(bits_a.max(bits_b * 2)),
                (false, true) => signed(bits_b.max(bits_a * 2)),
            };
        }
        (Some((_, bits)), None) | (None, Some((_, bits))) => {
            let other = if integer(a).is_some() { b } else { a };
            return match other {
                T::Float32 if bits <= 16 => Some(T::Float32),
                T::Float32 | T::Float64 if bits <= 32 => Some(T::Float64),
                T::Decimal128(..) | T::Decimal256(..) => widened_decimal((digits(bits), 0), decimal(other)?),
                _ => None,
            };
        }
        (None, None) => {}
    }
    match (a, b) {
        (T::Float16 | T::Float32 | T::Float64, T::Float16 | T::Float32 | T::Float64) => {
            let double = matches!(a, T::Float64) || matches!(b, T::Float64);
            Some(if double { T::Float64 } else { T::Float32 })
        }
        _ => widened_decimal(decimal(a)?, decimal(b)?),
    }
}

fn widened_decimal(a: (u8, i8), b: (u8, i8)) -> Option<DataType> {
    let scale = a.1.max(b.1);
    let whole = |(precision, scale): (u8, i8)| i16::from(precision) - i16::from(scale);
    let precision = whole(a).max(whole(b)) + i16::from(scale);
    match u8::try_from(precision).ok()? {
        precision @ ..=38 => Some(DataType::Decimal128(precision, scale)),
        precision @ ..=76 => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

fn widened_struct(a: &Fields, b: &Fields, guess: Guess) -> Option<DataType> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in a {
        match b.find(field.name()) {
            Some((_, other)) => fields.push(widened_field(field, other, guess)?),
            None => fields.push(nullable(field)),
        }
    }
    fields.extend(b.iter().filter(|field| a.find(field.name()).is_none()).map(nullable));
    Some(DataType::Struct(fields.into()))
}

fn widened_field(a: &FieldRef, b: &FieldRef, guess: Guess) -> Option<FieldRef> {
    let data_type = widened(a.data_type(), b.data_type(), guess)?;
    Some(Arc::new(Field::new(a.name(), data_type, a.is_nullable() || b.is_nullable())))
}

fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_nullable(true))
}

fn integer(data_type: &DataType) -> Option<(bool, u8)> {
    use DataType as T;
    Some(match data_type {
        T::Int8 => (true, 8),
        T::Int16 => (true, 16),
        T::Int32 => (true, 32),
        T::Int64 => (true, 64),
        T::UInt8 => (false, 8),
        T::UInt16 => (false, 16),
        T::UInt32 => (false, 32),
        T::UInt64 => (false, 64),
        _ => return None,
    })
}

fn signed(bits: u8) -> Option<DataType> {
    match bits {
        8 => Some(DataType::Int8),
        16 => Some(DataType::Int16),
        32 => Some(DataType::Int32),
        64 => Some(DataType::Int64),
        // UInt64 beside a signed integer: 20 digits hold both.
        _ => Some(DataType::Decimal128(20, 0)),
    }
}

fn unsigned(bits: u8) -> Option<DataType> {
    match bits {
        8 => Some(DataType::UInt8),
        16 => Some(DataType::UInt16),
        32 => Some(DataType::UInt32),
        _ => Some(DataType::UInt64),
    }
}

/// Decimal digits that hold every integer of so many bits.
fn digits(bits: u8) -> u8 {
    match bits {
        8 => 3,
        16 => 5,
        32 => 10,
        _ => 20,
    }
}

fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((*p, *s)),
        _ => None,
    }
}

/// The unit that both fit into; a time too far off for it is an error when it is read, never another time.
fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_flat(data_type: &DataType) -> bool {
    !data_type.is_nested()
}
