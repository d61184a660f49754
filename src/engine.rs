//! The engine: opens the data directory, attaches catalogs, hands out sessions.

use crate::access::{Access, LOCAL};
use crate::activity::Activity;
use crate::catalogs::{Attached, Catalogs, Origin, POLDER};
use crate::checkpoint::{self, Checkpoints, RECORDS};
use crate::commit::Commit;
use crate::config::{Config, ServerConfig};
use crate::connectors;
use crate::definitions::{DefinitionStore, TableDefinition};
use crate::effects::Effects;
use crate::env::Env;
use crate::follow::Followers;
use crate::locations::Locations;
use crate::past::Pasts;
use crate::plan;
use crate::requests::Requests;
use crate::retain;
use crate::run;
use crate::session::Session;
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use futures::FutureExt;
use polder_catalog::{CatalogName, Connector, Error, Kind, ReadContext, Registry, Result, Source, SqlState};
use polder_log::LogSource;
use polder_log::store::{Attributes, LogOptions, Offset};
use polder_rows::RowsSource;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{OnceCell, OwnedMutexGuard, RwLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// One open data directory with everything attached to it. Cheap to clone; all clones are one engine.
#[derive(Clone, Debug)]
pub struct Engine(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) registry: Registry,
    pub(crate) config: Config,
    pub(crate) env: Env,
    pub(crate) activity: Arc<Activity>,
    pub(crate) local_files: bool,
    /// Where catalogs that are defined from now on may lead.
    pub(crate) locations: Locations,
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// The state that every query starts from: functions, rules and configuration, without tables.
    pub(crate) template: SessionState,
    pub(crate) store: DefinitionStore,
    /// Who may do what.
    pub(crate) access: Access,
    pub(crate) commit: Commit,
    pub(crate) followers: Followers,
    pub(crate) turns: Turns,
    /// The topics, once the log is open.
    topics: OnceCell<Arc<LogSource>>,
    /// What is attached and defined. A statement takes one snapshot and keeps it.
    catalogs: Mutex<Arc<Catalogs>>,
    /// Held from reading a snapshot to replacing it, so that definitions are changed one at a time.
    pub(crate) defining: Arc<tokio::sync::Mutex<()>>,
    /// The greatest id that was given to a dataset, or is about to be.
    datasets: AtomicU64,
    directory: PathBuf,
    temporary: Option<TempDir>,
    pub(crate) checkpoints: Arc<Checkpoints>,
    /// Held by every statement that writes Polder's own tables, together with others; alone by one that was disturbed too often.
    pub(crate) gate: Arc<RwLock<()>>,
    /// States of the past that were asked for.
    pub(crate) pasts: Pasts,
    /// Ends what does the effects of requests.
    pub(crate) closing: CancellationToken,
    /// Statements whose client does not wait; closing the engine waits for them.
    pub(crate) detached: TaskTracker,
    /// Removes what topics no longer keep; ends with the engine.
    _retention: AbortOnDropHandle<()>,
    /// Writes checkpoints of the tables; ends with the engine.
    checkpointing: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// The folder of the checkpoint of the tables, beside the log.
const CHECKPOINT: &str = "tables";

/// Gathers what an engine is opened with.
pub struct EngineBuilder {
    connectors: Vec<Arc<dyn Connector>>,
    directory: Option<PathBuf>,
    config: Config,
    local_files: bool,
    locations: Locations,
    log: LogOptions,
}

impl EngineBuilder {
    /// Adds a connector to those that come with Polder.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connectors.push(connector);
        self
    }

    /// Where definitions are kept. `None` for a temporary directory that goes with the engine.
    #[must_use]
    pub fn data_dir(mut self, directory: Option<PathBuf>) -> Self {
        self.directory = directory;
        self
    }

    /// Settings and declared catalogs.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Changes the limits of what is served.
    ///
    /// # Errors
    /// 22023 for one that means nothing.
    pub(crate) fn server_limits(mut self, change: impl FnOnce(&mut ServerConfig)) -> Result<Self> {
        change(&mut self.config.server);
        self.config.server.check()?;
        Ok(self)
    }

    /// How the log is opened, on another disk perhaps.
    #[cfg(test)]
    pub(crate) fn log_options(mut self, log: LogOptions) -> Self {
        self.log = log;
        self
    }

    /// Whether `SELECT * FROM 'folder/*.parquet'` reads files of this machine. Off unless the user sits at it.
    #[must_use]
    pub fn allow_local_files(mut self, allow: bool) -> Self {
        self.local_files = allow;
        self
    }

    /// Where catalogs may lead that statements define: folders as paths, buckets as `s3://bucket/prefix`, S3 servers as
    /// `https://host:port`. Everywhere, unless this is called; nowhere, with an empty list.
    ///
    /// # Errors
    /// 22023 for an entry that is none of these.
    pub fn allow_locations(mut self, entries: &[String]) -> Result<Self> {
        self.locations = Locations::only(entries)?;
        Ok(self)
    }

    /// The connectors that the engine will know.
    ///
    /// # Errors
    /// 42710 if two have one name.
    pub fn registry(&self) -> Result<Registry> {
        let mut registry = connectors::builtin()?;
        self.connectors.iter().try_for_each(|connector| registry.register(Arc::clone(connector)))?;
        Ok(registry)
    }

    /// Opens the engine. No source is contacted: one that is down says so when it is used.
    ///
    /// # Errors
    /// If the data directory is in use, damaged, of a newer format or cannot be written, or the configuration is wrong.
    pub async fn open(self) -> Result<Engine> {
        let registry = self.registry()?;
        let temporary = match &self.directory {
            Some(_) => None,
            None => Some(temporary_directory()?),
        };
        let directory = match (&self.directory, &temporary) {
            (Some(directory), _) => directory.clone(),
            (None, Some(temporary)) => temporary.path().to_path_buf(),
            (None, None) => unreachable!("an engine without a directory has a temporary one"),
        };
        let store = DefinitionStore::open(&directory)?;
        let access = Access::open(&directory)?;
        let runtime = runtime(&self.config)?;
        let functions = registry.iter().flat_map(|connector| connector.functions());
        let template = plan::template(&self.config, &runtime, functions)?;
        let checkpoints = self.config.engine.checkpoint_records.unwrap_or(RECORDS);
        let checkpoints = Arc::new(Checkpoints::new(directory.join(CHECKPOINT), checkpoints));
        let commit = commit(store.log_folder(), self.log, self.config.engine.requests_kept()?, &checkpoints);
        let catalogs = attach_all(&registry, &store, &commit, &self.config).await?;
        let datasets = AtomicU64::new(catalogs.last_dataset);
        let engine = Engine(Arc::new_cyclic(|engine| Inner {
            registry,
            config: self.config,
            env: Env::system(),
            activity: Arc::default(),
            local_files: self.local_files,
            locations: self.locations,
            runtime,
            template,
            store,
            access,
            commit,
            followers: Followers::default(),
            turns: Turns::default(),
            topics: OnceCell::new(),
            catalogs: Mutex::new(Arc::new(catalogs)),
            defining: Arc::default(),
            datasets,
            checkpoints,
            gate: Arc::default(),
            pasts: Pasts::default(),
            closing: CancellationToken::new(),
            detached: TaskTracker::new(),
            directory,
            temporary,
            _retention: retain::start(Weak::clone(engine)),
            checkpointing: Mutex::new(Some(checkpoint::start(Weak::clone(engine)))),
        }));
        engine.0.follow().await?;
        engine.0.fill_tables();
        run::start(&engine);
        engine.0.drop_orphans().await;
        Ok(engine)
    }
}

impl Engine {
    /// Starts building an engine with the connectors that come with Polder.
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            connectors: Vec::new(),
            directory: None,
            config: Config::default(),
            local_files: false,
            locations: Locations::default(),
            log: LogOptions::default(),
        }
    }

    /// A new session with default settings. It may do everything.
    pub fn session(&self) -> Session {
        self.session_of(LOCAL.into())
    }

    /// A new session of a user.
    pub(crate) fn session_of(&self, user: Arc<str>) -> Session {
        Session::new(self.clone(), user)
    }

    /// The names of all attached catalogs.
    pub fn catalog_names(&self) -> Vec<String> {
        self.0.catalogs().attached.keys().cloned().collect()
    }

    /// Where definitions are kept.
    pub fn data_dir(&self) -> &Path {
        &self.0.directory
    }

    /// Whether the data directory goes with the engine.
    pub fn is_ephemeral(&self) -> bool {
        self.0.temporary.is_some()
    }

    /// Connections that one listener serves at once.
    pub(crate) fn connections_max(&self) -> usize {
        self.0.config.server.connections()
    }

    /// Stops what follows the log, and closes what is open at the sources.
    pub async fn close(self) -> Result<()> {
        run::finish(&self).await;
        self.0.stop().await;
        if let Err(error) = checkpoint::write_if_due(&self.0).await {
            tracing::warn!(%error, "could not write a checkpoint of the tables; the log has all of it");
        }
        self.0.followers.stop_all();
        let sources: Vec<_> = self.0.catalogs().sources().collect();
        futures::future::join_all(sources.iter().map(|(_, source)| source.close())).await;
        Ok(())
    }
}

impl Inner {
    /// Whether the data directory goes with the engine.
    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// What is attached and defined now.
    pub(crate) fn catalogs(&self) -> Arc<Catalogs> {
        Arc::clone(&self.catalogs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes new definitions visible to statements that start from now on.
    pub(crate) fn replace_catalogs(&self, catalogs: Catalogs) {
        *self.catalogs.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogs);
    }
}

impl Inner {
    /// Ends what runs in the background, once it is at a place where it can end.
    pub(crate) async fn stop(&self) {
        self.closing.cancel();
        self.detached.close();
        self.detached.wait().await;
        let checkpointing = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(checkpointing) = checkpointing {
            checkpointing.abort();
            // It has been told to end, and does.
            let _ = checkpointing.await;
        }
    }

    /// Starts to fill Polder's own tables, if there are any; who needs them waits, and hears what fails.
    fn fill_tables(self: &Arc<Self>) {
        if self.catalogs().tables.values().any(TableDefinition::is_own) {
            let engine = Arc::downgrade(self);
            tokio::spawn(async move {
                let Some(engine) = engine.upgrade() else { return };
                if let Err(error) = engine.commit.tables().await {
                    tracing::error!(%error, "the tables of Polder's own cannot be read");
                }
            });
        }
    }

    /// The topics; opens the log.
    pub(crate) async fn topics(&self) -> Result<&Arc<LogSource>> {
        let open = || async {
            let log = Arc::clone(self.commit.log().await?);
            let topics = LogSource::new(CatalogName::new(POLDER), Arc::new(move || Ok(Arc::clone(&log))));
            self.catalogs().topics.values().try_for_each(|topic| topics.define(topic.clone()))?;
            Ok::<_, Error>(Arc::new(topics))
        };
        self.topics.get_or_try_init(open).await
    }

    /// An id that no other dataset has, even if the statement that asks comes to nothing.
    pub(crate) fn next_dataset(&self) -> u64 {
        self.datasets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Drops the shards of topics that are no more, also those that a crash left. What fails is told, and tried again at the
    /// next start.
    pub(crate) async fn drop_orphans(&self) {
        let Some(log) = self.commit.opened().map(Arc::clone) else { return };
        let catalogs = self.catalogs();
        let known: BTreeSet<String> = catalogs.topics.values().flat_map(|topic| topic.shards.clone()).collect();
        let last = catalogs.last_dataset;
        let dropped = tokio::task::spawn_blocking(move || {
            let orphans = log.shards().into_iter().filter(|shard| is_of_a_topic(shard.name(), last));
            for shard in orphans.filter(|shard| !known.contains(shard.name())) {
                match log.drop_shard(shard.name()) {
                    Ok(()) => tracing::info!(shard = shard.name(), "dropped a shard of a topic that is no more"),
                    Err(error) => tracing::warn!(shard = shard.name(), %error, "could not drop a shard"),
                }
            }
        });
        if let Err(error) = dropped.await {
            tracing::error!(%error, "dropping shards ended in a panic");
        }
    }

    /// The turn to write a table of a catalog, once the catalog shows all that was written before: also what a statement wrote
    /// that did not wait for it.
    ///
    /// # Errors
    /// 55000 if the catalog does not follow the log any more; the context's, if that ends first.
    pub(crate) async fn turn(&self, catalog: &str, context: &ReadContext) -> Result<Option<OwnedMutexGuard<()>>> {
        if catalog == POLDER {
            // The log decides who was first.
            return Ok(None);
        }
        let turn = self.turns.take(catalog, context).await?;
        let end = self.commit.log().await?.main().end().offset;
        self.followers.reached(catalog, end, context).await?;
        Ok(Some(turn))
    }

    /// Waits until a catalog that the log writes shows everything before an offset.
    ///
    /// # Errors
    /// 55000 if its follower is stalled; the context's, if that ends first.
    pub(crate) async fn reached(&self, catalog: &str, offset: Offset, context: &ReadContext) -> Result<()> {
        // Polder's own tables show what is durable.
        if catalog == POLDER { Ok(()) } else { self.followers.reached(catalog, offset, context).await }
    }

    /// The topics, if the log was opened for them.
    pub(crate) fn opened_topics(&self) -> Option<&Arc<LogSource>> {
        self.topics.get()
    }

    /// What an entry says about the statement that writes it.
    pub(crate) fn attributes(&self) -> Attributes {
        Attributes { request_id: Some(self.env.next_query()), ..Attributes::default() }
    }

    /// The topics as a source, if there are any.
    pub(crate) async fn own_source(&self) -> Result<Option<Arc<dyn Source>>> {
        if self.catalogs().topics.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::clone(self.topics().await?) as Arc<dyn Source>))
    }

    /// Brings topics and followers in line with the definitions. Called whenever those change.
    pub(crate) async fn follow(&self) -> Result<()> {
        let catalogs = self.catalogs();
        if !catalogs.topics.is_empty() || self.topics.initialized() {
            let topics = self.topics().await?;
            for gone in topics.topics().iter().filter(|known| !catalogs.topics.contains_key(&known.name)) {
                topics.undefine(&gone.name);
            }
            catalogs.topics.values().try_for_each(|topic| topics.define(topic.clone()))?;
        }
        self.followers.adjust(&catalogs, &self.commit).await
    }
}

/// The write path of a data directory, with what is made of its log.
fn commit(log: PathBuf, options: LogOptions, requests_kept: Duration, checkpoints: &Arc<Checkpoints>) -> Commit {
    let tables = Arc::new(RowsSource::new(CatalogName::new(POLDER)));
    let requests = Arc::new(Requests::new(requests_kept));
    let effects = Arc::new(Effects::default());
    let filled = (Arc::clone(&tables), Arc::clone(&effects), Arc::clone(checkpoints));
    let fill = move |ledger| {
        let (tables, effects, checkpoints) = filled.clone();
        checkpoint::fill(ledger, tables, effects, checkpoints).boxed()
    };
    Commit::new(log, options, tables, requests, effects, Box::new(fill))
}

/// Whether a shard was made for a topic that was once defined: `NAME-ID-NUMBER`, with an id that was given out. One with a
/// greater id belongs to a log whose definitions were restored from an older copy, and is nobody's to drop.
fn is_of_a_topic(shard: &str, last_dataset: u64) -> bool {
    let mut parts = shard.rsplitn(3, '-');
    let number = parts.next().and_then(|number| number.parse::<u64>().ok());
    let id = parts.next().and_then(|id| id.parse::<u64>().ok());
    number.is_some() && parts.next().is_some() && id.is_some_and(|id| id <= last_dataset)
}

/// Writers of one catalog take turns.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn to write a catalog; it ends when the guard is dropped.
    ///
    /// # Errors
    /// The context's, if that ends first.
    pub(crate) async fn take(&self, catalog: &str, context: &ReadContext) -> Result<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(catalog.to_string()).or_default())
        };
        tokio::select! {
            turn = turn.lock_owned() => Ok(turn),
            error = context.stopped() => Err(error),
        }
    }
}

/// A definition that can no longer be attached is kept, with the reason, and does not stop the others.
async fn attach_all(
    registry: &Registry,
    store: &DefinitionStore,
    commit: &Commit,
    config: &Config,
) -> Result<Catalogs> {
    let definitions = store.load(commit).await?;
    commit.set_tables(definitions.tables.values());
    let mut catalogs = Catalogs {
        views: definitions.views,
        procedures: definitions.procedures,
        topics: definitions.topics,
        tables: definitions.tables,
        last_dataset: definitions.last_dataset,
        own: Some(Attached::own(commit.own())),
        ..Catalogs::default()
    };
    for (name, definition) in definitions.catalogs {
        let attached = Attached::or_broken(registry, &name, definition, Origin::Defined).await;
        catalogs.attached.insert(name, attached);
    }
    for (name, keys) in &config.catalogs {
        let (connector, options) = Config::catalog(name, keys)?;
        let definition = crate::definitions::CatalogDefinition { connector, options };
        let attached = Attached::new(registry, name, definition, Origin::Declared).await?;
        if catalogs.attached.insert(name.clone(), attached).is_some() {
            tracing::warn!(catalog = %name, "the configuration file overrides the catalog in the data directory");
        }
    }
    Ok(catalogs)
}

fn temporary_directory() -> Result<TempDir> {
    tempfile::Builder::new().prefix("polder-").tempdir().map_err(|error| {
        Error::new(Kind::Fix, SqlState::IO, "could not create a temporary data directory")
            .with_detail(error.to_string())
            .with_hint("choose a directory with --data")
    })
}

/// How many memory consumers an out-of-memory error names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

fn runtime(config: &Config) -> Result<Arc<RuntimeEnv>> {
    let limit = match config.engine.memory_bytes()? {
        Some(bytes) => bytes,
        None => available_memory() / 4 * 3,
    };
    let spill = match &config.engine.spill_directory {
        Some(directory) => DiskManagerMode::Directories(vec![PathBuf::from(directory)]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit), CONSUMERS_NAMED)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(spill))
        .build_arc()
        .map_err(Error::from_datafusion)
}

/// The memory that this process may use: the cgroup's limit if it has one, else the machine's.
fn available_memory() -> usize {
    /// What is assumed where the system does not tell.
    const UNKNOWN: usize = 4 << 30;
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let cgroup = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<usize>().ok());
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?.trim();
        line.parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
    });
    match (cgroup, machine) {
        (Some(cgroup), Some(machine)) => cgroup.min(machine),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
