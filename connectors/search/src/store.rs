//! The folder behind one catalog: an index for each table, and one file that says which of them count.
//!
//! ```text
//! path/
//!   catalog.json     format, the last applied entry, and each table: its folder and its definition
//!   t1/  t2/ ...     Tantivy indexes; each commit carries the position of the entry that made it
//! ```
//!
//! `catalog.json` is replaced as a whole, last: a folder that it does not name is the rest of an entry that was cut
//! off. If a folder that it names is gone or cannot be opened, the store says that it holds nothing, and is told
//! every entry again; tables that are further ahead skip what they have.
//!
//! Readers take the state as it is: an immutable set of searchers, replaced when an entry has been committed
//! everywhere.

use crate::definition::StoredDefinition;
use crate::error::{at, damaged, io};
use crate::layout::Layout;
use crate::options::SearchOptions;
use polder_catalog::{CatalogName, DatasetId, Error, Kind, Position, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tantivy::{Index, IndexReader, ReloadPolicy, Searcher};

/// The newest form of `catalog.json` that is written and read.
const FORMAT: u32 = 1;
const MANIFEST: &str = "catalog.json";
/// Blocks of stored rows that a searcher keeps unpacked, 16 KiB each.
const BLOCKS_CACHED: usize = 100;

/// A table at one commit.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) layout: Arc<Layout>,
    pub(crate) folder: String,
    pub(crate) index: Index,
    reader: IndexReader,
    pub(crate) searcher: Searcher,
    /// The last entry that its index holds.
    pub(crate) applied: Option<Position>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("folder", &self.folder).field("applied", &self.applied).finish_non_exhaustive()
    }
}

impl Table {
    /// Makes an empty index in a new folder.
    pub(crate) fn create(root: &Path, folder: String, layout: Layout) -> Result<Self> {
        let path = root.join(&folder);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|error| io("remove", &path, error))?;
        }
        fs::create_dir_all(&path).map_err(|error| io("create", &path, error))?;
        let index = Index::create_in_dir(&path, layout.index.clone()).map_err(|error| at(&path, error))?;
        Self::with_index(root, folder, layout, index)
    }

    fn open(root: &Path, folder: String, layout: Layout) -> Result<Self> {
        let path = root.join(&folder);
        let index = Index::open_in_dir(&path).map_err(|error| at(&path, error))?;
        if index.schema() != layout.index {
            return Err(damaged(&path, "its fields are not those of the table"));
        }
        Self::with_index(root, folder, layout, index)
    }

    fn with_index(root: &Path, folder: String, layout: Layout, mut index: Index) -> Result<Self> {
        let path = root.join(&folder);
        index.set_tokenizers(layout.tokenizers());
        let reader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(BLOCKS_CACHED);
        let reader: IndexReader = reader.try_into().map_err(|error| at(&path, error))?;
        let searcher = reader.searcher();
        let applied = applied(&index, &path)?;
        Ok(Self { layout: Arc::new(layout), folder, index, reader, searcher, applied })
    }

    /// The same table at its newest commit.
    pub(crate) fn reloaded(&self, root: &Path) -> Result<Self> {
        let path = root.join(&self.folder);
        self.reader.reload().map_err(|error| at(&path, error))?;
        let searcher = self.reader.searcher();
        Ok(Self { searcher, applied: applied(&self.index, &path)?, ..self.clone() })
    }

    /// The same index under another definition, of columns that it has.
    pub(crate) fn with_layout(&self, layout: Layout) -> Self {
        Self { layout: Arc::new(layout), ..self.clone() }
    }

    /// Whether an entry is in the index already.
    pub(crate) fn holds(&self, position: &Position) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.includes(position))
    }
}

/// The position in the payload of the last commit.
fn applied(index: &Index, path: &Path) -> Result<Option<Position>> {
    let payload = index.load_metas().map_err(|error| at(path, error))?.payload;
    payload.map(|token| token.parse()).transpose().map_err(|_: Error| damaged(path, "its commit names no position"))
}

/// All tables at one entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) tables: BTreeMap<DatasetId, Arc<Table>>,
    pub(crate) last_applied: Option<Position>,
    pub(crate) next_folder: u64,
}

impl State {
    pub(crate) fn find(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        let is_it = |table: &&Arc<Table>| {
            let definition = &table.layout.definition;
            definition.name == name && definition.schema == schema
        };
        self.tables.values().find(is_it)
    }
}

/// One catalog's folder.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) catalog: CatalogName,
    pub(crate) options: SearchOptions,
    state: RwLock<Option<Arc<State>>>,
    opening: Mutex<()>,
}

impl Store {
    pub(crate) fn new(catalog: CatalogName, options: SearchOptions) -> Self {
        Self { catalog, options, state: RwLock::default(), opening: Mutex::default() }
    }

    pub(crate) fn root(&self) -> &PathBuf {
        &self.options.path
    }

    /// The newest state. The first call opens every index, on a thread that may block.
    pub(crate) async fn state(self: &Arc<Self>) -> Result<Arc<State>> {
        if let Some(state) = self.opened() {
            return Ok(state);
        }
        let store = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || store.open()).await;
        opened.map_err(|error| Error::report("opening the indexes broke off").with_source(error))?
    }

    fn opened(&self) -> Option<Arc<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest state, opened on this thread if need be.
    pub(crate) fn open(&self) -> Result<Arc<State>> {
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = self.opened() {
            return Ok(state);
        }
        let state = Arc::new(self.read().map_err(|error| error.at(format!("catalog \"{}\"", self.catalog)))?);
        self.publish(Arc::clone(&state));
        Ok(state)
    }

    /// Readers see this state from now on.
    pub(crate) fn publish(&self, state: Arc<State>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// The next reader opens everything anew: after a fault in the middle of a commit, only the disk knows.
    pub(crate) fn forget(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn read(&self) -> Result<State> {
        let path = self.root().join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::default()),
            Err(error) => return Err(io("read", &path, error)),
        };
        let manifest = Manifest::parse(&text, &path)?;
        let last_applied = manifest.last_applied.map(|token| token.parse()).transpose();
        let last_applied = last_applied.map_err(|_: Error| damaged(&path, "it names no position"))?;
        let mut state = State { tables: BTreeMap::new(), last_applied, next_folder: manifest.next_folder };
        for stored in manifest.tables {
            let folder = stored.folder.clone();
            match self.read_table(stored, &path) {
                Ok(table) => {
                    state.tables.insert(table.layout.definition.id.clone(), Arc::new(table));
                }
                Err(error) if error.kind() == Kind::Repair => {
                    tracing::warn!(catalog = %self.catalog, folder, %error, "an index is lost, and filled again");
                    state.last_applied = None;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(state)
    }

    fn read_table(&self, stored: StoredTable, manifest: &Path) -> Result<Table> {
        let broken = |error: String| damaged(manifest, &error);
        let physical = stored.physical.read().map_err(broken)?;
        let definition = stored.definition.read().map_err(broken)?;
        Table::open(self.root(), stored.folder, Layout::new(physical, definition)?)
    }

    /// Whether the folder of every table is still there. It can be deleted at any time: then it is made again.
    pub(crate) fn is_whole(&self, state: &State) -> bool {
        state.tables.values().all(|table| self.root().join(&table.folder).join("meta.json").exists())
    }

    /// Makes a state the one that counts.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let stored = state.tables.values().map(|table| StoredTable {
            folder: table.folder.clone(),
            definition: StoredDefinition::from(&table.layout.definition),
            physical: StoredDefinition::from(&table.layout.physical),
        });
        let manifest = Manifest {
            format: FORMAT,
            last_applied: state.last_applied.as_ref().map(ToString::to_string),
            next_folder: state.next_folder,
            tables: stored.collect(),
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is JSON");
        replace(self.root(), MANIFEST, &text)
    }
}

/// Puts a new file in the place of the old, whole or not at all.
fn replace(folder: &Path, name: &str, text: &[u8]) -> Result<()> {
    let (path, draft) = (folder.join(name), folder.join(format!("{name}.new")));
    let written = fs::create_dir_all(folder).and_then(|()| {
        let mut file = File::create(&draft)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(folder)?.sync_all()
    });
    written.map_err(|error| io("write", &path, error))
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    last_applied: Option<String>,
    next_folder: u64,
    tables: Vec<StoredTable>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredTable {
    folder: String,
    definition: StoredDefinition,
    /// As it was when the index was made.
    physical: StoredDefinition,
}

impl Manifest {
    fn parse(text: &str, path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = serde_json::from_str(text).map_err(|error| broken(path, &error.to_string()))?;
        if format.format > FORMAT {
            let message =
                format!("{} has format {}, and this version reads up to {FORMAT}", path.display(), format.format);
            return Err(Error::new(Kind::Fix, SqlState::STATE, message).with_hint("open it with a newer version"));
        }
        serde_json::from_str(text).map_err(|error| broken(path, &error.to_string()))
    }
}

/// The file that says what counts cannot be read: unlike a lost index, nobody mends this in silence.
fn broken(path: &Path, detail: &str) -> Error {
    Error::new(Kind::Fix, SqlState::DAMAGED, format!("{} cannot be read", path.display()))
        .with_detail(detail)
        .with_hint("remove the folder: it is filled again from the log")
}
