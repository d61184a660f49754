//! Shards and epochs, with all that happens in between in any order.

use super::{DatasetDefinition, batch, definition, row};
use crate::home::Home;
use crate::reads::Reads;
use crate::source::RowsSource;
use crate::store::{Changes, Proposal};
use arrow::array::{ArrayRef, Int64Array};
use polder_catalog::key::KeyHash;
use polder_catalog::{CatalogName, ColumnId, DatasetId, Definition, Offset, Position, ShardName, Sharding};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PAIRS: i64 = 10_000;
const AT_ONCE: usize = 4;
const SHARDS: u32 = 2;

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A log without a disk: how many entries each shard has, and how many of them are durable.
struct World {
    source: Arc<RowsSource>,
    decided: [u64; 3],
    durable: [Arc<AtomicU64>; 3],
}

fn place(home: Home) -> usize {
    match home {
        Home::Main => 0,
        Home::Shard(at) => at as usize + 1,
    }
}

fn position(home: Home, offset: u64) -> Position {
    let shard = ShardName(format!("{}", place(home)).into());
    Position { shards: [(shard, Offset(offset))].into(), ..Position::default() }
}

fn spread() -> DatasetDefinition {
    let key = vec![ColumnId("k".into())];
    DatasetDefinition {
        sharding: Some(Sharding { count: SHARDS, key, hash: KeyHash::default() }),
        ..definition(&["k"])
    }
}

impl World {
    fn new() -> Self {
        let source = Arc::new(RowsSource::new(CatalogName::new("polder")));
        source.extend(SHARDS);
        let durable: [Arc<AtomicU64>; 3] = Default::default();
        for home in [Home::Main, Home::Shard(0), Home::Shard(1)] {
            let durable = Arc::clone(&durable[place(home)]);
            source.show_durable(home, move || durable.load(Ordering::Relaxed)).unwrap();
        }
        let mut world = Self { source, decided: [0; 3], durable };
        for home in [Home::Main, Home::Shard(0), Home::Shard(1)] {
            let definitions = vec![Definition::Create(spread())];
            let proposal = world.source.propose(home, definitions, &Changes::new(), None).unwrap();
            world.decide(home, &proposal);
            world.sync(home);
        }
        world
    }

    fn decide(&mut self, home: Home, proposal: &Proposal) -> u64 {
        let decided = &mut self.decided[place(home)];
        self.source.decide(*decided, position(home, *decided + 1), proposal).unwrap();
        *decided += 1;
        *decided
    }

    fn sync(&self, home: Home) {
        self.durable[place(home)].store(self.decided[place(home)], Ordering::Relaxed);
    }

    fn durable(&self, home: Home) -> u64 {
        self.durable[place(home)].load(Ordering::Relaxed)
    }

    /// Adds a row, or takes it away; where its entry ends.
    fn change(&mut self, key: i64, weight: i64) -> (Home, u64) {
        let home = Home::of_key(&[Arc::new(Int64Array::from(vec![key])) as ArrayRef], SHARDS).unwrap();
        let changes = Changes::from([(DatasetId("7".into()), vec![batch(&[(row(key, 0), weight)])])]);
        assert_eq!(self.source.home_of(&changes).unwrap(), Some(home));
        let proposal = self.source.propose(home, Vec::new(), &changes, None::<Reads>).unwrap();
        (home, self.decide(home, &proposal))
    }

    /// Whether everybody sees a row.
    fn has(&self, key: i64) -> bool {
        let shown = self.source.shown();
        let wanted: ArrayRef = Arc::new(Int64Array::from(vec![key]));
        shown.shards.iter().any(|shard| {
            let table = &shard.tables[&DatasetId("7".into())];
            !table.look_up(&table.paths[0], &[Arc::clone(&wanted)]).unwrap().unwrap_or_default().is_empty()
        })
    }

    fn is_shown(&self, (home, end): (Home, u64)) -> bool {
        self.source.cut().get(place(home) - 1).is_some_and(|cut| *cut >= end)
    }
}

/// Two rows of different shards: the first goes, and because of that the second comes.
struct Pair {
    friend: i64,
    message: i64,
    ended: Option<(Home, u64)>,
    said: bool,
}

/// Who ends a friendship and then says something: of ten thousand of these, however the syncs and epochs come in between, no
/// state ever has the message and the friend.
#[test]
fn no_state_has_an_effect_without_its_cause() {
    let mut world = World::new();
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let mut keys = 0..;
    let mut next = |wanted: Home| {
        let home = |key: i64| Home::of_key(&[Arc::new(Int64Array::from(vec![key])) as ArrayRef], SHARDS).unwrap();
        keys.by_ref().find(|key| home(*key) == wanted).unwrap()
    };
    let (mut begun, mut done, mut looked) = (0, 0, 0_u64);
    let mut pairs: Vec<Pair> = Vec::new();
    while done < PAIRS {
        if pairs.len() < AT_ONCE && begun < PAIRS {
            let first = Home::Shard(u32::try_from(chance.below(2)).unwrap());
            let second = if first == Home::Shard(0) { Home::Shard(1) } else { Home::Shard(0) };
            let (friend, message) = (next(first), next(second));
            world.change(friend, 1);
            world.sync(first);
            pairs.push(Pair { friend, message, ended: None, said: false });
            begun += 1;
        }
        step(&mut world, &mut pairs, &mut chance);
        for pair in &pairs {
            assert!(!(world.has(pair.message) && world.has(pair.friend) && pair.said), "of pair {}", pair.friend);
            looked += 1;
        }
        let before = pairs.len();
        pairs.retain(|pair| !(pair.said && world.has(pair.message)));
        done += i64::try_from(before - pairs.len()).unwrap();
    }
    assert!(looked > 3 * PAIRS.unsigned_abs());
}

/// One of the things that may happen next.
fn step(world: &mut World, pairs: &mut [Pair], chance: &mut Chance) {
    match chance.below(6) {
        0 | 1 => act(world, pairs, chance),
        2 => world.sync(Home::Shard(0)),
        3 => world.sync(Home::Shard(1)),
        4 => world.sync(Home::Main),
        _ => {
            // While the ends of the shards are read, one after the other, everything else goes on.
            let cell = std::cell::RefCell::new((&mut *world, &mut *pairs, &mut *chance));
            let source = Arc::clone(&cell.borrow().0.source);
            let epoch = source.epoch(|at| {
                let (world, pairs, chance) = &mut *cell.borrow_mut();
                for _ in 0..chance.below(3) {
                    match chance.below(3) {
                        0 => act(world, pairs, chance),
                        1 => world.sync(Home::Shard(0)),
                        _ => world.sync(Home::Shard(1)),
                    }
                }
                let end = world.durable(Home::Shard(at));
                (end, end)
            });
            world.decide(Home::Main, &Proposal::of_epoch(epoch));
        }
    }
}

fn act(world: &mut World, pairs: &mut [Pair], chance: &mut Chance) {
    let Some(count) = std::num::NonZeroU64::new(pairs.len() as u64) else { return };
    let pair = &mut pairs[usize::try_from(chance.below(count.get())).unwrap()];
    match pair.ended {
        None => pair.ended = Some(world.change(pair.friend, -1)),
        // The write is answered when an epoch has it, and its client says the next thing.
        Some(ended) if !pair.said && world.is_shown(ended) => {
            world.change(pair.message, 1);
            pair.said = true;
        }
        Some(_) => {}
    }
}
