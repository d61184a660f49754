//! What an entry does to a table, checked before any of it is done.

use crate::part::Part;
use crate::path::{Kind, Path, Reader};
use crate::table::{Table, defect};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::{OwnedRow, Row};
use arrow::util::display::array_value_to_string;
use polder_catalog::{Error, Result, SqlState};
use std::collections::{HashMap, HashSet};

/// Checked changes: nothing of them can fail for what the rows are.
#[derive(Default)]
pub(crate) struct Planned {
    /// The numbers of the rows that go.
    pub(crate) gone: HashSet<u64>,
    /// The hashes of what goes, for each path: hash and number.
    pub(crate) gone_hashes: Vec<Vec<(u64, u64)>>,
    /// The entries of what goes, and the keys of what is added, for each ordered index.
    pub(crate) gone_entries: Vec<Vec<(Box<[u8]>, u64)>>,
    pub(crate) added_keys: Vec<Vec<Box<[u8]>>>,
    pub(crate) added: Vec<RecordBatch>,
    /// The hashes of the rows that are added, for each path; none for a row that has no key there.
    pub(crate) added_hashes: Vec<Vec<Option<u64>>>,
}

/// Checks changes against a version of a table.
///
/// # Errors
/// 23505 for a key that is there already, 22000 for a row that is to go and is not there.
pub(crate) fn plan(table: &Table, parts: &[Part]) -> Result<Planned> {
    let readers: Vec<Reader<'_>> = table.paths.iter().map(Path::read).collect();
    let (mut planned, mut gone) = (Planned::default(), Gone::default());
    planned.gone_hashes = vec![Vec::new(); table.paths.len()];
    planned.gone_entries = vec![Vec::new(); table.indexes.len()];
    planned.added_keys = vec![Vec::new(); table.indexes.len()];
    let mut added = Added::new(table.has_key());
    for part in parts {
        for at in part.places(false) {
            let (key, hash) = (part.keys[0].rows.row(at), part.keys[0].hashes[at]);
            let Some(number) = find(table, &table.paths[0], &readers[0], hash, key, &mut gone)? else {
                added.take(key);
                continue;
            };
            gone.numbers.insert(number);
            planned.gone.insert(number);
            for (hashes, keys) in planned.gone_hashes.iter_mut().zip(&part.keys) {
                if keys.has(at) {
                    hashes.push((keys.hashes[at], number));
                }
            }
            for (entries, keys) in planned.gone_entries.iter_mut().zip(&part.ordered) {
                entries.push((keys.row(at).as_ref().into(), number));
            }
        }
    }
    // After all deletions: an entry may take the keys that it frees.
    let mut kept = Vec::new();
    for part in parts {
        kept.push(added.kept(table, part)?);
    }
    added.finish()?;
    for (at, path) in table.paths.iter().enumerate() {
        let mut hashes = Vec::new();
        let mut seen = HashSet::new();
        for (part, kept) in parts.iter().zip(&kept) {
            let keys = &part.keys[at];
            for row in (0..kept.len()).filter(|row| kept[*row]) {
                hashes.push(keys.has(row).then(|| keys.hashes[row]));
                if !path.kind.is_unique() || !keys.has(row) {
                    continue;
                }
                let key = keys.rows.row(row);
                if path.kind == Kind::Unique && !seen.insert(key.owned()) {
                    return Err(duplicate(table, path, part, row).with_hint(TWICE));
                }
                if find(table, path, &readers[at], keys.hashes[row], key, &mut gone)?.is_some() {
                    return Err(duplicate(table, path, part, row));
                }
            }
        }
        planned.added_hashes.push(hashes);
    }
    for (part, kept) in parts.iter().zip(&kept) {
        for (added, keys) in planned.added_keys.iter_mut().zip(&part.ordered) {
            added.extend((0..kept.len()).filter(|row| kept[*row]).map(|row| keys.row(row).as_ref().into()));
        }
    }
    for (part, kept) in parts.iter().zip(kept) {
        let rows = match kept.iter().all(|kept| *kept) {
            true => part.rows.clone(),
            false => filter_record_batch(&part.rows, &BooleanArray::from(kept)).map_err(|error| defect(&error))?,
        };
        planned.added.push(rows);
    }
    Ok(planned)
}

const TWICE: &str = "the statement itself has the key twice";

/// The newest row with this key that is there and not among those that go.
fn find(
    table: &Table,
    path: &Path,
    reader: &Reader<'_>,
    hash: u64,
    key: Row<'_>,
    gone: &mut Gone,
) -> Result<Option<u64>> {
    let is_first = std::ptr::eq(path, &table.paths[0]);
    let skip = if is_first { gone.newest(hash) } else { 0 };
    let mut dead = skip;
    for (at, number) in reader.candidates(hash).enumerate().skip(skip) {
        let place = if gone.numbers.contains(&number) { None } else { table.locate(number) };
        let Some((chunk, place)) = place else {
            dead += usize::from(at == dead);
            continue;
        };
        if path.key_at(table.chunks[chunk].rows(), place)?.row(0) == key {
            gone.note(is_first, hash, dead);
            return Ok(Some(number));
        }
    }
    gone.note(is_first, hash, dead);
    Ok(None)
}

/// The rows that an entry deletes.
#[derive(Default)]
struct Gone {
    numbers: HashSet<u64>,
    /// How many of the newest rows with a hash are not there any more: those of rows that repeat are not looked at again.
    newest: HashMap<u64, usize>,
}

impl Gone {
    fn newest(&self, hash: u64) -> usize {
        self.newest.get(&hash).copied().unwrap_or(0)
    }

    fn note(&mut self, is_first: bool, hash: u64, dead: usize) {
        if is_first && dead > 0 {
            self.newest.insert(hash, dead);
        }
    }
}

/// Of the rows that an entry adds, those that it takes away again.
struct Added {
    unique: bool,
    taken: HashMap<OwnedRow, usize>,
    seen: HashSet<OwnedRow>,
}

impl Added {
    fn new(unique: bool) -> Self {
        Self { unique, taken: HashMap::new(), seen: HashSet::new() }
    }

    /// A row that goes and is not in the table must be one that the entry adds, before or after.
    fn take(&mut self, key: Row<'_>) {
        *self.taken.entry(key.owned()).or_default() += 1;
    }

    /// Which rows of a part stay.
    fn kept(&mut self, table: &Table, part: &Part) -> Result<Vec<bool>> {
        let mut kept = vec![false; part.weights.len()];
        if self.taken.is_empty() && !self.unique {
            part.places(true).for_each(|at| kept[at] = true);
            return Ok(kept);
        }
        for at in part.places(true) {
            let key = part.keys[0].rows.row(at).owned();
            match self.taken.get_mut(&key) {
                Some(left) if *left > 0 => *left -= 1,
                _ if self.unique && !self.seen.insert(key) => {
                    return Err(duplicate(table, &table.paths[0], part, at).with_hint(TWICE));
                }
                _ => kept[at] = true,
            }
        }
        Ok(kept)
    }

    /// After the last rows: whether all that goes was there.
    fn finish(&self) -> Result<()> {
        match self.taken.values().any(|left| *left > 0) {
            true => Err(Error::fix(SqlState::DATA, "a row that is to be deleted is not in the table")),
            false => Ok(()),
        }
    }
}

fn duplicate(table: &Table, path: &Path, part: &Part, row: usize) -> Error {
    let name = |at: &usize| table.schema.field(*at).name().as_str();
    let names: Vec<_> = path.columns.iter().map(name).collect();
    let text = |at: &usize| array_value_to_string(part.rows.column(*at), row).unwrap_or_default();
    let values: Vec<_> = path.columns.iter().map(text).collect();
    let message = format!("table {} has a row with this key already", table.full_name());
    Error::fix(SqlState::UNIQUE, message).with_detail(format!("key ({}) = ({})", names.join(", "), values.join(", ")))
}
