//! Checkpoints: the tables as of a position of the log, in files, so that not all of the log has to be read again.
//!
//! ```text
//! FOLDER/manifest             names all other files, with their lengths and checksums; replaced as a whole
//! FOLDER/<number>.arrow       the rows of a chunk and, where they are not in sequence, their numbers (Arrow IPC)
//! FOLDER/<number>.fields      the columns of a table (Arrow IPC without rows)
//! FOLDER/<number>.deleted     which rows of the chunks of a table are gone, a bit each
//! FOLDER/<number>.extra       what the engine keeps beside the tables
//! ```
//!
//! Every file but the manifest is written once, synced, and its name synced with the folder, before a manifest names it. So a
//! crash leaves the manifest before or the one after, and files that none names: they are removed when the next one is written.
//! A chunk whose rows have a file already is not written again. Whatever cannot be read is no loss: the log has it all, and
//! a checkpoint that is damaged is as good as none.

use crate::chunk::{Chunk, Numbers};
use crate::home::Home;
use crate::store::{EffectNumber, State};
use crate::table::Table;
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use polder_catalog::key::KeyHash;
use polder_catalog::{
    CatalogName, ColumnDefinition, ColumnId, DatasetDefinition, DatasetId, Error, ForeignKey, IndexDefinition, Kind,
    Position, Result, Sharding, SqlState,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

const MANIFEST: &str = "manifest";
const FORMAT: u32 = 1;

/// The last column of a chunk whose rows are not in sequence. No column of a table has this name: it has no id.
const NUMBER: &str = "\u{1}number";

/// A file that was written and will not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredFile {
    name: String,
    bytes: u64,
    crc32c: u32,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Everything before it is here.
    position: String,
    /// The newest entry that the tables reflect: it may be behind the position, where entries are skipped then.
    last_applied: Option<String>,
    tables: Vec<StoredTable>,
    /// In `main`: where each shard ended at the newest epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cut: Vec<u64>,
    /// The newest effect of each home: none for `main`, else the number of the shard; then the end of the entry, and the place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    applied: Vec<(Option<u32>, u64, u32)>,
    extra: StoredFile,
}

#[derive(Serialize, Deserialize)]
struct StoredTable {
    id: String,
    schema: String,
    name: String,
    /// In order; their fields are in the file.
    columns: Vec<StoredColumn>,
    fields: StoredFile,
    key: Vec<String>,
    unique: Vec<Vec<String>>,
    identity: Option<String>,
    indexes: Vec<StoredIndex>,
    references: Vec<StoredReference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharding: Option<StoredSharding>,
    options: BTreeMap<String, String>,
    next: u64,
    next_identity: i64,
    chunks: Vec<StoredChunk>,
    deleted: Option<StoredFile>,
}

#[derive(Serialize, Deserialize)]
struct StoredColumn {
    id: String,
    options: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct StoredIndex {
    name: String,
    columns: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredReference {
    columns: Vec<String>,
    dataset: String,
    key: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredSharding {
    count: u32,
    key: Vec<String>,
    hash: KeyHash,
}

#[derive(Serialize, Deserialize)]
struct StoredChunk {
    file: StoredFile,
    rows: usize,
    /// The number of the first row, if those of the others follow it.
    first: Option<u64>,
    has_deleted: bool,
}

/// What a checkpoint had.
pub(crate) struct Restored {
    pub(crate) state: State,
    pub(crate) position: Position,
    pub(crate) extra: Vec<u8>,
}

/// Writes a checkpoint of a state that reflects everything before a position.
///
/// # Errors
/// 58030 if the disk refuses: the checkpoint before, if there was one, is still there.
pub(crate) fn write(folder: &Path, state: &State, position: &Position, extra: &[u8]) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| io_error("create", folder, error))?;
    let mut files = Files::open(folder)?;
    let tables = state.tables.values().map(|table| files.table(table)).collect::<Result<Vec<_>>>()?;
    let extra = files.add("extra", extra)?;
    sync_folder(folder)?;
    let manifest = Manifest {
        format: FORMAT,
        position: position.to_string(),
        last_applied: state.last_applied.as_ref().map(ToString::to_string),
        tables,
        cut: state.cut.to_vec(),
        applied: state.applied.iter().map(stored_effect).collect(),
        extra,
    };
    write_manifest(folder, &manifest)?;
    remove_others(folder, &named(&manifest));
    Ok(())
}

/// Reads the checkpoint of a folder; none if it has none.
///
/// # Errors
/// XX001 if it is damaged, 55000 if a newer version has written it.
pub(crate) fn read(folder: &Path, catalog: &CatalogName, mut version: impl FnMut() -> u64) -> Result<Option<Restored>> {
    let Some(manifest) = read_manifest(folder)? else { return Ok(None) };
    let mut state = State::default();
    for stored in &manifest.tables {
        let table = restore(folder, catalog, stored, version())?;
        state.tables.insert(table.definition.id.clone(), Arc::new(table));
    }
    state.last_applied = manifest.last_applied.as_deref().map(str::parse).transpose()?;
    state.cut = Arc::new(manifest.cut);
    state.applied = manifest.applied.into_iter().map(effect).collect();
    let extra = read_file(folder, &manifest.extra)?;
    Ok(Some(Restored { state, position: manifest.position.parse()?, extra }))
}

fn stored_effect((home, number): (&Home, &EffectNumber)) -> (Option<u32>, u64, u32) {
    let shard = match home {
        Home::Main => None,
        Home::Shard(at) => Some(*at),
    };
    (shard, number.end, number.place)
}

fn effect((shard, end, place): (Option<u32>, u64, u32)) -> (Home, EffectNumber) {
    (shard.map_or(Home::Main, Home::Shard), EffectNumber { end, place })
}

/// The files of a checkpoint that is being written.
struct Files<'a> {
    folder: &'a Path,
    next: u64,
}

impl<'a> Files<'a> {
    /// Names begin behind all that are there.
    fn open(folder: &'a Path) -> Result<Self> {
        let number = |name: String| name.split('.').next().and_then(|number| number.parse::<u64>().ok());
        let last = names(folder)?.into_iter().filter_map(number).max().unwrap_or(0);
        Ok(Self { folder, next: last + 1 })
    }

    fn add(&mut self, ending: &str, bytes: &[u8]) -> Result<StoredFile> {
        let name = format!("{}.{ending}", self.next);
        self.next += 1;
        write_durably(&self.folder.join(&name), bytes)?;
        Ok(StoredFile { name, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
    }

    fn table(&mut self, table: &Table) -> Result<StoredTable> {
        let definition = &table.definition;
        let fields = self.add("fields", &ipc(&RecordBatch::new_empty(Arc::clone(&table.schema)))?)?;
        let (mut chunks, mut deleted) = (Vec::new(), Vec::new());
        for chunk in &table.chunks {
            let file = match chunk.stored.get() {
                Some(file) => file.clone(),
                None => {
                    let file = self.add("arrow", &ipc(&numbered(chunk)?)?)?;
                    chunk.stored.get_or_init(|| file).clone()
                }
            };
            let first = match chunk.listed() {
                Numbers::From(first) => Some(*first),
                Numbers::Listed(_) => None,
            };
            let gone = chunk.deleted_bytes();
            deleted.extend_from_slice(gone.unwrap_or_default());
            chunks.push(StoredChunk { file, rows: chunk.len(), first, has_deleted: gone.is_some() });
        }
        let deleted = if deleted.is_empty() { None } else { Some(self.add("deleted", &deleted)?) };
        let ids = |ids: &[ColumnId]| ids.iter().map(ToString::to_string).collect();
        let column =
            |column: &ColumnDefinition| StoredColumn { id: column.id.to_string(), options: column.options.clone() };
        let index = |index: &IndexDefinition| StoredIndex { name: index.name.clone(), columns: ids(&index.columns) };
        let reference = |known: &ForeignKey| StoredReference {
            columns: ids(&known.columns),
            dataset: known.dataset.to_string(),
            key: ids(&known.key),
        };
        Ok(StoredTable {
            id: definition.id.to_string(),
            schema: definition.schema.clone(),
            name: definition.name.clone(),
            columns: definition.columns.iter().map(column).collect(),
            fields,
            key: ids(&definition.key),
            unique: definition.unique.iter().map(|columns| ids(columns)).collect(),
            identity: definition.identity.as_ref().map(ToString::to_string),
            indexes: definition.indexes.iter().map(index).collect(),
            references: definition.references.iter().map(reference).collect(),
            sharding: definition.sharding.as_ref().map(|sharding| StoredSharding {
                count: sharding.count,
                key: ids(&sharding.key),
                hash: sharding.hash,
            }),
            options: definition.options.clone(),
            next: table.next_number(),
            next_identity: table.next_identity(),
            chunks,
            deleted,
        })
    }
}

fn restore(folder: &Path, catalog: &CatalogName, stored: &StoredTable, version: u64) -> Result<Table> {
    let schema = of_ipc(read_file(folder, &stored.fields)?, &stored.fields)?.schema();
    if schema.fields().len() != stored.columns.len() {
        return Err(damaged(&stored.fields, "it has other columns than the manifest"));
    }
    let columns = stored.columns.iter().zip(schema.fields()).map(|(column, field)| ColumnDefinition {
        id: ColumnId(column.id.as_str().into()),
        field: Arc::clone(field),
        options: column.options.clone(),
    });
    let ids = |ids: &Vec<String>| ids.iter().map(|id| ColumnId(id.as_str().into())).collect();
    let index = |index: &StoredIndex| IndexDefinition { name: index.name.clone(), columns: ids(&index.columns) };
    let reference = |stored: &StoredReference| ForeignKey {
        columns: ids(&stored.columns),
        dataset: DatasetId(stored.dataset.as_str().into()),
        key: ids(&stored.key),
    };
    let definition = DatasetDefinition {
        id: DatasetId(stored.id.as_str().into()),
        schema: stored.schema.clone(),
        name: stored.name.clone(),
        columns: columns.collect(),
        key: ids(&stored.key),
        unique: stored.unique.iter().map(ids).collect(),
        identity: stored.identity.as_ref().map(|id| ColumnId(id.as_str().into())),
        indexes: stored.indexes.iter().map(index).collect(),
        references: stored.references.iter().map(reference).collect(),
        sharding: stored.sharding.as_ref().map(|stored| Sharding {
            count: stored.count,
            key: ids(&stored.key),
            hash: stored.hash,
        }),
        options: stored.options.clone(),
    };
    let deleted = stored.deleted.as_ref().map(|file| read_file(folder, file)).transpose()?.unwrap_or_default();
    let mut deleted = &deleted[..];
    let mut chunks = Vec::new();
    for chunk in &stored.chunks {
        let gone = match chunk.has_deleted {
            false => None,
            true => {
                let bytes = deleted.split_off(..chunk.rows.div_ceil(8));
                let bytes = bytes.ok_or_else(|| damaged(&chunk.file, "the rows that are gone are not told"))?;
                Some(BooleanBuffer::new(Buffer::from(bytes.to_vec()), 0, chunk.rows))
            }
        };
        chunks.push(Arc::new(restore_chunk(folder, chunk, &schema, gone)?));
    }
    let table = Table::create(catalog, definition, version)?;
    table.filled(chunks, stored.next, stored.next_identity)
}

fn restore_chunk(
    folder: &Path,
    stored: &StoredChunk,
    schema: &SchemaRef,
    deleted: Option<BooleanBuffer>,
) -> Result<Chunk> {
    let rows = of_ipc(read_file(folder, &stored.file)?, &stored.file)?;
    let width = schema.fields().len();
    let numbers = match stored.first {
        Some(first) => Numbers::From(first),
        None => {
            let numbers = rows.columns().get(width).and_then(|numbers| numbers.as_primitive_opt::<UInt64Type>());
            let numbers = numbers.ok_or_else(|| damaged(&stored.file, "its rows have no numbers"))?;
            Numbers::Listed(numbers.values().to_vec())
        }
    };
    let columns: Vec<ArrayRef> = rows.columns().iter().take(width).cloned().collect();
    let rows = RecordBatch::try_new(Arc::clone(schema), columns);
    let rows = rows.map_err(|error| damaged(&stored.file, &error.to_string()))?;
    if rows.num_rows() != stored.rows {
        return Err(damaged(&stored.file, "it has another number of rows than the manifest says"));
    }
    Ok(Chunk::restored(rows, numbers, deleted, stored.file.clone()))
}

/// The rows of a chunk, with their numbers where they are not in sequence.
fn numbered(chunk: &Chunk) -> Result<RecordBatch> {
    let rows = chunk.rows();
    let Numbers::Listed(numbers) = chunk.listed() else { return Ok(rows.clone()) };
    let number = Arc::new(Field::new(NUMBER, DataType::UInt64, false));
    let fields: Vec<_> = rows.schema().fields().iter().cloned().chain([number]).collect();
    let numbers: ArrayRef = Arc::new(UInt64Array::from(numbers.clone()));
    let columns = rows.columns().iter().cloned().chain([numbers]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| crate::table::defect(&error))
}

fn ipc(rows: &RecordBatch) -> Result<Vec<u8>> {
    let defect = |error| crate::table::defect(&error);
    let mut writer = FileWriter::try_new(Vec::new(), rows.schema_ref()).map_err(defect)?;
    if rows.num_rows() > 0 {
        writer.write(rows).map_err(defect)?;
    }
    writer.into_inner().map_err(defect)
}

/// The one batch of a file, or none of its rows if it has none.
fn of_ipc(bytes: Vec<u8>, file: &StoredFile) -> Result<RecordBatch> {
    let unreadable = |error: arrow::error::ArrowError| damaged(file, &error.to_string());
    let mut reader = FileReader::try_new(Cursor::new(bytes), None).map_err(unreadable)?;
    let schema = reader.schema();
    reader.next().transpose().map_err(unreadable).map(|rows| rows.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

/// The manifest stands on the first line, its checksum on the second.
fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<()> {
    let json =
        serde_json::to_string(manifest).map_err(|error| Error::report("a manifest is no JSON").with_source(error))?;
    let text = format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()));
    let (new, path) = (folder.join(format!("{MANIFEST}.new")), folder.join(MANIFEST));
    write_durably(&new, text.as_bytes())?;
    fs::rename(&new, &path).map_err(|error| io_error("rename", &path, error))?;
    sync_folder(folder)
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", &path, error)),
    };
    let broken = |why: &str| Error::new(Kind::Repair, SqlState::DAMAGED, "the manifest is damaged").with_detail(why);
    let (json, crc) = text.trim_end().rsplit_once('\n').ok_or_else(|| broken("it is cut short"))?;
    if u32::from_str_radix(crc, 16).ok() != Some(crc32c::crc32c(json.as_bytes())) {
        return Err(broken("its checksum is another one"));
    }
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_str(json).map_err(|error| broken(&error.to_string()))?;
    if head.format > FORMAT {
        let message = format!("the checkpoint has format {}, this version reads up to {FORMAT}", head.format);
        return Err(Error::fix(SqlState::STATE, message));
    }
    serde_json::from_str(json).map(Some).map_err(|error| broken(&error.to_string()))
}

fn read_file(folder: &Path, file: &StoredFile) -> Result<Vec<u8>> {
    // A name is ours; one with a folder in it is not.
    if Path::new(&file.name).components().count() != 1 {
        return Err(damaged(file, "it is no name of a file"));
    }
    let bytes = fs::read(folder.join(&file.name)).map_err(|error| damaged(file, &error.to_string()))?;
    if bytes.len() as u64 != file.bytes || crc32c::crc32c(&bytes) != file.crc32c {
        return Err(damaged(file, "its length or checksum is another one"));
    }
    Ok(bytes)
}

fn named(manifest: &Manifest) -> BTreeSet<&str> {
    let mut named = BTreeSet::from([manifest.extra.name.as_str(), MANIFEST]);
    for table in &manifest.tables {
        named.insert(&table.fields.name);
        named.extend(table.deleted.iter().map(|file| file.name.as_str()));
        named.extend(table.chunks.iter().map(|chunk| chunk.file.name.as_str()));
    }
    named
}

/// Removes what no manifest names any more. What cannot be removed is tried again the next time.
fn remove_others(folder: &Path, named: &BTreeSet<&str>) {
    for name in names(folder).unwrap_or_default() {
        if !named.contains(name.as_str())
            && let Err(error) = fs::remove_file(folder.join(&name))
        {
            tracing::warn!(%name, %error, "could not remove a file of an older checkpoint");
        }
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|error| io_error("list", folder, error))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| io_error("write", path, error))
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error("sync", folder, error))
}

fn io_error(action: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Retry, SqlState::IO, format!("could not {action} {}", path.display()))
        .with_detail(error.to_string())
}

fn damaged(file: &StoredFile, why: &str) -> Error {
    Error::new(Kind::Repair, SqlState::DAMAGED, format!("file {} of the checkpoint is damaged", file.name))
        .with_detail(why)
}
