//! One column's decoder: bytes of single values in, an Arrow array out.

use super::{nested, numeric, scalar};
use crate::types::{Unrepresentable, Wire};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use polder_catalog::{Error, Result};

/// Builds one Arrow array.
pub(super) trait ColumnDecoder: Send {
    /// Appends the value that these bytes are. On an error the decoder is not used any more.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    fn append_null(&mut self);

    /// The array of what was appended; the decoder starts anew.
    fn finish(&mut self) -> ArrayRef;
}

/// What can be wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// PostgreSQL's type has the value, Arrow's has not. Holds the value as PostgreSQL prints it.
    Unrepresentable(String),
    /// Not UTF-8.
    Character,
    /// A batch of it would not fit Arrow's 32-bit offsets.
    TooLarge,
    /// Not the bytes of such a type.
    Garbled(&'static str),
}

/// Applies the option `unrepresentable` where a value turns out not to fit: NULL, or an error. (`text` never gets here:
/// such a column is selected as text.)
pub(super) fn unrepresentable<T>(policy: Unrepresentable, value: impl Into<String>) -> Result<Option<T>, Fault> {
    match policy {
        Unrepresentable::Null => Ok(None),
        Unrepresentable::Error | Unrepresentable::Text => Err(Fault::Unrepresentable(value.into())),
    }
}

/// The decoder of a wire format into an Arrow type.
pub(super) fn decoder(wire: &Wire, data_type: &DataType, policy: Unrepresentable) -> Result<Box<dyn ColumnDecoder>> {
    let found = match (wire, data_type) {
        (Wire::Array(element), DataType::List(field)) => Some(nested::list(element, field, policy)?),
        (Wire::Composite(attributes), DataType::Struct(fields)) if attributes.len() == fields.len() => {
            Some(nested::composite(attributes, fields, policy)?)
        }
        (Wire::Numeric { precision, scale }, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            Some(numeric::decoder(*precision, *scale, data_type, policy))
        }
        _ => scalar::decoder(wire, data_type, policy),
    };
    found.ok_or_else(|| Error::report(format!("no decoder reads {wire:?} as {data_type}")))
}
