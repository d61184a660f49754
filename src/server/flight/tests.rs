//! What can be told without a connection.

use super::registry::{Limits, Registry};
use super::statement::count;
use std::sync::Arc;
use std::time::Duration;

fn registry(count: usize, bytes: usize, idle: Duration) -> Registry<u8> {
    Registry::new("thing", Limits { count, bytes, idle })
}

const LONG: Duration = Duration::from_secs(600);

/// What clients leave behind has an end.
#[test]
fn a_registry_keeps_no_more_than_it_may() {
    let things = registry(2, 100, LONG);
    let first = things.put(Arc::new(1), 60).unwrap();
    assert!(things.put(Arc::new(2), 60).is_err(), "too many bytes");
    things.put(Arc::new(3), 1).unwrap();
    assert!(things.put(Arc::new(4), 1).is_err(), "too many");
    assert_eq!(*things.take(first.as_bytes()).unwrap(), 1);
    assert!(things.get(first.as_bytes()).is_err());
    things.put(Arc::new(5), 60).unwrap();
}

#[test]
fn what_was_used_longest_ago_makes_room() {
    let things = registry(2, 100, LONG).evicting();
    let [first, second] = [1, 2].map(|n| things.put(Arc::new(n), 1).unwrap());
    things.get(first.as_bytes()).unwrap();
    things.put(Arc::new(3), 1).unwrap();
    assert!(things.get(first.as_bytes()).is_ok());
    assert!(things.get(second.as_bytes()).is_err());
    assert!(things.put(Arc::new(4), 101).is_err(), "it alone is too large");
}

#[test]
fn what_nobody_uses_is_forgotten() {
    let things = registry(9, 100, Duration::ZERO);
    let [idle, used] = [1, 2].map(|n| things.put(Arc::new(n), 1).unwrap());
    let in_use = things.get(used.as_bytes()).unwrap();
    let kept = registry(9, 100, LONG);
    let young = kept.put(Arc::new(3), 1).unwrap();
    kept.sweep();
    things.sweep();
    assert!(kept.get(young.as_bytes()).is_ok());
    assert!(things.get(used.as_bytes()).is_ok());
    assert!(things.get(idle.as_bytes()).is_err());
    drop(in_use);
}

#[test]
fn no_bytes_are_an_id_by_chance() {
    let things = registry(9, 100, LONG);
    for id in [&b""[..], b"\xff\xfe", b"0", "ü".as_bytes()] {
        assert!(things.get(id).is_err());
    }
}

#[test]
fn a_tag_tells_how_many_rows() {
    for (tag, rows) in [("INSERT 0 3", 3), ("UPDATE 2", 2), ("CREATE TABLE", 0), ("TRUNCATE TABLE", -1)] {
        assert_eq!(count(tag), rows, "{tag}");
    }
}
