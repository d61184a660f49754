//! Constants as terms of an index.

use super::{lacks, semantics, type_};
use crate::encoding;
use crate::layout::{Place, Slot};
use datafusion_common::ScalarValue;
use polder_catalog::{Reason, mark};

/// A constant, as a field holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stored {
    Word(u64),
    Bytes(Vec<u8>),
}

/// A constant, and how it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) stored: Stored,
    pub(crate) text: String,
    /// Whether the index has only its hash: what is found is checked again.
    pub(crate) is_hashed: bool,
}

/// A constant to be equal to.
pub(crate) fn of(literal: &ScalarValue, slot: &Slot) -> Result<Value, Reason> {
    comparable(slot)?;
    let text = printed(literal);
    let array = in_type(literal, slot)?;
    let failed = |error: arrow::error::ArrowError| type_(error.to_string());
    match &slot.place {
        Place::Word { .. } => {
            no_zero_or_nan(literal)?;
            let word = encoding::words(&array).map_err(failed)?[0].ok_or_else(|| lacks("NULL is no value"))?;
            Ok(Value { stored: Stored::Word(word), text, is_hashed: false })
        }
        Place::Row { terms: Some(_), .. } => {
            let bytes = encoding::bytes(&array, 0).ok_or_else(|| lacks("NULL is no value"))?;
            let is_hashed = bytes.len() > encoding::TERM_BYTES_MAX;
            Ok(Value { stored: Stored::Bytes(encoding::term(&bytes).into_owned()), text, is_hashed })
        }
        Place::Row { terms: None, .. } => Err(type_(format!("{} is not compared", slot.field.data_type()))),
    }
}

/// A constant to be less or greater than: one that is its own term, so that the order of terms is that of values. A
/// value too long to be its own term begins with its own bytes, and the constant is shorter.
pub(crate) fn bound(literal: &ScalarValue, slot: &Slot) -> Result<Value, Reason> {
    let value = of(literal, slot)?;
    match &value.stored {
        Stored::Bytes(bytes) if bytes.len() >= encoding::TERM_BYTES_MAX => {
            Err(semantics("a constant too long to be ordered by the index"))
        }
        _ => Ok(value),
    }
}

/// Whether values of the column are compared as their Arrow type says.
pub(crate) fn comparable(slot: &Slot) -> Result<(), Reason> {
    match mark::of(slot.field.metadata()) {
        Some((native, _)) => Err(type_(format!("a {native} is not compared as text"))),
        None => Ok(()),
    }
}

fn in_type(literal: &ScalarValue, slot: &Slot) -> Result<arrow::array::ArrayRef, Reason> {
    let (from, to) = (literal.data_type(), slot.field.data_type());
    let is_same = from == *to || (from.is_string() && to.is_string());
    if !is_same {
        return Err(type_(format!("{from} is not the type of \"{}\", {to}", slot.field.name())));
    }
    let literal =
        if from == *to { literal.clone() } else { literal.cast_to(to).map_err(|error| type_(error.to_string()))? };
    literal.to_array().map_err(|error| type_(error.to_string()))
}

/// The index tells 0 from -0 and one NaN from another; SQL does not everywhere.
fn no_zero_or_nan(literal: &ScalarValue) -> Result<(), Reason> {
    let float = match literal {
        ScalarValue::Float64(Some(value)) => *value,
        ScalarValue::Float32(Some(value)) => f64::from(*value),
        _ => return Ok(()),
    };
    if float == 0.0 || float.is_nan() {
        return Err(semantics("the index tells 0 from -0, and one NaN from another"));
    }
    Ok(())
}

fn printed(literal: &ScalarValue) -> String {
    match literal.try_as_str() {
        Some(Some(text)) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => literal.to_string(),
    }
}
