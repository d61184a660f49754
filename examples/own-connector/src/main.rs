//! The `polder` command with one more connector: `CREATE CATALOG backup USING pg_dump WITH (file = 'shop.sql')`.

use polder_pg_dump::DumpConnector;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    polder::cli::main(polder::Engine::builder().connector(Arc::new(DumpConnector)))
}
