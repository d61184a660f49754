//! The customer database of the tour in a PostgreSQL that the user names: a schema of its own, for as long as the tour lasts.

use super::customers::customers;
use crate::engine::Engine;
use crate::sql::literal;
use polder_catalog::{CatalogName, Connector, Options, Result};
use polder_postgres::{PostgresConnector, run_script};
use std::fmt::Write;

/// As libpq: what a user of psql has set already.
const PASSWORD: &str = "PGPASSWORD";

/// Somebody else's lock must not hold the tour up.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '10s';";

/// A schema with the table `customers`.
pub(super) struct Schema {
    pub(super) name: String,
    given: Vec<(String, String)>,
}

impl Schema {
    /// Makes and fills it, all or nothing. Its name is in use nowhere else.
    ///
    /// # Errors
    /// If the server cannot be reached, or the user may not create a schema.
    pub(super) async fn create(url: &str, engine: &Engine) -> Result<Self> {
        let name = format!("polder_demo_{}", engine.0.env.next_query().replace('-', "_"));
        let mut given = vec![("url".to_string(), url.to_string())];
        if std::env::var_os(PASSWORD).is_some() {
            given.push(("password".to_string(), format!("env:{PASSWORD}")));
        }
        let schema = Self { name, given };
        schema.run(&schema.creation()).await?;
        Ok(schema)
    }

    /// Drops it with everything in it.
    pub(super) async fn drop(self) -> Result<()> {
        let place = format!("schema {} of the tour is still there", self.name);
        let dropped = self.run(&format!("{LOCK_TIMEOUT} DROP SCHEMA {} CASCADE", self.name)).await;
        dropped.map_err(|error| error.at(place).with_hint(format!("DROP SCHEMA {} CASCADE", self.name)))
    }

    /// Attaches the database under the name `crm`.
    pub(super) fn catalog(&self) -> String {
        let options: Vec<_> = self.given.iter().map(|(name, value)| format!("{name} = {}", literal(value))).collect();
        format!("CREATE CATALOG crm USING postgres WITH ({})", options.join(", "))
    }

    fn creation(&self) -> String {
        let table = format!("{}.customers", self.name);
        let columns = "id bigint PRIMARY KEY, name text NOT NULL, city text NOT NULL, country text NOT NULL";
        let mut script = format!(
            "{LOCK_TIMEOUT} BEGIN; CREATE SCHEMA {}; CREATE TABLE {table} ({columns}); INSERT INTO {table} VALUES ",
            self.name
        );
        for (at, customer) in customers().iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            let texts = [&*customer.name, customer.city, customer.country].map(literal);
            write!(script, "{separator}({}, {})", at + 1, texts.join(", ")).expect("a String takes any text");
        }
        write!(script, "; ANALYZE {table}; COMMIT").expect("a String takes any text");
        script
    }

    async fn run(&self, script: &str) -> Result<()> {
        let writes = ("access".to_string(), "write".to_string());
        let given = self.given.iter().cloned().chain([writes]);
        let options = Options::validate(PostgresConnector.options(), given)?;
        run_script(&CatalogName::new("crm"), &options, script).await
    }
}
