//! Tables are what a map says, whatever entries made them, also for those who began to read before.

mod spread;

use crate::chunk::Chunk;
use crate::home::Home;
use crate::ordered::Wanted;
use crate::reads::{Condition, Reads, Snapshot};
use crate::store::{Changes, Proposal, State, Store};
use crate::table::Table;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion_common::ScalarValue;
use polder_catalog::{
    CatalogName, ColumnDefinition, ColumnId, DatasetDefinition, DatasetId, Definition, IndexDefinition, Offset,
    Position, ShardName, SqlState, WEIGHT_COLUMN,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ID: &str = "7";

fn definition(key: &[&str]) -> DatasetDefinition {
    let column = |id: &str, data_type, nullable| ColumnDefinition {
        id: ColumnId(id.into()),
        field: Arc::new(Field::new(id, data_type, nullable)),
        options: BTreeMap::new(),
    };
    DatasetDefinition {
        id: DatasetId(ID.into()),
        schema: "public".to_string(),
        name: "t".to_string(),
        columns: vec![column("k", DataType::Int64, false), column("v", DataType::Utf8, true)],
        unique: Vec::new(),
        identity: None,
        indexes: Vec::new(),
        references: Vec::new(),
        sharding: None,
        key: key.iter().map(|id| ColumnId((*id).into())).collect(),
        options: BTreeMap::new(),
    }
}

fn position(offset: u64) -> Position {
    Position { shards: [(ShardName("main".into()), Offset(offset))].into(), ..Position::default() }
}

type Row = (i64, Option<String>);

/// A row and its weight, each.
fn batch(changes: &[(Row, i64)]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|((key, _), _)| *key)));
    let values: ArrayRef = Arc::new(changes.iter().map(|((_, value), _)| value.clone()).collect::<StringArray>());
    let weights: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|(_, weight)| *weight)));
    let fields = [("k", DataType::Int64, false), ("v", DataType::Utf8, true), (WEIGHT_COLUMN, DataType::Int64, false)];
    let fields: Vec<_> = fields.into_iter().map(|(name, of, nullable)| Field::new(name, of, nullable)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![keys, values, weights]).unwrap()
}

fn changes(rows: &[(Row, i64)]) -> Changes {
    Changes::from([(DatasetId(ID.into()), vec![batch(rows)])])
}

/// A store with the table, and what applies an entry to it.
struct Desk {
    store: Store,
    entries: u64,
}

impl Desk {
    fn new(key: &[&str]) -> Self {
        let mut desk = Self { store: Store::new(CatalogName::new("polder"), Arc::default()), entries: 0 };
        desk.define(Definition::Create(definition(key)));
        desk
    }

    fn define(&mut self, definition: Definition) {
        self.entries += 1;
        self.store.apply(position(self.entries), vec![definition], &Changes::new()).unwrap();
    }

    fn apply(&mut self, rows: &[(Row, i64)]) -> polder_catalog::Result<()> {
        self.entries += 1;
        self.store.apply(position(self.entries), Vec::new(), &changes(rows))
    }
}

fn table(state: &State) -> &Table {
    state.named("public", "t").unwrap()
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let (keys, values) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
    let value = |at| values.is_valid(at).then(|| values.value(at).to_string());
    (0..batch.num_rows()).map(|at| (keys.value(at), value(at))).collect()
}

fn sorted(state: &State) -> Vec<Row> {
    let table = table(state);
    let mut rows = Vec::new();
    for chunk in &table.chunks {
        rows.extend(rows_of(&chunk.slice(0, chunk.len(), &[0, 1]).unwrap()));
    }
    rows.sort();
    assert_eq!(rows.len(), table.row_count());
    rows
}

fn row(key: i64, value: u32) -> Row {
    (key, (value > 0).then(|| value.to_string()))
}

proptest! {
    /// Each step sets or removes some keys, in one entry.
    #[test]
    fn a_table_with_a_key_is_a_map(
        steps in prop::collection::vec(prop::collection::btree_map(0i64..40, prop::option::of(0u32..5), 1..12), 1..40),
    ) {
        let mut desk = Desk::new(&["k"]);
        let mut model: BTreeMap<i64, Row> = BTreeMap::new();
        let mut seen = Vec::new();
        for step in steps {
            let mut entry = Vec::new();
            for (key, value) in step {
                entry.extend(model.remove(&key).map(|old| (old, -1)));
                if let Some(value) = value {
                    entry.push((row(key, value), 1));
                    model.insert(key, row(key, value));
                }
            }
            desk.apply(&entry).unwrap();
            seen.push((desk.store.shown(), model.clone()));
        }
        for (state, model) in &seen {
            let expected: Vec<Row> = model.values().cloned().collect();
            prop_assert_eq!(sorted(state), expected);
            for key in 0..42 {
                let wanted: ArrayRef = Arc::new(Int64Array::from(vec![key]));
                let found = table(state).look_up(&table(state).paths[0], &[wanted]).unwrap();
                let found = found.map(|found| found.iter().flat_map(rows_of).collect::<Vec<_>>());
                let expected: Vec<Row> = model.get(&key).cloned().into_iter().collect();
                prop_assert_eq!(found, Some(expected));
            }
        }
    }

    /// Without a key, rows repeat, and one of them goes at a time.
    #[test]
    fn a_table_without_a_key_is_a_bag(steps in prop::collection::vec((0i64..4, 0u32..3, any::<bool>()), 1..80)) {
        let mut desk = Desk::new(&[]);
        let mut model: Vec<Row> = Vec::new();
        for (key, value, insert) in steps {
            let row = row(key, value);
            match model.iter().position(|known| *known == row) {
                Some(at) if !insert => {
                    model.swap_remove(at);
                    desk.apply(&[(row, -1)]).unwrap();
                }
                _ => {
                    model.push(row.clone());
                    desk.apply(&[(row, 1)]).unwrap();
                }
            }
        }
        model.sort();
        prop_assert_eq!(sorted(&desk.store.shown()), model);
    }
}

#[test]
fn an_entry_may_take_the_keys_that_it_frees() {
    let mut desk = Desk::new(&["k"]);
    desk.apply(&[(row(1, 1), 1), (row(2, 2), 1)]).unwrap();
    desk.apply(&[(row(1, 1), -1), (row(2, 1), 1), (row(2, 2), -1), (row(1, 2), 1)]).unwrap();
    assert_eq!(sorted(&desk.store.shown()), [row(1, 2), row(2, 1)]);
    // What an entry adds and takes away again was never there.
    desk.apply(&[(row(9, 1), 1), (row(9, 1), -1)]).unwrap();
    assert_eq!(sorted(&desk.store.shown()), [row(1, 2), row(2, 1)]);
}

#[test]
fn an_entry_that_does_not_fit_has_no_effect() {
    let mut desk = Desk::new(&["k"]);
    desk.apply(&[(row(1, 1), 1)]).unwrap();
    let cases: [(&[(Row, i64)], SqlState); 4] = [
        (&[(row(2, 1), 1), (row(1, 5), 1)], SqlState::UNIQUE),
        (&[(row(2, 1), 1), (row(2, 2), 1)], SqlState::UNIQUE),
        (&[(row(2, 1), 1), (row(3, 1), -1)], SqlState::DATA),
        (&[(row(2, 1), 2)], SqlState::NOT_SUPPORTED),
    ];
    for (entry, state) in cases {
        assert_eq!(desk.apply(entry).unwrap_err().state(), state);
        assert_eq!(sorted(&desk.store.shown()), [row(1, 1)]);
    }
    desk.apply(&[(row(2, 1), 1)]).unwrap();
}

#[test]
fn many_small_entries_make_few_chunks_and_deleted_rows_go() {
    let mut desk = Desk::new(&["k"]);
    for key in 0..3_000 {
        desk.apply(&[(row(key, 1), 1)]).unwrap();
    }
    assert!(table(&desk.store.shown()).chunks.len() < 16);
    for key in 0..2_900 {
        desk.apply(&[(row(key, 1), -1)]).unwrap();
    }
    let state = desk.store.shown();
    let held: usize = table(&state).chunks.iter().map(|chunk| Chunk::len(chunk)).sum();
    assert_eq!(table(&state).row_count(), 100);
    assert!(held <= 200, "{held} rows are held for 100");
}

#[test]
fn columns_come_and_go_and_rows_are_found_all_the_same() {
    for key in [&["k"][..], &[]] {
        let mut desk = Desk::new(key);
        desk.apply(&[(row(1, 1), 1), (row(2, 2), 1)]).unwrap();
        let mut altered = definition(key);
        let field = Arc::new(Field::new("n", DataType::Int64, true));
        altered.columns.remove(1);
        altered.columns.push(ColumnDefinition { id: ColumnId("n".into()), field, options: BTreeMap::new() });
        desk.define(Definition::Alter(altered));
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![1, 3]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(5)]));
        let weights: ArrayRef = Arc::new(Int64Array::from(vec![-1, 1]));
        let fields = [Field::new("k", DataType::Int64, false), Field::new("n", DataType::Int64, true)];
        let fields: Vec<_> = fields.into_iter().chain([Field::new(WEIGHT_COLUMN, DataType::Int64, false)]).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![keys, numbers, weights]).unwrap();
        desk.store.apply(position(9), Vec::new(), &Changes::from([(DatasetId(ID.into()), vec![rows])])).unwrap();
        let state = desk.store.shown();
        let chunks = &table(&state).chunks;
        let live: usize = chunks.iter().map(|chunk| chunk.live()).sum();
        assert_eq!(live, 2);
    }
}

#[test]
fn rows_that_repeat_go_one_by_one() {
    let mut desk = Desk::new(&[]);
    let same = |count: usize, weight| vec![(row(1, 1), weight); count];
    desk.apply(&same(5_000, 1)).unwrap();
    desk.apply(&same(4_000, -1)).unwrap();
    assert_eq!(sorted(&desk.store.shown()).len(), 1_000);
    assert_eq!(desk.apply(&same(1_001, -1)).unwrap_err().state(), SqlState::DATA);
    desk.apply(&same(1_000, -1)).unwrap();
    assert_eq!(table(&desk.store.shown()).chunks.len(), 0);
}

/// Whole parts are large, and must not be put together: Arrow has no array of so many bytes of text.
#[test]
fn large_rows_stay_in_chunks_of_their_own() {
    let mut desk = Desk::new(&["k"]);
    let large = "x".repeat(40 << 20);
    let rows = |key: i64| batch(&[((key, Some(large.clone())), 1)]);
    let parts = Changes::from([(DatasetId(ID.into()), vec![rows(1), rows(2)])]);
    desk.entries += 1;
    desk.store.apply(position(desk.entries), Vec::new(), &parts).unwrap();
    let state = desk.store.shown();
    assert_eq!((table(&state).chunks.len(), table(&state).row_count()), (2, 2));
    // The parts of an entry are one entry all the same.
    let parts = Changes::from([(DatasetId(ID.into()), vec![batch(&[(row(3, 1), 1)]), batch(&[(row(3, 2), 1)])])]);
    assert_eq!(desk.store.apply(position(9), Vec::new(), &parts).unwrap_err().state(), SqlState::UNIQUE);
}

/// Entries that the log takes, loses or shows later, as the store's own promises have it.
struct Log {
    desk: Desk,
    entries: u64,
    durable: Arc<AtomicU64>,
}

impl Log {
    fn new(key: &[&str]) -> Self {
        let (desk, durable) = (Desk::new(key), Arc::new(AtomicU64::new(0)));
        let told = Arc::clone(&durable);
        desk.store.show_durable(move || told.load(Ordering::Relaxed));
        Self { desk, entries: 0, durable }
    }

    fn propose(&self, rows: &[(Row, i64)], reads: Option<Reads>) -> Proposal {
        self.desk.store.propose(Home::Main, &self.desk.store.newest(), Vec::new(), &changes(rows), reads).unwrap()
    }

    fn decide(&mut self, proposal: &Proposal) -> polder_catalog::Result<()> {
        self.desk.store.decide(self.entries, position(self.entries), proposal)?;
        self.entries += 1;
        Ok(())
    }

    fn write(&mut self, rows: &[(Row, i64)]) -> polder_catalog::Result<()> {
        let proposal = self.propose(rows, None);
        self.decide(&proposal)
    }

    fn sync(&self) {
        self.durable.store(self.entries, Ordering::Relaxed);
    }

    /// The disk refuses what is not durable yet.
    fn fail(&mut self) {
        self.entries = self.durable.load(Ordering::Relaxed);
    }
}

/// What was decided is seen by who comes next and by nobody else, until it is durable.
#[test]
fn only_what_is_durable_is_shown() {
    let mut log = Log::new(&["k"]);
    log.write(&[(row(1, 1), 1)]).unwrap();
    assert_eq!(sorted(&log.desk.store.shown()), []);
    let read = reads(&log, Some(1));
    assert!(!log.desk.store.is_settled(Home::Main, &read));
    assert_eq!(log.write(&[(row(1, 2), 1)]).unwrap_err().state(), SqlState::UNIQUE);
    log.write(&[(row(2, 1), 1)]).unwrap();
    log.durable.store(1, Ordering::Relaxed);
    assert_eq!(sorted(&log.desk.store.shown()), [row(1, 1)]);
    log.sync();
    assert_eq!(sorted(&log.desk.store.shown()), [row(1, 1), row(2, 1)]);
    // Then an answer that stands on it needs no entry of its own; one that stands on what was lost does.
    assert!(log.desk.store.is_settled(Home::Main, &read));
    log.write(&[(row(1, 1), -1)]).unwrap();
    let lost = reads(&log, Some(1));
    log.fail();
    log.write(&[(row(3, 1), 1)]).unwrap();
    log.sync();
    assert!(!log.desk.store.is_settled(Home::Main, &lost));
}

proptest! {
    /// Whatever the log loses, the tables are what it has, keys are found in them, and those that were freed or taken by what
    /// was lost are not.
    #[test]
    fn what_the_log_does_not_take_never_was(
        steps in prop::collection::vec((0u8..10, 0i64..6, 0u32..4), 1..60),
    ) {
        let mut log = Log::new(&["k"]);
        let mut newest: BTreeMap<i64, Row> = BTreeMap::new();
        let mut durable = newest.clone();
        for (step, key, value) in steps {
            match step {
                0 => {
                    log.fail();
                    newest = durable.clone();
                }
                1 | 2 => {
                    log.sync();
                    durable = newest.clone();
                }
                _ => {
                    let old = newest.get(&key).cloned();
                    let mut entry: Vec<_> = old.iter().map(|old| (old.clone(), -1)).collect();
                    if value > 0 {
                        entry.push((row(key, value), 1));
                    }
                    // A statement that was planned on what is lost since fails or conflicts; this one is planned anew.
                    let empty = Changes::new();
                    let nothing = log.desk.store.propose(Home::Main, &State::default(), Vec::new(), &empty, None).unwrap();
                    log.desk.store.decide(log.entries, position(0), &nothing).unwrap();
                    log.entries += 1;
                    log.write(&entry).unwrap();
                    newest.remove(&key);
                    if value > 0 {
                        newest.insert(key, row(key, value));
                    }
                }
            }
            prop_assert_eq!(sorted(&log.desk.store.shown()), durable.values().cloned().collect::<Vec<_>>());
            let shown = log.desk.store.shown();
            for key in 0..7 {
                let wanted: ArrayRef = Arc::new(Int64Array::from(vec![key]));
                let found = table(&shown).look_up(&table(&shown).paths[0], &[wanted]).unwrap().unwrap();
                let found: Vec<Row> = found.iter().flat_map(rows_of).collect();
                prop_assert_eq!(found, durable.get(&key).cloned().into_iter().collect::<Vec<_>>());
            }
        }
    }
}

fn reads(log: &Log, condition: Option<i64>) -> Reads {
    let reads = Reads::default();
    let newest = log.desk.store.newest();
    let schema = Arc::clone(&table(&newest).schema);
    let condition = condition.map(|key| {
        let column = datafusion::physical_expr::expressions::col("k", &schema).unwrap();
        let key = datafusion::physical_expr::expressions::lit(key);
        datafusion::physical_expr::expressions::binary(column, datafusion::logical_expr::Operator::Eq, key, &schema)
            .unwrap()
    });
    let snapshot = Snapshot::new(Arc::clone(&newest), Some(reads.clone()));
    snapshot.note(Home::Main, table(&newest), condition.map_or(Condition::All, Condition::Meets));
    reads
}

/// Rows that come are noticed like rows that go; others are none of its business; and what stood on something that the log
/// did not take must be done again.
#[test]
fn what_was_read_must_still_hold() {
    let mut log = Log::new(&["k"]);
    log.write(&[(row(1, 1), 1), (row(2, 1), 1)]).unwrap();
    log.sync();
    let conflicts = |log: &mut Log, reads: Reads| {
        let proposal = log.propose(&[(row(9, 1), 1), (row(9, 1), -1)], Some(reads));
        match log.decide(&proposal) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.state(), SqlState::SERIALIZATION);
                true
            }
        }
    };
    let (of_one, of_three, all) = (reads(&log, Some(1)), reads(&log, Some(3)), reads(&log, None));
    log.write(&[(row(2, 1), -1), (row(2, 2), 1)]).unwrap();
    assert!(!conflicts(&mut log, of_one.clone()) && !conflicts(&mut log, of_three.clone()));
    assert!(conflicts(&mut log, all));
    log.write(&[(row(1, 1), -1)]).unwrap();
    assert!(conflicts(&mut log, of_one) && !conflicts(&mut log, of_three.clone()));
    log.write(&[(row(3, 1), 1)]).unwrap();
    assert!(conflicts(&mut log, of_three));
    let of_three = reads(&log, Some(3));
    log.fail();
    assert!(conflicts(&mut log, of_three));
    let of_one = reads(&log, Some(1));
    assert!(!conflicts(&mut log, of_one));
}

#[test]
fn a_unique_constraint_compares_what_is_not_null() {
    let mut desk = Desk::new(&["k"]);
    let mut unique = definition(&["k"]);
    unique.unique.push(vec![ColumnId("v".into())]);
    desk.define(Definition::Alter(unique));
    desk.apply(&[(row(1, 1), 1), (row(2, 0), 1), (row(3, 0), 1)]).unwrap();
    assert_eq!(desk.apply(&[(row(4, 1), 1)]).unwrap_err().state(), SqlState::UNIQUE);
    assert_eq!(desk.apply(&[(row(4, 2), 1), (row(5, 2), 1)]).unwrap_err().state(), SqlState::UNIQUE);
    // Values may be moved over each other, and freed.
    desk.apply(&[(row(4, 2), 1)]).unwrap();
    desk.apply(&[(row(1, 1), -1), (row(4, 2), -1), (row(1, 2), 1), (row(4, 1), 1)]).unwrap();
    desk.apply(&[(row(1, 2), -1)]).unwrap();
    desk.apply(&[(row(5, 2), 1)]).unwrap();
    assert_eq!(sorted(&desk.store.shown()), [row(2, 0), row(3, 0), row(4, 1), row(5, 2)]);
}

/// The same rows, keys and numbers, whatever was written, altered and deleted before; and they go on together.
fn assert_alike(one: &Store, other: &Store) {
    let (one, other) = (one.shown(), other.shown());
    assert_eq!(sorted(&one), sorted(&other));
    let (one, other) = (table(&one), table(&other));
    assert_eq!(
        (one.next_number(), &one.definition, &one.schema),
        (other.next_number(), &other.definition, &other.schema)
    );
    let places =
        |table: &Table| (0..one.next_number()).map(|number| table.locate(number).is_some()).collect::<Vec<_>>();
    assert_eq!(places(one), places(other));
}

fn restored(folder: &std::path::Path) -> polder_catalog::Result<Store> {
    let store = Store::new(CatalogName::new("polder"), Arc::default());
    let found = crate::checkpoint::read(folder, &CatalogName::new("polder"), || store.next_version())?.unwrap();
    assert_eq!((found.position, found.extra), (position(7), b"extra".to_vec()));
    store.restore(found.state);
    Ok(store)
}

fn names_in(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Each checkpoint is written over the one before, and each is what the tables were.
    #[test]
    fn a_checkpoint_is_what_the_tables_were(
        key in prop::bool::ANY,
        rounds in prop::collection::vec(prop::collection::vec((0i64..30, 0u32..4, 1usize..30), 1..12), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let key = if key { &["k"][..] } else { &[] };
        let mut desk = Desk::new(key);
        for round in rounds {
            for (first, value, count) in round {
                let there = sorted(&desk.store.shown());
                let fresh = (first..first + count as i64).map(|key| row(key, value));
                let gone: Vec<Row> = fresh.clone().flat_map(|row| there.iter().find(|old| old.0 == row.0).cloned()).collect();
                let entry = gone.into_iter().map(|row| (row, -1)).chain(fresh.filter(|_| value > 0).map(|row| (row, 1)));
                desk.apply(&entry.collect::<Vec<_>>()).unwrap();
            }
            crate::checkpoint::write(folder.path(), &desk.store.shown(), &position(7), b"extra").unwrap();
            let other = restored(folder.path()).unwrap();
            assert_alike(&desk.store, &other);
            let more = [(row(1_000, 1), 1)];
            other.apply(position(1_000), Vec::new(), &changes(&more)).unwrap();
            if let Some(known) = sorted(&desk.store.shown()).first().filter(|_| !key.is_empty()) {
                let again = other.apply(position(1_001), Vec::new(), &changes(&[(known.clone(), 1)]));
                prop_assert_eq!(again.unwrap_err().state(), SqlState::UNIQUE);
            }
        }
    }
}

#[test]
fn a_damaged_checkpoint_says_so_and_no_file_is_left_over() {
    let folder = tempfile::tempdir().unwrap();
    assert!(crate::checkpoint::read(folder.path(), &CatalogName::new("polder"), || 1).unwrap().is_none());
    let mut desk = Desk::new(&["k"]);
    for key in 0..200 {
        desk.apply(&[(row(key, 1), 1)]).unwrap();
    }
    desk.apply(&(0..50).map(|key| (row(key * 3, 1), -1)).collect::<Vec<_>>()).unwrap();
    let write =
        |desk: &Desk| crate::checkpoint::write(folder.path(), &desk.store.shown(), &position(7), b"extra").unwrap();
    write(&desk);
    let before = names_in(folder.path());
    desk.apply(&[(row(7, 1), -1)]).unwrap();
    // What a crash left.
    std::fs::write(folder.path().join("999.arrow"), b"half").unwrap();
    write(&desk);
    let after = names_in(folder.path());
    // Rows that have a file keep it; what is deleted is told anew.
    assert!(after.iter().any(|name| before.contains(name) && name.extension().is_some_and(|ending| ending == "arrow")));
    assert!(!after.contains(&folder.path().join("999.arrow")));
    for file in &after {
        let whole = std::fs::read(file).unwrap();
        // The last byte of the manifest ends a line.
        for damage in [whole.len() / 2, whole.len() - 2, 0] {
            let mut damaged = whole.clone();
            damaged[damage] ^= 1;
            std::fs::write(file, &damaged).unwrap();
            let error = restored(folder.path()).err().unwrap_or_else(|| panic!("{}: byte {damage}", file.display()));
            assert_eq!(error.state(), SqlState::DAMAGED, "{}: {error}", file.display());
        }
        std::fs::write(file, &whole[..whole.len() - 1]).unwrap();
        let cut = restored(folder.path());
        assert!(cut.is_err() || file.ends_with("manifest"), "{}", file.display());
        std::fs::write(file, &whole).unwrap();
    }
    assert_alike(&desk.store, &restored(folder.path()).unwrap());
}

/// What a filter asks of the index on (v, k): v equal to something, or v in a range, or k in a range for one v.
fn wanted_of(equal: bool, from: Option<(u32, bool)>, to: Option<(u32, bool)>) -> (Wanted, impl Fn(&Row) -> bool) {
    let text = |value: u32| ScalarValue::Utf8(Some(value.to_string()));
    let key = |value: u32| ScalarValue::Int64(Some(i64::from(value)));
    let of = move |value: u32| if equal { key(value) } else { text(value) };
    let wanted = Wanted {
        equal: if equal { vec![text(1)] } else { Vec::new() },
        from: from.map(|(value, included)| (of(value), included)),
        to: to.map(|(value, included)| (of(value), included)),
    };
    let meets = move |row: &Row| {
        let Some(value) = &row.1 else { return false };
        let (value, bound): (String, fn(u32) -> String) = match equal {
            true if value != "1" => return false,
            true => (format!("{:09}", row.0), |bound| format!("{bound:09}")),
            false => (value.clone(), |bound| bound.to_string()),
        };
        let above = from.is_none_or(|(from, included)| value > bound(from) || included && value == bound(from));
        above && to.is_none_or(|(to, included)| value < bound(to) || included && value == bound(to))
    };
    (wanted, meets)
}

proptest! {
    /// In every version, an index finds all rows that are wanted, and no live one that is not.
    #[test]
    fn an_index_finds_what_is_wanted(
        steps in prop::collection::vec(prop::collection::vec((0i64..25, 0u32..25), 1..10), 1..12),
        asked in prop::collection::vec(
            (any::<bool>(), prop::option::of((0u32..25, any::<bool>())), prop::option::of((0u32..25, any::<bool>()))), 1..12,
        ),
    ) {
        let mut desk = Desk::new(&["k"]);
        let mut indexed = definition(&["k"]);
        let columns = vec![ColumnId("v".into()), ColumnId("k".into())];
        indexed.indexes.push(IndexDefinition { name: "i".to_string(), columns });
        desk.define(Definition::Alter(indexed));
        let mut versions = Vec::new();
        for step in steps {
            let there = sorted(&desk.store.shown());
            let fresh: BTreeMap<i64, u32> = step.into_iter().collect();
            let gone = there.iter().filter(|row| fresh.contains_key(&row.0)).map(|row| (row.clone(), -1));
            let entry: Vec<_> = gone.chain(fresh.iter().map(|(key, value)| (row(*key, *value), 1))).collect();
            desk.apply(&entry).unwrap();
            versions.push(desk.store.shown());
        }
        for (equal, from, to) in asked {
            let (wanted, meets) = wanted_of(equal, from, to);
            if !wanted.is_any() {
                continue;
            }
            for state in &versions {
                let table = table(state);
                let found = table.indexes[0].find(&wanted, table.read_version(), usize::MAX).unwrap().unwrap();
                let mut found: Vec<Row> = table.rows_of(&found).unwrap().iter().flat_map(rows_of).collect();
                found.sort();
                prop_assert_eq!(found, sorted(state).into_iter().filter(&meets).collect::<Vec<_>>());
                prop_assert!(table.indexes[0].find(&wanted, table.read_version(), 0).unwrap().is_none_or(|found| found.is_empty()));
            }
        }
    }
}
