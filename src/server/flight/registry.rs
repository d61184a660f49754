//! What is kept between calls, under names that nobody guesses: so much of it, and as long as somebody uses it.

use polder_catalog::{Error, Result, SqlState};
use rustls::crypto::SecureRandom;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How much is kept, and how long without use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) count: usize,
    pub(super) bytes: usize,
    pub(super) idle: Duration,
}

/// Things of one kind by their ids.
pub(super) struct Registry<T> {
    what: &'static str,
    limits: Limits,
    /// Whether the one that was used longest ago makes room for a new one.
    evicts: bool,
    random: &'static dyn SecureRandom,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    entries: HashMap<String, Entry<T>>,
    bytes: usize,
}

struct Entry<T> {
    value: Arc<T>,
    bytes: usize,
    used: Instant,
}

impl<T> Registry<T> {
    pub(super) fn new(what: &'static str, limits: Limits) -> Self {
        let random = rustls::crypto::ring::default_provider().secure_random;
        let kept = Mutex::new(Kept { entries: HashMap::new(), bytes: 0 });
        Self { what, limits, evicts: false, random, kept }
    }

    pub(super) fn evicting(self) -> Self {
        Self { evicts: true, ..self }
    }

    /// Keeps something that takes so many bytes; its id.
    ///
    /// # Errors
    /// 53300 if there is too much of it.
    pub(super) fn put(&self, value: Arc<T>, bytes: usize) -> Result<String> {
        let id = self.new_id()?;
        let mut kept = self.kept();
        while kept.entries.len() >= self.limits.count || kept.bytes.saturating_add(bytes) > self.limits.bytes {
            if !self.evicts || !kept.evict() {
                return Err(Error::retry(
                    SqlState::CONNECTIONS,
                    format!("too many of one kind are kept: {}", self.what),
                )
                .with_hint("close those that are done with"));
            }
        }
        kept.bytes += bytes;
        kept.entries.insert(id.clone(), Entry { value, bytes, used: Instant::now() });
        Ok(id)
    }

    /// # Errors
    /// 42704 if there is none of this id.
    pub(super) fn get(&self, id: &[u8]) -> Result<Arc<T>> {
        let mut kept = self.kept();
        let entry = std::str::from_utf8(id).ok().and_then(|id| kept.entries.get_mut(id));
        let entry = entry.ok_or_else(|| self.unknown())?;
        entry.used = Instant::now();
        Ok(Arc::clone(&entry.value))
    }

    /// Gives it back and forgets it.
    ///
    /// # Errors
    /// 42704 if there is none of this id.
    pub(super) fn take(&self, id: &[u8]) -> Result<Arc<T>> {
        let mut kept = self.kept();
        let taken = std::str::from_utf8(id).ok().and_then(|id| kept.remove(id));
        taken.ok_or_else(|| self.unknown())
    }

    /// Forgets what nobody has used for too long. What is in use just now is used.
    pub(super) fn sweep(&self) {
        let (now, idle) = (Instant::now(), self.limits.idle);
        let mut kept = self.kept();
        for entry in kept.entries.values_mut().filter(|entry| Arc::strong_count(&entry.value) > 1) {
            entry.used = now;
        }
        let is_idle = |entry: &Entry<T>| Arc::strong_count(&entry.value) == 1 && now.duration_since(entry.used) >= idle;
        let idle: Vec<_> = kept.entries.iter().filter(|(_, entry)| is_idle(entry)).map(|(id, _)| id.clone()).collect();
        idle.iter().for_each(|id| drop(kept.remove(id)));
    }

    fn unknown(&self) -> Error {
        Error::fix(SqlState::NO_OBJECT, format!("there is no such {}", self.what))
            .with_hint("it was closed or used up, nobody used it for too long, or the server has started anew")
    }

    /// 128 bits of chance.
    fn new_id(&self) -> Result<String> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).map_err(|_| Error::report("the system has no chance to give"))?;
        Ok(bytes.iter().fold(String::new(), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Kept<T> {
    fn remove(&mut self, id: &str) -> Option<Arc<T>> {
        let entry = self.entries.remove(id)?;
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Whether there was one to forget.
    fn evict(&mut self) -> bool {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
        oldest.is_some_and(|id| self.remove(&id).is_some())
    }
}
