//! One session at the server, pinned so that every text it prints and reads means the same everywhere.

use crate::options::PgOptions;
use crate::{error, tls};
use polder_catalog::{CatalogName, Error, Result, SqlState};
use std::sync::OnceLock;
use tokio::runtime::Handle;
use tokio_postgres::{CancelToken, Client};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Settings that a role or database may have changed and that would change what our queries mean: the zone and style of
/// dates, the digits of floats, how literals are read, where names are looked up. Nothing in a scan relies on the search
/// path, so it is closed. The server must not end our transaction between two scans of one query.
const PINS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
    SET bytea_output = 'hex'; SET extra_float_digits = 1; SET standard_conforming_strings = on; \
    SET transform_null_equals = off; SET quote_all_identifiers = off; \
    SET search_path = pg_catalog; SET idle_in_transaction_session_timeout = 0";

/// Where sessions are opened.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) catalog: CatalogName,
    pub(crate) options: PgOptions,
    tls: OnceLock<Tls>,
}

/// The driver's TLS connector, which has no `Debug`.
#[derive(Clone)]
struct Tls(MakeRustlsConnect);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// An open session. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    tls: Tls,
    runtime: Handle,
    /// Whether a text that is not ours has run here, which may have left anything behind in the session.
    pub(crate) tainted: bool,
    /// Whether a statement could not be brought to an end, so that nobody knows where the session stands.
    pub(crate) broken: bool,
}

impl Endpoint {
    pub(crate) fn new(catalog: CatalogName, options: PgOptions) -> Self {
        Self { catalog, options, tls: OnceLock::new() }
    }

    /// Opens a session. The password is read now, so a rotated one is picked up.
    pub(crate) async fn connect(&self) -> Result<Session> {
        let connecting = Box::pin(self.open());
        match tokio::time::timeout(self.options.connect_timeout, connecting).await {
            Ok(result) => result,
            Err(_) => Err(self.at(Error::retry(SqlState::CONNECTION, "could not connect in time")
                .with_hint("check host and port in the catalog's options, or raise connect_timeout"))),
        }
    }

    async fn open(&self) -> Result<Session> {
        let tls = self.tls()?;
        let mut config = self.options.config.clone();
        config.ssl_mode(tls::mode(self.options.ssl));
        config.application_name(&self.options.application_name);
        config.connect_timeout(self.options.connect_timeout);
        if let Some(secret) = &self.options.password {
            config.password(secret.reveal().map_err(|error| self.at(error))?.expose());
        }
        let (client, connection) = config.connect(tls.0.clone()).await.map_err(|error| self.failed(error))?;
        // The driver's task is owned by the client: it ends when the client is dropped and all answers have come.
        let catalog = self.catalog.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(source = %catalog, %error, "connection ended");
            }
        });
        client.batch_execute(PINS).await.map_err(|error| self.failed(error))?;
        if self.options.read_only {
            client.batch_execute("SET default_transaction_read_only = on").await.map_err(|error| self.failed(error))?;
        }
        Ok(Session { client, tls, runtime: Handle::current(), tainted: false, broken: false })
    }

    fn tls(&self) -> Result<Tls> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let made = Tls(tls::connector(&self.options).map_err(|error| self.at(error))?);
        Ok(self.tls.get_or_init(|| made).clone())
    }

    /// An error of the driver, with the source's name.
    pub(crate) fn failed(&self, error: tokio_postgres::Error) -> Error {
        error::of_driver(&self.catalog, error)
    }

    /// An error of ours, with the source's name.
    pub(crate) fn at(&self, error: Error) -> Error {
        error::at(&self.catalog, error)
    }
}

impl Session {
    /// Whether the session can run another statement of the same query.
    pub(crate) fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.broken
    }

    /// Whether another query can have the session.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_usable() && !self.tainted
    }

    pub(crate) fn canceller(&self) -> Canceller {
        Canceller { token: self.client.cancel_token(), tls: self.tls.clone(), runtime: self.runtime.clone() }
    }
}

/// Stops what a session's backend is doing, from outside the session.
#[derive(Clone)]
pub(crate) struct Canceller {
    token: CancelToken,
    tls: Tls,
    runtime: Handle,
}

impl Canceller {
    /// Asks the server to stop the statement. It may be done already.
    pub(crate) async fn cancel(&self) {
        if let Err(error) = self.token.cancel_query(self.tls.0.clone()).await {
            tracing::debug!(%error, "could not cancel a statement");
        }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
