//! The columns in which Flight SQL tells of keys. None are told yet: sources do not know theirs.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Of primary keys.
pub(super) fn primary() -> SchemaRef {
    let names = ["catalog_name", "db_schema_name", "table_name", "column_name", "key_name"];
    let required = ["table_name", "column_name"];
    let mut fields: Vec<_> = names.map(|name| Field::new(name, DataType::Utf8, !required.contains(&name))).to_vec();
    fields.insert(4, Field::new("key_sequence", DataType::Int32, false));
    Arc::new(Schema::new(fields))
}

/// Of foreign keys, from either side.
pub(super) fn foreign() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let side = |of: &str| {
        [
            text(&format!("{of}_catalog_name"), true),
            text(&format!("{of}_db_schema_name"), true),
            text(&format!("{of}_table_name"), false),
            text(&format!("{of}_column_name"), false),
        ]
    };
    let rest = [
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ];
    Arc::new(Schema::new([&side("pk")[..], &side("fk")[..], &rest[..]].concat()))
}
