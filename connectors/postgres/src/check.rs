//! `CHECK CATALOG`: reachable, version, TLS, rights; and for what is missing, the statement that mends it.

use crate::connection::{Endpoint, Session};
use crate::options::SslVerification;
use crate::pool::Pool;
use polder_catalog::{Check, CheckState, Error, ReadContext, Result};
use std::sync::Arc;
use tokio_postgres::Row;

/// The oldest version that is supported by PostgreSQL's community at the time of writing, less two.
const VERSION_MIN: i32 = 120_000;

const SESSION: &str = "
SELECT pg_catalog.current_setting('server_version') AS version,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS number,
       pg_catalog.current_setting('server_encoding') AS encoding,
       current_user::pg_catalog.text AS role,
       pg_catalog.current_database()::pg_catalog.text AS database,
       (SELECT s.version || ', ' || s.cipher FROM pg_catalog.pg_stat_ssl s
        WHERE s.pid = pg_catalog.pg_backend_pid() AND s.ssl) AS tls";

/// Per schema that is not the server's own: whether it can be looked into, and which relations cannot be read.
const RIGHTS: &str = "
SELECT n.nspname::pg_catalog.text AS schema,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usage,
       count(c.oid) AS relations,
       count(c.oid) FILTER (WHERE NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')) AS refused
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
GROUP BY n.oid, n.nspname
ORDER BY n.nspname::pg_catalog.text COLLATE pg_catalog.\"C\"";

pub(crate) async fn check(pool: &Arc<Pool>, context: &ReadContext) -> Vec<Check> {
    let endpoint = Arc::clone(pool.endpoint());
    let checked = pool.describe(context, async |session| look(&endpoint, session).await).await;
    checked.unwrap_or_else(|error| vec![unreachable(&error)])
}

async fn look(endpoint: &Endpoint, session: &mut Session) -> Result<Vec<Check>> {
    let failed = |error| endpoint.failed(error);
    let about = session.client.query_typed_one(SESSION, &[]).await.map_err(failed)?;
    let rights = session.client.query_typed(RIGHTS, &[]).await.map_err(failed)?;
    let role: String = about.try_get("role").map_err(failed)?;
    let database: String = about.try_get("database").map_err(failed)?;
    let mut checks = vec![
        Check::ok("reachable", format!("database \"{database}\" as role \"{role}\"")),
        version(&about).map_err(failed)?,
        encryption(&about, endpoint.options.ssl).map_err(failed)?,
        encoding(&about).map_err(failed)?,
    ];
    for row in &rights {
        checks.push(rights_on(row, &role).map_err(failed)?);
    }
    Ok(checks)
}

fn unreachable(error: &Error) -> Check {
    let detail = match error.detail() {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    };
    Check::failed("reachable", detail, error.hint().map(str::to_string))
}

type DriverResult<T> = std::result::Result<T, tokio_postgres::Error>;

fn version(about: &Row) -> DriverResult<Check> {
    let version: String = about.try_get("version")?;
    let number: i32 = about.try_get("number")?;
    Ok(if number >= VERSION_MIN {
        Check::ok("version", version)
    } else {
        Check::failed("version", version, Some("upgrade the server to version 12 or newer".to_string()))
    })
}

fn encryption(about: &Row, wanted: SslVerification) -> DriverResult<Check> {
    let tls: Option<String> = about.try_get("tls")?;
    Ok(match (tls, wanted) {
        (Some(tls), SslVerification::Full | SslVerification::Authority) => Check::ok("tls", tls),
        (Some(tls), _) => Check::warning(
            "tls",
            format!("{tls}; the server's certificate is not verified"),
            Some("set the catalog's options sslmode = 'verify-full' and sslrootcert".to_string()),
        ),
        (None, SslVerification::Disable) => Check::ok("tls", "not encrypted, as sslmode = disable says"),
        (None, _) => Check::warning(
            "tls",
            "not encrypted",
            Some("switch on ssl at the server, or set the catalog's option sslmode = 'require'".to_string()),
        ),
    })
}

fn encoding(about: &Row) -> DriverResult<Check> {
    let encoding: String = about.try_get("encoding")?;
    let copy = || Some("copy the data into a database made with CREATE DATABASE ... ENCODING 'UTF8'".to_string());
    Ok(match encoding.as_str() {
        "UTF8" => Check::ok("encoding", encoding),
        "SQL_ASCII" => {
            let detail = "SQL_ASCII; the server does not know what its texts are: one that is not UTF-8 fails the query, \
                          and conditions on text are evaluated here";
            Check::warning("encoding", detail, copy())
        }
        other => {
            let detail = format!("{other}; texts are converted, and conditions on them are evaluated here");
            Check::warning("encoding", detail, copy())
        }
    })
}

fn rights_on(row: &Row, role: &str) -> DriverResult<Check> {
    let schema: String = row.try_get("schema")?;
    let relations: i64 = row.try_get("relations")?;
    let refused: i64 = row.try_get("refused")?;
    let item = format!("rights on {schema}");
    let (schema, role) = (quoted(&schema), quoted(role));
    if !row.try_get::<_, bool>("usage")? {
        let fix = format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
        );
        return Ok(Check::failed(item, "the schema cannot be looked into", Some(fix)));
    }
    if refused > 0 {
        let fix = format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}");
        let detail = format!("{refused} of {relations} tables cannot be read");
        return Ok(Check { item, state: CheckState::Warning, detail, fix: Some(fix) });
    }
    Ok(Check::ok(item, format!("all {relations} tables can be read")))
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
