//! Decoders of arrays and row types.

use super::column::{ColumnDecoder, Fault, decoder, unrepresentable};
use crate::types::{Unrepresentable, Wire};
use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{FieldRef, Fields};
use bytes::Buf;
use polder_catalog::{Error, Result};
use std::sync::Arc;

pub(super) fn list(element: &Wire, field: &FieldRef, policy: Unrepresentable) -> Result<Box<dyn ColumnDecoder>> {
    let elements = decoder(element, field.data_type(), policy)?;
    Ok(Box::new(List { field: Arc::clone(field), elements, offsets: vec![0], validity: Vec::new(), policy }))
}

/// `array_send`: dimensions, a flag, the element's oid, then per dimension its size and lower bound, then the elements.
struct List {
    field: FieldRef,
    elements: Box<dyn ColumnDecoder>,
    offsets: Vec<i32>,
    validity: Vec<bool>,
    policy: Unrepresentable,
}

impl List {
    fn close(&mut self, elements: i32, valid: bool) -> Result<(), Fault> {
        let last = *self.offsets.last().expect("offsets start with zero");
        self.offsets.push(last.checked_add(elements).ok_or(Fault::TooLarge)?);
        self.validity.push(valid);
        Ok(())
    }

    fn close_unrepresentable(&mut self, what: String) -> Result<(), Fault> {
        let null: Option<()> = unrepresentable(self.policy, what)?;
        debug_assert!(null.is_none());
        self.close(0, false)
    }
}

impl ColumnDecoder for List {
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() < 12 {
            return Err(Fault::Garbled("an array without its head"));
        }
        let dimensions = bytes.get_i32();
        bytes.advance(8);
        match dimensions {
            0 => return self.close(0, true),
            1 => {}
            2..=6 => return self.close_unrepresentable(format!("an array of {dimensions} dimensions")),
            _ => return Err(Fault::Garbled("an array of too many dimensions")),
        }
        if bytes.len() < 8 {
            return Err(Fault::Garbled("an array without its bounds"));
        }
        let length = bytes.get_i32();
        let lower = bytes.get_i32();
        if lower != 1 {
            return self.close_unrepresentable(format!("an array whose first index is {lower}"));
        }
        for _ in 0..length {
            append_field(self.elements.as_mut(), &mut bytes)?;
        }
        if length < 0 || !bytes.is_empty() {
            return Err(Fault::Garbled("an array with a wrong count of elements"));
        }
        self.close(length, true)
    }

    fn append_null(&mut self) {
        let last = *self.offsets.last().expect("offsets start with zero");
        self.offsets.push(last);
        self.validity.push(false);
    }

    fn finish(&mut self) -> ArrayRef {
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let validity = NullBuffer::from(std::mem::take(&mut self.validity));
        Arc::new(ListArray::new(Arc::clone(&self.field), offsets, self.elements.finish(), Some(validity)))
    }
}

pub(super) fn composite(
    attributes: &[Wire],
    fields: &Fields,
    policy: Unrepresentable,
) -> Result<Box<dyn ColumnDecoder>> {
    let columns = attributes
        .iter()
        .zip(fields)
        .map(|(wire, field)| decoder(wire, field.data_type(), policy))
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Box::new(Composite { fields: fields.clone(), columns, validity: Vec::new() }))
}

/// `record_send`: the count of attributes, then for each its type's oid and its value.
struct Composite {
    fields: Fields,
    columns: Vec<Box<dyn ColumnDecoder>>,
    validity: Vec<bool>,
}

impl ColumnDecoder for Composite {
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() < 4 || usize::try_from(bytes.get_i32()) != Ok(self.columns.len()) {
            return Err(Fault::Garbled("a row with a wrong count of attributes"));
        }
        for column in &mut self.columns {
            if bytes.len() < 4 {
                return Err(Fault::Garbled("a row that ends in the middle"));
            }
            bytes.advance(4);
            append_field(column.as_mut(), &mut bytes)?;
        }
        if !bytes.is_empty() {
            return Err(Fault::Garbled("a row with bytes at its end"));
        }
        self.validity.push(true);
        Ok(())
    }

    fn append_null(&mut self) {
        for column in &mut self.columns {
            column.append_null();
        }
        self.validity.push(false);
    }

    fn finish(&mut self) -> ArrayRef {
        let validity = std::mem::take(&mut self.validity);
        let length = validity.len();
        let arrays = self.columns.iter_mut().map(|column| column.finish()).collect();
        let validity = Some(NullBuffer::from(validity));
        let array = StructArray::try_new_with_length(self.fields.clone(), arrays, validity, length);
        Arc::new(array.expect("every attribute got a value per row"))
    }
}

/// One length-prefixed value inside an array or a row.
fn append_field(column: &mut dyn ColumnDecoder, bytes: &mut &[u8]) -> Result<(), Fault> {
    if bytes.len() < 4 {
        return Err(Fault::Garbled("a value without its length"));
    }
    let length = bytes.get_i32();
    if length == -1 {
        column.append_null();
        return Ok(());
    }
    let length = usize::try_from(length).map_err(|_| Fault::Garbled("a value of negative length"))?;
    let (value, rest) = bytes.split_at_checked(length).ok_or(Fault::Garbled("a value that ends in the middle"))?;
    *bytes = rest;
    column.append(value)
}
