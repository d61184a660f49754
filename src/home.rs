//! The shards of the log that decide about tables, by their names.

use polder_log::store::MAIN;
use polder_rows::Home;

/// The dataset whose records are about the entry itself; no table has it.
pub(crate) const NO_DATASET: u64 = 0;

/// A topic's shards have its id in their names, too.
const TABLES: &str = "tables";

/// The shard over which tables are spread, by its number.
pub(crate) fn table_shard(at: u32) -> String {
    format!("{TABLES}-{at}")
}

/// The shard of a home.
pub(crate) fn name_of(home: Home) -> String {
    match home {
        Home::Main => MAIN.to_string(),
        Home::Shard(at) => table_shard(at),
    }
}

/// The home of a shard, if it is one of tables.
pub(crate) fn home_of(shard: &str) -> Option<Home> {
    if shard == MAIN {
        return Some(Home::Main);
    }
    let at = shard.strip_prefix(TABLES)?.strip_prefix('-')?.parse().ok()?;
    (table_shard(at) == shard).then_some(Home::Shard(at))
}
