//! Changing definitions: one statement at a time, durable before visible, and never half done.

use crate::catalogs::{Catalogs, POLDER};
use crate::commit::{Committed, log_error};
use crate::definitions::{TableDefinition, definitions_in, entry_of};
use crate::engine::{Engine, Inner};
use crate::session::Session;
use polder_catalog::{CatalogName, Error, ReadContext, Result};
use polder_log::store::{EntryKind, NewEntry, Offset};
use polder_rows::{Changes, Proposal};
use tokio::sync::OwnedMutexGuard;

/// The right to change definitions, and the copy of them that is changed. It is given back when this is dropped or published:
/// whoever then waits for a store, waits alone.
pub(super) struct Defining {
    engine: Engine,
    pub(super) catalogs: Catalogs,
    _turn: OwnedMutexGuard<()>,
}

impl Defining {
    /// Waits for the right.
    ///
    /// # Errors
    /// The context's, if that ends first.
    pub(super) async fn begin(session: &Session, context: &ReadContext) -> Result<Self> {
        let engine = session.engine.clone();
        let turn = tokio::select! {
            turn = std::sync::Arc::clone(&engine.0.defining).lock_owned() => turn,
            error = context.stopped() => return Err(error),
        };
        let catalogs = Catalogs::clone(&engine.0.catalogs());
        Ok(Self { engine, catalogs, _turn: turn })
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Inner {
        &self.engine.0
    }

    /// Makes the changed copy durable, as an entry of the log, then visible. Where the entry ends, if anything changed that
    /// is kept.
    pub(super) async fn publish(self) -> Result<Option<Offset>> {
        let changes = self.engine().catalogs().definitions().changes_to(&self.catalogs.definitions());
        if changes.is_empty() {
            self.show().await;
            return Ok(None);
        }
        let mut entry = self.engine().commit.new_entry(EntryKind::DEFINITION).await?;
        entry_of(&mut entry, &changes).map_err(log_error)?;
        let definitions = definitions_in(&changes, &CatalogName::new(POLDER));
        let proposal = self.engine().commit.propose(definitions, &Changes::default(), None).await?;
        self.publish_entry(entry, proposal).await.map(Some)
    }

    /// The same with an entry that says it already, and more.
    ///
    /// What is on its way to the log cannot be called back, so a statement that is given up leaves the rest to a task of its
    /// own: what the log says and what is defined here never differ.
    pub(super) async fn publish_entry(self, entry: NewEntry, proposal: Proposal) -> Result<Offset> {
        let publishing = tokio::spawn(async move {
            let engine = self.engine();
            let is_spread = |table: &TableDefinition| table.sharding.is_some();
            let old = engine.catalogs();
            // Nobody writes under another definition than that of the shard.
            let gate = match old.tables.values().chain(self.catalogs.tables.values()).any(is_spread) {
                true => Some(engine.gate.write().await),
                false => None,
            };
            let Committed::Now(end) = self.engine().commit.commit(entry, proposal, None).await? else {
                return Err(Error::report("a definition was taken for a request"));
            };
            engine.commit.set_tables(self.catalogs.tables.values());
            // A shard that cannot take it now hears of it with the next definition, or when the directory is opened again.
            let in_shards = if gate.is_some() { engine.commit.define_in_shards().await } else { Ok(()) };
            drop(gate);
            self.show().await;
            in_shards.map(|()| end)
        });
        publishing.await.map_err(|error| Error::report("a definition ended in a panic").with_source(error))?
    }

    /// Makes the copy visible. It is durable by now, so what fails after it is told in the log and fails no statement.
    async fn show(self) {
        let engine = self.engine();
        let definitions = self.catalogs.definitions();
        engine.replace_catalogs(self.catalogs.clone());
        if let Err(error) = engine.follow().await {
            tracing::error!(%error, "could not follow the log with what is defined now");
        }
        if let Err(error) = engine.store.save(&definitions, &engine.commit).await {
            tracing::warn!(%error, "could not write the checkpoint of definitions; it is made again from the log");
        }
    }
}
