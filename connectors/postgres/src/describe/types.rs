//! Types as `pg_type` describes them, resolved into [`PgType`]s.

use super::DriverResult;
use crate::types::{Base, PgAttribute, PgKind, PgType};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::Row;

/// A row of `pg_type`, whose parts are still oids.
struct Raw {
    schema: String,
    name: String,
    kind: i8,
    element: u32,
    base: u32,
    typmod: i32,
    attributes: Vec<(String, u32, i32)>,
}

/// Resolves the rows of one of the type questions.
pub(crate) fn read(rows: &[Row]) -> DriverResult<HashMap<u32, Arc<PgType>>> {
    let mut raw = HashMap::new();
    for row in rows {
        let names: Option<Vec<String>> = row.try_get("names")?;
        let types: Option<Vec<u32>> = row.try_get("types")?;
        let typmods: Option<Vec<i32>> = row.try_get("typmods")?;
        let attributes = names.into_iter().flatten().zip(types.into_iter().flatten());
        let attributes = attributes.zip(typmods.into_iter().flatten()).map(|((name, oid), typmod)| (name, oid, typmod));
        let read = Raw {
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            kind: row.try_get("kind")?,
            element: row.try_get("element")?,
            base: row.try_get("base")?,
            typmod: row.try_get("typmod")?,
            attributes: attributes.collect(),
        };
        raw.insert(row.try_get::<_, u32>("oid")?, read);
    }
    let mut resolved = HashMap::new();
    for oid in raw.keys() {
        resolve_one(*oid, &raw, &mut resolved, 0);
    }
    Ok(resolved)
}

/// The resolved type of this oid. A type that vanished between two questions is read as text.
pub(crate) fn resolve(types: &HashMap<u32, Arc<PgType>>, oid: u32, name: &str) -> Arc<PgType> {
    types.get(&oid).map_or_else(|| Arc::new(other(oid, "", name)), Arc::clone)
}

/// PostgreSQL forbids a type that holds itself; the bound only keeps a strange catalog from exhausting the stack.
const DEPTH_MAX: usize = 64;

fn resolve_one(
    oid: u32,
    raw: &HashMap<u32, Raw>,
    resolved: &mut HashMap<u32, Arc<PgType>>,
    depth: usize,
) -> Arc<PgType> {
    if let Some(known) = resolved.get(&oid) {
        return Arc::clone(known);
    }
    let Some(read) = raw.get(&oid).filter(|_| depth < DEPTH_MAX) else { return Arc::new(other(oid, "", "unknown")) };
    let mut part = |oid: u32| resolve_one(oid, raw, resolved, depth + 1);
    let kind = match (Base::of_oid(oid), read.kind as u8) {
        (Some(base), _) => PgKind::Base(base),
        (None, b'e') => PgKind::Enum,
        (None, b'd') => PgKind::Domain(part(read.base), read.typmod),
        (None, b'c') => PgKind::Composite(
            read.attributes
                .iter()
                .map(|(name, oid, typmod)| PgAttribute { name: name.clone(), pg_type: part(*oid), typmod: *typmod })
                .collect(),
        ),
        // int2vector and oidvector count from zero, unlike every other array.
        (None, b'b') if read.element != 0 && oid != 22 && oid != 30 => PgKind::Array(part(read.element)),
        _ => PgKind::Other,
    };
    let made = Arc::new(PgType { oid, schema: read.schema.clone(), name: read.name.clone(), kind });
    resolved.insert(oid, Arc::clone(&made));
    made
}

fn other(oid: u32, schema: &str, name: &str) -> PgType {
    PgType { oid, schema: schema.to_string(), name: name.to_string(), kind: PgKind::Other }
}
