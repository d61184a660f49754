//! UUIDs in expressions, and texts that stand beside one.

use crate::plan::marks::functions::{parse_uuid, uuid_text};
use arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable};
use polder_catalog::mark;
use std::collections::BTreeMap;

/// What a UUID is in Arrow.
pub(super) const BYTES: DataType = DataType::FixedSizeBinary(16);

/// A nullable UUID column.
pub(crate) fn uuid_field(name: &str) -> Field {
    marked(Field::new(name, BYTES, true))
}

/// The field with Arrow's extension name.
pub(super) fn marked(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(mark::EXTENSION.to_string(), mark::UUID.to_string());
    field.with_metadata(metadata)
}

pub(super) fn is_uuid(field: &Field) -> bool {
    *field.data_type() == BYTES && mark::is_uuid(field.metadata())
}

/// Makes `expr` comparable with `other`, where one is a UUID and one a text: a literal text becomes a UUID, any other text
/// is compared with the UUID's text.
pub(super) fn beside(other: &Expr, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (Ok((_, other_field)), Ok((_, field))) = (other.to_field(schema), expr.to_field(schema)) else {
        return Ok(Transformed::no(expr));
    };
    let is_text =
        |field: &Field| matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if is_uuid(&other_field)
        && let Some(text) = literal_text(&expr)
    {
        return Ok(Transformed::yes(literal(parse_uuid(text)?)));
    }
    if is_uuid(&field) && is_text(&other_field) && literal_text(other).is_none() {
        return Ok(Transformed::yes(uuid_text(expr)));
    }
    Ok(Transformed::no(expr))
}

fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn literal(bytes: [u8; 16]) -> Expr {
    let metadata = BTreeMap::from([(mark::EXTENSION.to_string(), mark::UUID.to_string())]);
    let metadata = FieldMetadata::from(metadata);
    Expr::Literal(ScalarValue::FixedSizeBinary(16, Some(bytes.to_vec())), Some(metadata))
}
