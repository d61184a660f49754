//! The questions. Every name in them is qualified, so no object of a user can stand in for the server's own.

/// The recursive part: elements of arrays, bases of domains, attributes of row types.
macro_rules! types_below {
    () => {
        "
  UNION
  SELECT part.oid
  FROM needed
  JOIN pg_catalog.pg_type t ON t.oid = needed.oid
  CROSS JOIN LATERAL (
    SELECT t.typelem WHERE t.typcategory = 'A' AND t.typlen = -1 AND t.typelem <> 0
    UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
              WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  ) AS part(oid)
)
SELECT t.oid, n.nspname::pg_catalog.text AS schema, t.typname::pg_catalog.text AS name, t.typtype AS kind,
       CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem ELSE 0::pg_catalog.oid END AS element,
       t.typbasetype AS base, t.typtypmod AS typmod,
       parts.names, parts.types, parts.typmods
FROM needed
JOIN pg_catalog.pg_type t ON t.oid = needed.oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN LATERAL (
  SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum) AS names,
         pg_catalog.array_agg(a.atttypid ORDER BY a.attnum) AS types,
         pg_catalog.array_agg(a.atttypmod ORDER BY a.attnum) AS typmods
  FROM pg_catalog.pg_attribute a
  WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
) AS parts ON true"
    };
}

/// Schemas that the role may look into. The server's own are left out, or they would drown the user's tables in a listing;
/// asked for by name, their relations are there. `pg_` cannot start the name of a user's schema.
pub(crate) const SCHEMAS: &str = "
SELECT n.nspname::pg_catalog.text AS name
FROM pg_catalog.pg_namespace n
WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
ORDER BY n.nspname::pg_catalog.text COLLATE pg_catalog.\"C\"";

/// Relations of one schema: tables, views, materialized views, partitioned and foreign tables.
pub(crate) const RELATIONS: &str = "
SELECT c.oid, c.relname::pg_catalog.text AS name, c.relkind AS kind
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1::pg_catalog.text::pg_catalog.name AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
ORDER BY c.relname::pg_catalog.text COLLATE pg_catalog.\"C\"";

/// One relation. `$1` is its schema, `$2` its name.
pub(crate) const RELATION: &str = "
SELECT c.oid, c.relkind AS kind, c.reltuples AS rows,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END AS bytes,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version,
       pg_catalog.current_setting('server_encoding') = 'UTF8' AS is_utf8
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1::pg_catalog.name AND c.relname = $2::pg_catalog.name AND c.relkind IN ('r', 'v', 'm', 'p', 'f')";

/// Its columns, with what the statistics tell. The scale of a numeric without precision is the largest that a sampled
/// value has. For a partitioned table the statistics of the whole tree count. A database's own collation is C only if it is
/// not ICU's, which older versions have no column for.
pub(crate) const COLUMNS: &str = "
SELECT a.attname::pg_catalog.text AS name, a.attnum, a.atttypid AS type, a.atttypmod AS typmod, a.attnotnull AS not_null,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS native_type,
       coalesce(l.collisdeterministic, true) AS deterministic,
       coalesce(CASE l.collprovider
                  WHEN 'c' THEN l.collcollate IN ('C', 'POSIX')
                  WHEN 'd' THEN (SELECT d.datcollate IN ('C', 'POSIX')
                                   AND coalesce(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' FROM pg_catalog.pg_database d
                                 WHERE d.datname = pg_catalog.current_database())
                END, false) AS is_c,
       s.null_frac AS null_fraction, s.avg_width AS width, s.n_distinct AS distinct,
       CASE WHEN a.atttypid = 1700 AND a.atttypmod < 0 THEN
         (SELECT max(pg_catalog.scale(v.value))
          FROM pg_catalog.unnest(s.most_common_vals::pg_catalog.text::pg_catalog.numeric[]
                                 || s.histogram_bounds::pg_catalog.text::pg_catalog.numeric[]) AS v(value))
       END AS scale
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
                                AND s.inherited = (c.relkind = 'p')
WHERE n.nspname = $1::pg_catalog.name AND c.relname = $2::pg_catalog.name AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
ORDER BY a.attnum";

/// The types of its columns and all that they are made of.
pub(crate) const TYPES_OF_RELATION: &str = concat!(
    "
WITH RECURSIVE needed(oid) AS (
  SELECT a.atttypid
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE n.nspname = $1::pg_catalog.name AND c.relname = $2::pg_catalog.name AND c.relkind IN ('r', 'v', 'm', 'p', 'f')",
    types_below!()
);

/// The types of a list of oids and all that they are made of.
pub(crate) const TYPES_OF_OIDS: &str =
    concat!("WITH RECURSIVE needed(oid) AS (SELECT pg_catalog.unnest($1::pg_catalog.oid[])", types_below!());
