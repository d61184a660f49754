//! What is appended is read, in order, also after the log was opened anew.

use super::*;
use arrow_array::Array;

#[test]
fn what_is_appended_is_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let pending: Vec<_> = ["a", "b", "c"].map(text_entry).into_iter().map(|entry| log.main().append(entry)).collect();
    let offsets: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap().first_offset.0).collect();
    assert_eq!(offsets, [0, 1, 2]);
    assert_eq!(texts(log.main().read_from(Offset(0)).unwrap()), ["a", "b", "c"]);
    assert_eq!(texts(log.main().read(Offset(1)..Offset(2)).unwrap()), ["b"]);
}

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = open(folder.path());
        assert_eq!(log.main().end().offset, Offset(round));
        log.main().append(text_entry(&round.to_string())).wait().unwrap();
    }
    assert_eq!(texts(open(folder.path()).main().read_from(Offset(0)).unwrap()), ["0", "1", "2"]);
}

#[test]
fn rows_come_back_with_their_schema_and_weights() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let rows = people(&["ada", "grace"]);
    let mut entry = NewEntry::new(EntryKind::DATA);
    entry.add_changes(PEOPLE, &rows, Some(&[1, -1])).unwrap();
    let appended = log.main().append(entry).wait().unwrap();
    assert_eq!((appended.entry, appended.first_offset, appended.record_count), (EntryNumber(1), Offset(0), 2));
    drop(log);
    let log = open(folder.path());
    let entry = log.main().read_from(Offset(0)).unwrap().last().unwrap().unwrap();
    let part = entry.parts().next().unwrap().unwrap();
    assert_eq!(part.weights, Some(vec![1, -1]));
    assert_eq!(part.to_batch(&entry.schema(PEOPLE).unwrap(), None).unwrap(), rows);
}

#[test]
fn attributes_come_back_and_unknown_ones_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let attributes = Attributes {
        request_id: Some("r-1".to_string()),
        origin: Some("shop:0/16B3748".to_string()),
        cause: Cause::from([("main".to_string(), Offset(3)), ("clicks.0".to_string(), Offset(9))]),
        deriving: Some(Deriving { dataset: 5, version: 2 }),
        digest: Some([7; 32]),
        user: Some("ada".to_string()),
        outcome: Some("INSERT 0 1".to_string()),
        unknown: vec![(99, Bytes::from_static(b"later"))],
    };
    log.main().append(text_entry("a").with_attributes(attributes.clone())).wait().unwrap();
    let entry = log.main().read_from(Offset(0)).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.header().attributes, attributes);
}

#[test]
fn a_second_log_in_one_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _log = open(folder.path());
    let error = Log::open(folder.path(), options()).err().unwrap();
    assert_eq!(error.kind(), Kind::Fix);
    assert!(error.message().contains("in use"), "{error}");
}

#[test]
fn segments_roll_and_every_offset_entry_and_time_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    for number in 0..300 {
        log.main().append(people_entry(&[&format!("{number:0>40}")])).wait().unwrap();
    }
    drop(log);
    let log = Log::open(folder.path(), small_options()).unwrap();
    let main = log.main();
    assert!(std::fs::read_dir(folder.path().join("main")).unwrap().count() > 10);
    for offset in 0..300 {
        let mut entries = main.read_from(Offset(offset)).unwrap();
        let entry = entries.find(|entry| entry.as_ref().unwrap().header().kind == EntryKind::DATA).unwrap().unwrap();
        assert_eq!(entry.header().first_offset, Offset(offset));
        assert_eq!(main.offset_at(entry.header().commit_time).unwrap(), Offset(offset));
        let number = entry.header().number;
        let again = main.read_entries(number..number + 1).unwrap().next().unwrap().unwrap();
        assert_eq!(again.header(), entry.header());
        entry.parts().next().unwrap().unwrap().to_batch(&entry.schema(PEOPLE).unwrap(), None).unwrap();
    }
}

#[test]
fn a_large_entry_is_spooled_and_read_part_by_part() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut entry = log.main().new_entry(EntryKind::DATA);
    let block = vec![5; 3_000_001];
    (0..10).for_each(|_| entry.add_bytes(1, &block).unwrap());
    log.main().append(text_entry("before")).wait().unwrap();
    log.main().append(entry).wait().unwrap();
    log.main().append(text_entry("after")).wait().unwrap();
    drop(log);
    let log = open(folder.path());
    let entries: Vec<_> = log.main().read_from(Offset(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1].header().record_count, 10);
    assert!(entries[1].parts().all(|part| part.unwrap().payload == block));
    assert_eq!(entries[2].header().first_offset, Offset(11));
}

#[test]
fn a_schema_id_that_means_another_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.main().append(people_entry(&["ada"])).wait().unwrap();
    let other = people(&["grace"]).project(&[0]).unwrap();
    let mut entry = NewEntry::new(EntryKind::DATA);
    entry.add_batch(PEOPLE, &other).unwrap();
    assert_eq!(log.main().append(entry).wait().unwrap_err().kind(), Kind::Fix);
    assert_eq!(log.main().append(people_entry(&["grace"])).wait().unwrap().first_offset, Offset(1));
}

#[test]
fn an_append_decided_under_the_writer_sees_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let main = log.main();
    let decided = main.append_decided(0, |end| Ok(text_entry(&format!("at {}", end.offset))));
    let appended = pending::block_on(async { decided.await.await }).unwrap();
    assert_eq!(appended.first_offset, Offset(0));
    let declined = main.append_decided(0, |_| Err(Error::declined("the key is there already")));
    assert!(pending::block_on(async { declined.await.await }).is_err());
    assert_eq!(texts(main.read_from(Offset(0)).unwrap()), ["at 0"]);
}

#[test]
fn shards_are_made_and_dropped_and_their_names_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    for name in ["clicks", "Clicks", "../x", "ü.0"] {
        log.create_shard(name).unwrap().append(text_entry(name)).wait().unwrap();
    }
    log.drop_shard("clicks").unwrap();
    drop(log);
    let log = open(folder.path());
    let names: Vec<_> = log.shards().iter().map(|shard| shard.name().to_string()).collect();
    assert_eq!(names, ["../x", "Clicks", "main", "ü.0"]);
    assert_eq!(texts(log.shard("../x").unwrap().read_from(Offset(0)).unwrap()), ["../x"]);
}

#[test]
fn who_panics_while_deciding_harms_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let decided = pending::block_on(log.main().append_decided(0, |_| panic!("no idea")));
    assert_eq!(decided.wait().unwrap_err().kind(), Kind::Report);
    log.main().append(text_entry("a")).wait().unwrap();
    assert_eq!(texts(log.main().read_from(Offset(0)).unwrap()), ["a"]);
}

/// Vectors take much room in memory and none in an entry where they are all null.
#[test]
fn many_null_vectors_in_few_rows_come_back() {
    // Of the larger one, a single row is more than what stands for no bytes may take.
    for (size, count) in [(20_000, 100), (100_000_000, 1)] {
        let item = Arc::new(Field::new("item", DataType::Int8, true));
        let rows = arrow_array::FixedSizeListArray::new_null(item, size, count);
        let schema = Schema::new(vec![Field::new("vector", rows.data_type().clone(), true)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(rows)]).unwrap();
        let mut entry = NewEntry::new(EntryKind::DATA);
        entry.add_batch(PEOPLE, &rows).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        log.main().append(entry).wait().unwrap();
        let entry = log.main().read_from(Offset(0)).unwrap().last().unwrap().unwrap();
        let read = entry.parts().map(|part| part.unwrap().to_batch(&entry.schema(PEOPLE).unwrap(), None).unwrap());
        assert_eq!(read.map(|batch| batch.column(0).null_count()).sum::<usize>(), count);
    }
}

/// A long shard is filled with zeros ahead of small commits. They are cut when it is closed, and a crash that leaves them
/// costs nothing.
#[test]
fn zeros_ahead_of_the_writer_are_nobodys_entries() {
    let folder = tempfile::tempdir().unwrap();
    let segment = |folder: &Path| {
        std::fs::read_dir(folder.join("main")).unwrap().find_map(|file| {
            let path = file.unwrap().path();
            path.extension().is_some_and(|ending| ending == "seg").then(|| std::fs::metadata(path).unwrap().len())
        })
    };
    let log = open(folder.path());
    let text = "x".repeat(999);
    for _ in 0..200 {
        log.main().append(text_entry(&text)).wait().unwrap();
    }
    // What follows an append is done when the next command is.
    log.main().trim(TrimPolicy::default()).wait().unwrap();
    let entries = Log::inspect(folder.path(), options()).shard("main").unwrap().summary();
    assert_eq!(entries.entries.end, EntryNumber(200));
    assert!(segment(folder.path()).unwrap() > entries.bytes, "nothing was filled");
    assert!(log.main().verify(None).is_good());
    let crashed = tempfile::tempdir().unwrap();
    std::fs::create_dir(crashed.path().join("main")).unwrap();
    for name in ["LOCK", "main/mark", "main/tree"] {
        std::fs::copy(folder.path().join(name), crashed.path().join(name)).unwrap();
    }
    let name = format!("main/{:020}-{:020}.seg", 0, 0);
    std::fs::copy(folder.path().join(&name), crashed.path().join(&name)).unwrap();
    drop(log);
    assert_eq!(segment(folder.path()), Some(entries.bytes));
    for folder in [folder.path(), crashed.path()] {
        assert!(Log::inspect(folder, options()).verify("main", None).is_good());
        let log = open(folder);
        assert_eq!(log.main().end().entries, EntryNumber(200));
        log.main().append(text_entry("on")).wait().unwrap();
        assert_eq!(texts(log.main().read_from(Offset(200)).unwrap()), ["on"]);
        assert!(log.main().verify(None).is_good());
    }
}
