//! What `CHECK CATALOG` says of topics: whether the log opens, and whether each topic has its shards.

use crate::source::Topics;
use polder_catalog::Check;

/// One line for the log, and one for each topic.
pub(crate) fn check(topics: &Topics) -> Vec<Check> {
    let tables = topics.tables();
    if tables.is_empty() {
        return vec![Check::ok("topics", "none are defined")];
    }
    let log = match topics.log() {
        Ok(log) => log,
        Err(error) => return vec![Check::failed("log", error.to_string(), error.hint().map(str::to_string))],
    };
    let mut checks = vec![Check::ok("log", format!("open, with {} shards", log.shards().len()))];
    for table in tables.values() {
        let definition = &table.definition;
        let item = format!("topic {}", definition.name);
        let (mut kept, mut missing) = (0, Vec::new());
        for name in &definition.shards {
            match log.shard(name) {
                Some(shard) => kept += shard.end().offset - shard.start(),
                None => missing.push(format!("\"{name}\"")),
            }
        }
        checks.push(match missing.is_empty() {
            true => Check::ok(item, format!("{} shards with {kept} records", definition.shards.len())),
            false => {
                let fix = "restore the folders of the shards, or drop the topic".to_string();
                Check::failed(item, format!("shards {} are not in the log", missing.join(", ")), Some(fix))
            }
        });
    }
    checks
}
