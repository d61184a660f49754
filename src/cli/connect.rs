//! Options that say which server runs the statements, and who asks it.

use crate::client::{Login, Server, secret};
use polder_catalog::Result;
use std::path::PathBuf;

/// A server that runs the statements, instead of an engine of this process.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "At a server")]
pub(super) struct ConnectArguments {
    /// Runs the statements at a server: http://HOST:PORT, grpc://HOST:PORT (Flight SQL) or postgresql://HOST:PORT/polder; with TLS
    /// https://, grpc+tls:// or sslmode=require.
    #[arg(long, value_name = "URL")]
    connect: Option<String>,
    /// Who asks; otherwise the URL says it, or it is the user of the system.
    #[arg(long, value_name = "NAME", requires = "connect")]
    user: Option<String>,
    /// The file whose first line is the password; otherwise POLDER_PASSWORD holds it.
    #[arg(long, value_name = "FILE", requires = "connect")]
    password_file: Option<PathBuf>,
    /// The file whose first line is a token, shown instead of user and password.
    #[arg(long, value_name = "FILE", requires = "connect", conflicts_with = "password_file")]
    token_file: Option<PathBuf>,
    /// The authorities that the server's certificate is verified by, as PEM; otherwise those of the system.
    #[arg(long, value_name = "FILE", requires = "connect")]
    ca: Option<PathBuf>,
}

impl ConnectArguments {
    pub(super) fn is_given(&self) -> bool {
        self.connect.is_some()
    }

    /// The server, if one is named.
    ///
    /// # Errors
    /// 22023 for another address, 58P01 for a file that cannot be read.
    pub(super) fn server(&self) -> Result<Option<Server>> {
        let Some(url) = &self.connect else { return Ok(None) };
        let password = match (&self.password_file, &self.token_file) {
            (Some(file), _) => Some(secret("--password-file", file)?),
            (None, Some(_)) => None,
            (None, None) => std::env::var("POLDER_PASSWORD").ok().filter(|password| !password.is_empty()),
        };
        let login = Login::new(self.user.as_deref(), password, self.token_file.as_deref(), self.ca.as_deref())?;
        Server::new(url, login).map(Some)
    }
}
