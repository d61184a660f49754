//! Transactions are serializable: random histories have no cycle of dependencies.
//!
//! Rows hold lists, and each transaction appends elements that no other one does, so that what it read tells which ones it
//! came after (Elle's list-append: Kingsbury and Alvaro, VLDB 2020). Between transactions there are three edges: who appended
//! next to whom, who read whose element, and who read a list, or all rows of a group, before somebody added to it. Write skew,
//! phantoms and lost updates are cycles of these edges, or elements that are gone.
//!
//! `POLDER_SEEDS=1000` makes so many histories; `POLDER_SEED=7` makes the one again that failed.

use super::{Outcome, open};
use crate::engine::Engine;
use crate::session::Session;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use polder_catalog::SqlState;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

const HISTORIES: u64 = 25;
const TRANSACTIONS: usize = 14;
const KEYS: i64 = 5;
const GROUPS: i64 = 2;

/// The list of a row.
type List = Vec<usize>;

/// What a transaction saw and did.
#[derive(Debug, Default)]
struct Done {
    lists: Vec<(i64, List)>,
    /// A group, and the lists of its rows.
    groups: Vec<(i64, BTreeMap<i64, List>)>,
    appended: Vec<(i64, usize)>,
}

/// A transaction on its way.
struct Client {
    session: Session,
    left: usize,
    done: Done,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn histories_have_no_cycle_of_dependencies() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path()).await;
    let seeds = match number("POLDER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("POLDER_SEEDS").unwrap_or(HISTORIES),
    };
    let (mut committed, mut aborted) = (0, 0);
    for seed in seeds.clone() {
        let (done, conflicts) = history(&engine, seed).await;
        committed += done.len();
        aborted += conflicts;
    }
    println!("histories of seeds {seeds:?}: {committed} transactions committed, {aborted} conflicted, no cycle");
    // The histories are such that they would have cycles, were nobody stopped.
    assert!(seeds.count() < 10 || aborted > 0 && committed > aborted);
}

/// Makes one history and checks it: what was committed, and how many conflicted.
async fn history(engine: &Engine, seed: u64) -> (Vec<Done>, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let table = format!("t{seed}");
    run(
        &engine.session(),
        &format!("CREATE TABLE {table} (k BIGINT PRIMARY KEY, g BIGINT NOT NULL, list TEXT NOT NULL)"),
    )
    .await
    .unwrap();
    run(&engine.session(), &format!("INSERT INTO {table} VALUES (0, 0, '0'), (1, 1, '1')")).await.unwrap();
    // The first two elements are nobody's.
    let (mut elements, mut started, mut conflicts) = (2, 0, 0);
    let (mut clients, mut done) = (Vec::<Client>::new(), Vec::new());
    while started < TRANSACTIONS || !clients.is_empty() {
        if started < TRANSACTIONS && (clients.is_empty() || clients.len() < 5 && random.random_bool(0.4)) {
            let client = Client { session: engine.session(), left: random.random_range(1..5), done: Done::default() };
            run(&client.session, "BEGIN").await.unwrap();
            clients.push(client);
            started += 1;
            continue;
        }
        let at = random.random_range(0..clients.len());
        let client = &mut clients[at];
        let stepped = match client.left.checked_sub(1) {
            Some(left) => {
                client.left = left;
                step(client, &table, &mut elements, &mut random).await
            }
            None => run(&client.session, "COMMIT").await.map(|_| ()),
        };
        match stepped {
            Ok(()) if client.left > 0 || client.session.in_transaction() => {}
            Ok(()) => done.push(clients.swap_remove(at).done),
            Err(error) => {
                assert!([SqlState::SERIALIZATION, SqlState::UNIQUE].contains(&error.state()), "seed {seed}: {error}");
                conflicts += usize::from(error.state() == SqlState::SERIALIZATION);
                clients.swap_remove(at);
            }
        }
    }
    let last = rows(&engine.session(), &format!("SELECT k, list FROM {table}")).await.unwrap();
    if let Err(why) = check(&done, &last) {
        panic!("POLDER_SEED={seed}: {why}\n{last:?}\n{done:#?}");
    }
    (done, conflicts)
}

/// One statement, or a read and a write of what was read.
async fn step(
    client: &mut Client,
    table: &str,
    elements: &mut usize,
    random: &mut StdRng,
) -> polder_catalog::Result<()> {
    let (session, done) = (&client.session, &mut client.done);
    let (key, group) = (random.random_range(0..KEYS), random.random_range(0..GROUPS));
    let one = format!("SELECT k, list FROM {table} WHERE k = {key}");
    match random.random_range(0..5u32) {
        0 => {
            let list = rows(session, &one).await?.remove(&key).unwrap_or_default();
            done.lists.push((key, list));
        }
        1 => {
            let lists = rows(session, &format!("SELECT k, list FROM {table} WHERE g = {group}")).await?;
            done.groups.push((group, lists));
        }
        2 => {
            let append = format!("UPDATE {table} SET list = list || ',{elements}' WHERE k = {key}");
            if run(session, &append).await? == "UPDATE 1" {
                done.appended.push((key, *elements));
                *elements += 1;
            }
        }
        // As an application does that computes the new value itself.
        3 => {
            if let Some(list) = rows(session, &one).await?.remove(&key) {
                let text: Vec<_> = list.iter().chain([&*elements]).map(ToString::to_string).collect();
                run(session, &format!("UPDATE {table} SET list = '{}' WHERE k = {key}", text.join(","))).await?;
                done.lists.push((key, list));
                done.appended.push((key, *elements));
                *elements += 1;
            }
        }
        // The group of a key is always the same.
        _ => {
            run(session, &format!("INSERT INTO {table} VALUES ({key}, {}, '{elements}')", key % GROUPS)).await?;
            done.appended.push((key, *elements));
            *elements += 1;
        }
    }
    Ok(())
}

async fn run(session: &Session, sql: &str) -> polder_catalog::Result<String> {
    match session.run(sql).await? {
        Outcome::Done(tag) => Ok(tag),
        other => panic!("{other:?}"),
    }
}

async fn rows(session: &Session, sql: &str) -> polder_catalog::Result<BTreeMap<i64, List>> {
    let Outcome::Rows(rows) = session.run(sql).await? else { panic!("no rows") };
    let mut lists = BTreeMap::new();
    for batch in rows.collect().await? {
        let texts = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::Utf8).unwrap();
        for (key, text) in batch.column(0).as_primitive::<Int64Type>().values().iter().zip(texts.as_string::<i32>()) {
            let list = text.unwrap().split(',').map(|element| element.parse().unwrap()).collect();
            lists.insert(*key, list);
        }
    }
    Ok(lists)
}

/// # Errors
/// What cannot be in any serial order.
fn check(done: &[Done], last: &BTreeMap<i64, List>) -> Result<(), String> {
    let mut author = BTreeMap::new();
    for (transaction, one) in done.iter().enumerate() {
        for (key, element) in &one.appended {
            author.insert(*element, transaction);
            let count = last.get(key).map_or(0, |list| list.iter().filter(|known| *known == element).count());
            if count != 1 {
                return Err(format!("element {element} of key {key} is there {count} times"));
            }
        }
    }
    let mut edges = vec![BTreeSet::new(); done.len()];
    let mut edge = |from: Option<&usize>, to: Option<&usize>| {
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            edges[*from].insert(*to);
        }
    };
    let author_of = |element: Option<&usize>| element.and_then(|element| author.get(element));
    for list in last.values() {
        list.windows(2).for_each(|pair| edge(author_of(Some(&pair[0])), author_of(Some(&pair[1]))));
    }
    for (reader, one) in done.iter().enumerate() {
        let empty = List::new();
        let of_groups = one.groups.iter().flat_map(|(group, seen)| {
            let keys = last.keys().filter(move |key| *key % GROUPS == *group);
            keys.map(|key| (*key, seen.get(key).unwrap_or(&empty)))
        });
        for (key, list) in one.lists.iter().map(|(key, list)| (*key, list)).chain(of_groups) {
            let whole = last.get(&key).unwrap_or(&empty);
            if !whole.starts_with(list) {
                return Err(format!(
                    "transaction {reader} read {list:?} of key {key}, which is no beginning of {whole:?}"
                ));
            }
            edge(author_of(list.last()), Some(&reader));
            edge(Some(&reader), author_of(whole.get(list.len())));
        }
    }
    // What nothing comes before any more is taken away, until nothing is left.
    let mut left: BTreeSet<usize> = (0..done.len()).collect();
    loop {
        let entered: BTreeSet<usize> = left.iter().flat_map(|from| edges[*from].iter().copied()).collect();
        let free: Vec<usize> = left.difference(&entered).copied().collect();
        if free.is_empty() {
            break;
        }
        left.retain(|one| !free.contains(one));
    }
    if left.is_empty() { Ok(()) } else { Err(format!("a cycle among transactions {left:?}")) }
}
