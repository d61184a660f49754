//! Logins by password or token, and patience with those that fail.

use super::store::{Access, lock};
use super::{Token, Verifier};
use polder_catalog::{Error, Result, SqlState};
use rustls::crypto::ring::default_provider;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How often logins have failed of late.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<String, (u32, Instant)>>);

/// The wait after the first failure; it doubles with each.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// After this long without a failure there was none.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// So many names are remembered; guesses of names must not fill the memory.
const NAMES_MAX: usize = 10_000;

impl Failures {
    /// How long the next answer waits.
    pub(super) fn count(&self, user: &str) -> Duration {
        let now = Instant::now();
        let mut failures = lock(&self.0);
        if failures.len() >= NAMES_MAX {
            failures.retain(|_, (_, at)| now.duration_since(*at) < FORGOTTEN);
        }
        if failures.len() >= NAMES_MAX {
            return WAIT_MAX;
        }
        let (count, at) = failures.entry(user.to_string()).or_insert((0, now));
        *count = if now.duration_since(*at) < FORGOTTEN { count.saturating_add(1) } else { 1 };
        *at = now;
        WAIT.saturating_mul(1 << (*count - 1).min(10)).min(WAIT_MAX)
    }

    fn clear(&self, user: &str) {
        lock(&self.0).remove(user);
    }
}

impl Access {
    /// What a user's password is checked with. Who does not exist gets one that no password fits.
    pub(crate) fn verifier(&self, user: &str) -> Verifier {
        let roles = self.roles();
        let role = roles.roles.get(user).filter(|role| role.login);
        let verifier = role.and_then(|role| Verifier::parse(role.verifier.as_deref()?));
        verifier.unwrap_or_else(|| Verifier::of_nobody(&self.secret, user))
    }

    /// Logs in by password.
    ///
    /// # Errors
    /// 28P01, after a while that grows with each failure.
    pub(crate) async fn by_password(&self, user: &str, password: &str) -> Result<Arc<str>> {
        let verifier = self.verifier(user);
        let (password, name) = (password.to_string(), user.to_string());
        // It takes thousands of hashes.
        let fits = tokio::task::spawn_blocking(move || verifier.fits(&password)).await.unwrap_or(false);
        match fits {
            true => Ok(self.succeeded(user)),
            false => Err(self.failed(&name).await),
        }
    }

    /// Logs in by token.
    ///
    /// # Errors
    /// 28000 for one that is unknown or too old.
    pub(crate) async fn by_token(&self, token: &str, now: i64) -> Result<Arc<str>> {
        let hash = hash(token);
        let roles = self.roles();
        let known = roles.tokens.values().find(|known| known.hash == hash);
        let is_valid = |token: &&Token| token.valid_until.is_none_or(|until| now < until);
        match known.filter(is_valid).filter(|token| roles.roles.get(&token.user).is_some_and(|role| role.login)) {
            Some(token) => Ok(Arc::from(token.user.as_str())),
            None => {
                tokio::time::sleep(WAIT).await;
                Err(Error::fix(SqlState::LOGIN, "the token is not valid").with_hint("it may be too old, or dropped"))
            }
        }
    }

    pub(crate) fn succeeded(&self, user: &str) -> Arc<str> {
        self.failures.clear(user);
        tracing::info!(%user, "logged in");
        Arc::from(user)
    }

    /// What a failed login is told, when it has waited. Whether there is such a user is not.
    pub(crate) async fn failed(&self, user: &str) -> Error {
        tokio::time::sleep(self.failures.count(user)).await;
        tracing::warn!(%user, "a login failed");
        Error::fix(SqlState::PASSWORD, format!("password authentication failed for user \"{user}\""))
    }
}

/// How a token is kept.
pub(crate) fn hash(token: &str) -> String {
    hexadecimal(&Sha256::digest(token.as_bytes()))
}

/// One that nobody guesses.
pub(crate) fn new_token() -> Result<String> {
    Ok(format!("polder_{}", hexadecimal(&random::<24>()?)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What makes a login one that cannot be repeated.
pub(crate) fn new_nonce() -> Result<String> {
    Ok(hexadecimal(&random::<18>()?))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| Error::report("the system has no chance to give"))?;
    Ok(bytes)
}
