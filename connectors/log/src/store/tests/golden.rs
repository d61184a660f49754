//! A log as the first version wrote it must be read by every later one.
//!
//! The directory is made by `cargo test -p polder-log --no-default-features -- --ignored make_the_golden_log`, once for
//! each format version, and never again.

use super::*;
use std::path::PathBuf;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// The entries of the golden log, in order.
fn entries() -> Vec<(NewEntry, Option<RecordBatch>)> {
    let mut entries = Vec::new();
    for number in 0..30 {
        let batch = people(&["ada", "grace", "edsger"][..1 + number % 3]);
        let mut entry = NewEntry::new(EntryKind::DATA);
        let weights: Vec<_> = (0..batch.num_rows()).map(|row| 1 - 2 * (row as i64 % 2)).collect();
        entry.add_changes(PEOPLE, &batch, (number % 2 == 0).then_some(weights.as_slice())).unwrap();
        entries.push((entry.with_attributes(attributes(number)), Some(batch)));
    }
    let many = people(&vec!["many"; 200]);
    let mut entry = NewEntry::new(EntryKind::DATA);
    entry.add_batch(PEOPLE, &many).unwrap();
    entries.push((entry, Some(many)));
    entries.push((text_entry("CREATE TABLE t (id BIGINT)"), None));
    let mut large = NewEntry::new(EntryKind::REQUEST);
    large.add_bytes(1, &vec![b'x'; 1_060_000]).unwrap();
    entries.push((large, None));
    entries
}

fn attributes(number: usize) -> Attributes {
    Attributes {
        request_id: Some(format!("request {number}")),
        origin: Some("shop:0/16B3748".to_string()),
        cause: Cause::from([("main".to_string(), Offset(number as u64))]),
        deriving: Some(Deriving { dataset: 5, version: 2 }),
        digest: Some([number as u8; 32]),
        ..Attributes::default()
    }
}

#[test]
#[ignore = "writes the golden directory of a new format version"]
fn make_the_golden_log() {
    let _ = std::fs::remove_dir_all(golden());
    let log = Log::open(golden(), small_options()).unwrap();
    for (entry, _) in entries() {
        log.main().append(entry).wait().unwrap();
    }
    log.main().trim(TrimPolicy { before: Some(Offset(15)), ..TrimPolicy::default() }).wait().unwrap();
    let root = log.main().root_now().unwrap();
    drop(log);
    std::fs::write(golden().join("root.txt"), root.to_hex()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_log_of_version_1_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden(), folder.path());
    let log = Log::open(folder.path(), small_options()).unwrap();
    let main = log.main();
    assert!(main.start() > Offset(0), "it was trimmed");
    let written = entries();
    let read: Vec<_> = main.read_from(main.start()).unwrap().map(Result::unwrap).collect();
    let read: Vec<_> = read.iter().filter(|entry| entry.header().kind != EntryKind::SCHEMA).collect();
    let written = &written[written.len() - read.len()..];
    for (entry, (new, batch)) in read.into_iter().zip(written) {
        assert_eq!((entry.header().kind, entry.header().record_count), (new.kind(), new.record_count()));
        assert_eq!(&entry.header().attributes, new.attributes());
        let part = entry.parts().next().unwrap().unwrap();
        match batch {
            Some(batch) => assert_eq!(&part.to_batch(&entry.schema(PEOPLE).unwrap(), None).unwrap(), batch),
            None => assert_eq!(part.encoding, Encoding::BYTES),
        }
    }
    let root = main.root_now().unwrap();
    assert_eq!(root.to_hex(), std::fs::read_to_string(golden().join("root.txt")).unwrap());
    assert!(main.verify(Some(root)).is_good());
}
