//! Who asks, and how they prove it.

use super::target::{Target, Tls};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use polder_catalog::{Error, Result, SqlState};
use std::fmt;
use std::path::{Path, PathBuf};

/// What is shown to a server. Secrets have no way to be printed.
#[derive(Clone, Default)]
pub(crate) struct Login {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    /// The authorities that a server's certificate is verified by, if not those of the system.
    pub(super) authorities: Option<PathBuf>,
}

impl Login {
    /// # Errors
    /// 58P01 for a file that cannot be read.
    pub(crate) fn new(
        user: Option<&str>,
        password: Option<String>,
        token_file: Option<&Path>,
        authorities: Option<&Path>,
    ) -> Result<Self> {
        let token = token_file.map(|file| secret("--token-file", file)).transpose()?;
        let authorities = authorities.map(Path::to_path_buf);
        Ok(Self { user: user.map(str::to_string), password, token, authorities })
    }

    /// A secret goes to another machine by TLS or not at all.
    pub(super) fn check(&self, target: &Target) -> Result<()> {
        let is_secret = self.password.is_some() || self.token.is_some();
        if is_secret && target.tls == Tls::Never && !target.is_loopback() {
            return Err(Error::fix(SqlState::LOGIN, "a secret would travel in the clear")
                .with_hint("use https://, grpc+tls:// or sslmode=require"));
        }
        Ok(())
    }

    /// The user: as said, as the URL has it, or that of the system.
    pub(super) fn user(&self, target: &Target) -> String {
        let system = || std::env::var("USER").ok().filter(|user| !user.is_empty());
        self.user.clone().or_else(|| target.user.clone()).or_else(system).unwrap_or_else(|| "polder".to_string())
    }

    /// The password; a token takes its place.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref().or(self.token.as_deref())
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The header `Authorization` by user and password (RFC 7617).
    pub(super) fn basic(&self, target: &Target) -> String {
        let pair = format!("{}:{}", self.user(target), self.password.as_deref().unwrap_or_default());
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    /// The header `Authorization`, if there is something to show.
    pub(super) fn authorization(&self, target: &Target) -> Option<String> {
        match &self.token {
            Some(token) => Some(format!("Bearer {token}")),
            None => self.password.is_some().then(|| self.basic(target)),
        }
    }
}

/// The first line of a file.
pub(crate) fn secret(option: &str, file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::fix(SqlState::NO_FILE, format!("{option}: could not read {}", file.display()))
            .with_detail(error.to_string())
    })?;
    Ok(text.lines().next().unwrap_or_default().to_string())
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login::new(Some("ada"), Some("sesame".to_string()), None, None).unwrap()
    }

    #[test]
    fn a_secret_does_not_travel_in_the_clear() {
        let checked = |url: &str| login().check(&Target::parse(url).unwrap()).map_err(|error| error.state());
        assert_eq!(checked("http://192.0.2.1"), Err(SqlState::LOGIN));
        assert_eq!(checked("postgres://192.0.2.1/?sslmode=disable"), Err(SqlState::LOGIN));
        for url in ["https://192.0.2.1", "grpc+tls://192.0.2.1", "http://127.0.0.1", "grpc://localhost"] {
            assert_eq!(checked(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn the_user_of_the_command_counts_before_that_of_the_url() {
        let target = Target::parse("http://bob@127.0.0.1").unwrap();
        assert_eq!(login().authorization(&target).unwrap(), "Basic YWRhOnNlc2FtZQ==");
        assert_eq!(Login::default().user(&target), "bob");
        assert_eq!(Login::default().authorization(&target), None);
        assert!(!format!("{:?}", login()).contains("sesame"));
    }
}
