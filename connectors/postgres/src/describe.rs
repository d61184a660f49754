//! Asks the server what a relation is: one round trip, at each statement that names it.

mod sql;
mod types;

use crate::connection::{Endpoint, Session};
use crate::table::{PgColumn, PgColumnStatistics, PgRelation};
use crate::types::{PgType, Reading, ReadingRules};
use polder_catalog::{DatasetKind, Result};
pub(crate) use sql::{RELATIONS, SCHEMAS, TYPES_OF_OIDS};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
pub(crate) use types::{read as read_types, resolve};

type DriverResult<T> = std::result::Result<T, tokio_postgres::Error>;

/// The relation of this name; `None` if there is none that can be read.
pub(crate) async fn relation(
    endpoint: &Endpoint,
    session: &Session,
    schema: &str,
    name: &str,
) -> Result<Option<PgRelation>> {
    // No relation has a NUL in its name, and the protocol has no way to ask.
    if schema.contains('\0') || name.contains('\0') {
        return Ok(None);
    }
    let client = &session.client;
    let of_name: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] = [(&schema, Type::TEXT), (&name, Type::TEXT)];
    // Three statements sent at once: the driver pipelines what is polled together.
    let answers = tokio::try_join!(
        client.query_typed_opt(sql::RELATION, &of_name),
        client.query_typed(sql::COLUMNS, &of_name),
        client.query_typed(sql::TYPES_OF_RELATION, &of_name),
    );
    let (relation, columns, types) = answers.map_err(|error| endpoint.failed(error))?;
    let Some(relation) = relation else { return Ok(None) };
    let described = describe(&relation, &columns, &types, schema, name, endpoint.options.rules);
    described.map(Some).map_err(|error| endpoint.failed(error))
}

fn describe(
    relation: &Row,
    columns: &[Row],
    types: &[Row],
    schema: &str,
    name: &str,
    rules: ReadingRules,
) -> DriverResult<PgRelation> {
    let kind = kind_of(relation.try_get("kind")?);
    let types = read_types(types)?;
    let is_utf8 = relation.try_get("is_utf8")?;
    let columns = columns.iter().map(|row| column(row, &types, kind, is_utf8, rules)).collect::<DriverResult<_>>()?;
    let rows: f32 = relation.try_get("rows")?;
    let bytes: i64 = relation.try_get("bytes")?;
    Ok(PgRelation {
        oid: relation.try_get("oid")?,
        schema: schema.to_string(),
        name: name.to_string(),
        kind,
        columns,
        rules,
        // Minus one (zero before version 14) says that nobody has counted.
        rows_estimate: (rows > 0.0).then_some(rows as u64),
        pages: u64::try_from(bytes).unwrap_or(0).div_ceil(8192),
        server_version: relation.try_get("version")?,
        is_utf8,
    })
}

/// `pg_class.relkind` as a word of ours.
pub(crate) fn kind_of(relkind: i8) -> DatasetKind {
    match relkind as u8 {
        b'v' => DatasetKind::View,
        b'm' => DatasetKind::MaterializedView,
        b'p' => DatasetKind::PartitionedTable,
        b'f' => DatasetKind::ForeignTable,
        _ => DatasetKind::Table,
    }
}

fn column(
    row: &Row,
    types: &HashMap<u32, Arc<PgType>>,
    kind: DatasetKind,
    is_utf8: bool,
    rules: ReadingRules,
) -> DriverResult<PgColumn> {
    let name: String = row.try_get("name")?;
    let typmod: i32 = row.try_get("typmod")?;
    let native_type: String = row.try_get("native_type")?;
    let pg_type = resolve(types, row.try_get("type")?, &native_type);
    // A foreign table's NOT NULL is a claim that the server does not enforce.
    let not_null = row.try_get::<_, bool>("not_null")? && kind != DatasetKind::ForeignTable;
    let sampled: Option<i32> = row.try_get("scale")?;
    let sampled = sampled.and_then(|scale| u8::try_from(scale).ok());
    let Reading { selection, wire, field, lossy, note } =
        Reading::of(&name, &pg_type, typmod, !not_null, sampled, rules);
    Ok(PgColumn {
        name,
        attnum: row.try_get("attnum")?,
        pg_type,
        typmod,
        native_type,
        is_utf8,
        collation_deterministic: row.try_get("deterministic")?,
        collation_is_c: row.try_get("is_c")?,
        field,
        selection,
        wire,
        lossy,
        note,
        statistics: PgColumnStatistics {
            null_fraction: row.try_get("null_fraction")?,
            width: row.try_get("width")?,
            distinct: row.try_get("distinct")?,
        },
    })
}
