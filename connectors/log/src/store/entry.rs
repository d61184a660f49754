//! An entry before it is appended: what the caller says, and its parts encoded.
//!
//! Parts are encoded by the caller's thread, so the writer of the shard only copies bytes. A large entry goes to a
//! **spool**, a nameless side file, while it grows; the writer then copies it in one run. So an entry may exceed
//! memory, a slow producer stalls nobody, and the number of its records is known when its header is written.

use super::encoding;
use super::files::{File, Files, Mode, read_full_at};
use super::header::{Attributes, EntryKind};
use super::part::{self, Encoding, SchemaId};
use super::view::Shared;
use super::{Error, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes of parts an entry holds in memory before it goes to its spool.
const SPOOL_BYTES_MIN: usize = 4 << 20;

/// A batch that takes more memory than this is split into several parts, so that a reader needs little memory for each.
const PART_BYTES_TARGET: usize = 4 << 20;

/// An entry to append. Made with [`Shard::new_entry`](super::Shard::new_entry), or with [`NewEntry::new`] if it is
/// small.
pub struct NewEntry {
    kind: EntryKind,
    attributes: Attributes,
    record_count: u64,
    part_count: u64,
    parts: Vec<u8>,
    spool: Spool,
    /// So many bytes of parts go to the spool.
    spool_at: usize,
    schemas: Vec<(SchemaId, SchemaRef)>,
}

/// Where the parts go that memory should not hold.
enum Spool {
    /// Nowhere: the entry stays in memory.
    Memory,
    /// To a file that is made when it is needed.
    Planned(SpoolPlace),
    /// To this file.
    Made { file: Arc<dyn File>, bytes: u64 },
}

/// Where a spool is made.
#[derive(Clone)]
pub(crate) struct SpoolPlace {
    files: Arc<dyn Files>,
    folder: PathBuf,
    counter: Arc<AtomicU64>,
}

/// The ending of a spool that a crash left with a name; opening the shard removes it.
pub(crate) const SPOOL_ENDING: &str = ".spool";

impl SpoolPlace {
    /// Beside a shard.
    pub(crate) fn of(shared: &Shared, counter: Arc<AtomicU64>) -> Self {
        Self { files: Arc::clone(&shared.files), folder: shared.folder.to_path_buf(), counter }
    }

    /// A file without a name: nothing is left of it when its last handle is dropped.
    fn make(&self) -> Result<Arc<dyn File>> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number}{SPOOL_ENDING}"));
        let file = self.files.open(&path, Mode::Create).map_err(|error| Error::io("create a spool", error))?;
        self.files.remove(&path).map_err(|error| Error::io("unlink a spool", error))?;
        Ok(file)
    }
}

impl NewEntry {
    /// An entry that stays in memory.
    pub fn new(kind: EntryKind) -> Self {
        Self::with_spool(kind, Spool::Memory)
    }

    pub(crate) fn spooled(kind: EntryKind, place: SpoolPlace) -> Self {
        Self::with_spool(kind, Spool::Planned(place))
    }

    /// Goes to its spool when it has so many bytes.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn spooled_at(self, spool_at: usize) -> Self {
        Self { spool_at, ..self }
    }

    fn with_spool(kind: EntryKind, spool: Spool) -> Self {
        Self {
            kind,
            attributes: Attributes::default(),
            record_count: 0,
            part_count: 0,
            parts: Vec::new(),
            spool,
            spool_at: SPOOL_BYTES_MIN,
            schemas: Vec::new(),
        }
    }

    /// What is said about the entry beside its parts.
    pub fn attributes_mut(&mut self) -> &mut Attributes {
        &mut self.attributes
    }

    /// Sets what is said about the entry beside its parts.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Adds one record of opaque bytes. It needs no schema.
    pub fn add_bytes(&mut self, dataset: u64, payload: &[u8]) -> Result<()> {
        self.add_encoded(SchemaId { dataset, schema: 0 }, 1, Encoding::BYTES, None, payload)
    }

    /// Adds rows, each inserted once. `id` names the schema of the batch for good: the store writes the schema where a
    /// reader needs it, and refuses an id that means another one.
    pub fn add_batch(&mut self, id: SchemaId, batch: &RecordBatch) -> Result<()> {
        self.add_changes(id, batch, None)
    }

    /// Adds rows with a weight for each.
    pub fn add_changes(&mut self, id: SchemaId, batch: &RecordBatch, weights: Option<&[i64]>) -> Result<()> {
        if weights.is_some_and(|weights| weights.len() != batch.num_rows()) {
            return Err(Error::fix("a batch has another number of rows than of weights"));
        }
        self.remember_schema(id, batch)?;
        let rows_max = rows_per_part(batch);
        for start in (0..batch.num_rows()).step_by(rows_max) {
            let rows = batch.slice(start, rows_max.min(batch.num_rows() - start));
            let weights = weights.map(|weights| &weights[start..start + rows.num_rows()]);
            let (encoding, payload) = encoding::encode(&rows)?;
            self.add_encoded(id, rows.num_rows() as u64, encoding, weights, &payload)?;
        }
        Ok(())
    }

    fn remember_schema(&mut self, id: SchemaId, batch: &RecordBatch) -> Result<()> {
        match self.schemas.iter().find(|(known, _)| *known == id) {
            None => self.schemas.push((id, batch.schema())),
            Some((_, known)) if Arc::ptr_eq(known, batch.schema_ref()) || *known == batch.schema() => {}
            Some(_) => return Err(schema_id_reused(id)),
        }
        Ok(())
    }

    fn add_encoded(
        &mut self,
        id: SchemaId,
        row_count: u64,
        encoding: Encoding,
        weights: Option<&[i64]>,
        payload: &[u8],
    ) -> Result<()> {
        part::encode(&mut self.parts, id, row_count, encoding, weights, payload)?;
        self.record_count += row_count;
        self.part_count += 1;
        if self.parts.len() >= self.spool_at { self.spill() } else { Ok(()) }
    }

    /// Moves what is in memory to the spool, if the entry has one.
    fn spill(&mut self) -> Result<()> {
        if let Spool::Planned(place) = &self.spool {
            self.spool = Spool::Made { file: place.make()?, bytes: 0 };
        }
        if let Spool::Made { file, bytes } = &mut self.spool {
            file.write_all_at(&self.parts, *bytes).map_err(|error| Error::io("write a spool", error))?;
            *bytes += self.parts.len() as u64;
            self.parts.clear();
        }
        Ok(())
    }

    /// How many records it has so far.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// What it is.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// What is said about the entry beside its parts.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    pub(crate) fn part_count(&self) -> u64 {
        self.part_count
    }

    pub(crate) fn schemas(&self) -> &[(SchemaId, SchemaRef)] {
        &self.schemas
    }

    /// The length of all parts.
    pub(crate) fn parts_bytes(&self) -> u64 {
        self.spool_bytes() + self.parts.len() as u64
    }

    /// What it holds in memory.
    pub fn memory_bytes(&self) -> usize {
        self.parts.len()
    }

    fn spool_bytes(&self) -> u64 {
        match &self.spool {
            Spool::Made { bytes, .. } => *bytes,
            Spool::Memory | Spool::Planned(_) => 0,
        }
    }

    /// Copies the bytes of the parts from `position` on into `out`, as many as fit.
    pub(crate) fn read_parts(&self, position: u64, out: &mut [u8]) -> Result<()> {
        let spooled = self.spool_bytes();
        let from_spool = usize::try_from(spooled.saturating_sub(position)).unwrap_or(usize::MAX).min(out.len());
        let (front, back) = out.split_at_mut(from_spool);
        if let Spool::Made { file, .. } = &self.spool {
            let filled = read_full_at(file.as_ref(), front, position);
            if filled.map_err(|error| Error::io("read a spool", error))? < front.len() {
                return Err(Error::fix("a spool was cut short by somebody else"));
            }
        }
        let start = position.saturating_sub(spooled) as usize;
        back.copy_from_slice(&self.parts[start..start + back.len()]);
        Ok(())
    }
}

pub(crate) fn schema_id_reused(id: SchemaId) -> Error {
    let SchemaId { dataset, schema } = id;
    Error::fix(format!("schema {schema} of dataset {dataset} already names another schema"))
        .with_hint("a schema id is never reused: give the new schema a new id")
}

fn rows_per_part(batch: &RecordBatch) -> usize {
    let parts = batch.get_array_memory_size().div_ceil(PART_BYTES_TARGET).max(1);
    batch.num_rows().div_ceil(parts).max(1)
}
