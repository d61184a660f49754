//! One test for each guarantee of the store, by its name.

use super::*;
use crate::simulation::SimFiles;

/// A log on a disk in memory.
fn on_disk(files: &SimFiles) -> Result<Log> {
    Log::open("/log", LogOptions { files: Arc::new(files.booted()), ..small_options() })
}

fn all(log: &Log) -> Vec<String> {
    texts(log.main().read_from(Offset(0)).unwrap())
}

#[test]
fn an_entry_is_there_whole_or_not_at_all() {
    for calls in 0..40 {
        let files = SimFiles::with_seed(calls);
        let log = on_disk(&files).unwrap();
        log.main().append(text_entry("first")).wait().unwrap();
        files.crash_after(calls);
        let mut entry = NewEntry::new(EntryKind::DATA);
        (0..100).for_each(|number: u32| entry.add_bytes(number.into(), &[number as u8; 100]).unwrap());
        let appended = log.main().append(entry).wait();
        files.crash();
        drop(log);
        let log = on_disk(&files).unwrap();
        let entries: Vec<_> = log.main().read_from(Offset(0)).unwrap().map(Result::unwrap).collect();
        assert!(entries.len() == 2 || appended.is_err() && entries.len() == 1);
        for entry in &entries[1..] {
            assert_eq!(entry.parts().map(Result::unwrap).filter(|part| part.payload.len() == 100).count(), 100);
        }
    }
}

#[test]
fn what_is_acknowledged_is_durable() {
    for seed in 0..20 {
        let files = SimFiles::with_seed(seed);
        let log = on_disk(&files).unwrap();
        log.main().append(text_entry("kept")).wait().unwrap();
        files.crash();
        drop(log);
        assert_eq!(all(&on_disk(&files).unwrap()), ["kept"]);
    }
}

#[test]
fn all_readers_see_one_order_and_dense_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let main = log.main();
            scope.spawn(move || {
                for number in 0..50 {
                    main.append(text_entry(&format!("{thread}.{number}"))).wait().unwrap();
                }
            });
        }
    });
    let entries: Vec<_> = log.main().read_from(Offset(0)).unwrap().map(Result::unwrap).collect();
    let offsets: Vec<_> = entries.iter().map(|entry| entry.header().first_offset.0).collect();
    assert_eq!(offsets, (0..200).collect::<Vec<_>>());
    assert!(entries.windows(2).all(|pair| pair[0].header().commit_time <= pair[1].header().commit_time));
    assert_eq!(all(&log), all(&log));
}

#[test]
fn recovery_keeps_a_prefix() {
    for seed in 0..100 {
        let files = SimFiles::with_seed(seed);
        let log = on_disk(&files).unwrap();
        files.crash_after(seed % 25);
        let pending: Vec<_> = (0..20).map(|number| log.main().append(text_entry(&format!("{number}")))).collect();
        let acknowledged = pending.into_iter().map(Pending::wait).take_while(Result::is_ok).count();
        files.crash();
        drop(log);
        let found = all(&on_disk(&files).unwrap());
        assert!(found.len() >= acknowledged);
        assert_eq!(found, (0..found.len()).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn nothing_acknowledged_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.main().append(text_entry("acknowledged")).wait().unwrap();
    drop(log);
    let segment = folder.path().join("main").join(format!("{:020}-{:020}.seg", 0, 0));
    let content = std::fs::read(&segment).unwrap();
    for length in 0..content.len() {
        std::fs::write(&segment, &content[..length]).unwrap();
        let error = Log::open(folder.path(), options()).err().unwrap();
        assert_eq!(error.kind(), Kind::Repair, "{error}");
        assert_eq!(std::fs::metadata(&segment).unwrap().len(), length as u64);
    }
}

#[test]
fn one_process_writes_a_log() {
    let files = SimFiles::with_seed(1);
    let log = on_disk(&files).unwrap();
    assert!(on_disk(&files).is_err());
    drop(log);
    assert!(on_disk(&files).is_ok());
}

#[test]
fn a_reader_sees_a_prefix_that_does_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.main().append(text_entry("a")).wait().unwrap();
    let reader = log.main().read_from(Offset(0)).unwrap();
    log.main().append(text_entry("b")).wait().unwrap();
    assert_eq!(texts(reader), ["a"]);
    assert_eq!(all(&log), ["a", "b"]);
}

#[test]
fn the_watch_tells_each_durable_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut watch = log.main().end_watch();
    watch.borrow_and_update();
    let appended = log.main().append(text_entry("a")).wait().unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(watch.borrow_and_update().offset, appended.end_offset());
}

#[test]
fn a_poisoned_shard_stays_poisoned_and_goes_on_being_read() {
    let files = SimFiles::with_seed(3);
    let log = on_disk(&files).unwrap();
    log.main().append(text_entry("before")).wait().unwrap();
    files.set_syncs_fail(true);
    let error = log.main().append(text_entry("unknown")).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Reopen, "{error}");
    assert!(error.hint().unwrap().contains("open the log anew"));
    files.set_syncs_fail(false);
    assert_eq!(log.main().append(text_entry("after")).wait().unwrap_err().kind(), Kind::Reopen);
    assert!(log.main().trim(TrimPolicy::default()).wait().is_err());
    assert_eq!(all(&log), ["before"]);
    drop(log);
    let log = on_disk(&files).unwrap();
    log.main().append(text_entry("mended")).wait().unwrap();
    assert_eq!(all(&log).last().unwrap(), "mended");
}

/// The kernel calls pages clean whose sync has failed: they look written, and no later sync writes them.
#[test]
fn what_recovery_shows_is_durable_even_after_a_failed_sync() {
    for seed in 0..100 {
        let files = SimFiles::with_seed(seed);
        let log = on_disk(&files).unwrap();
        files.set_syncs_fail(true);
        assert!(log.main().append(text_entry("unknown")).wait().is_err());
        files.set_syncs_fail(false);
        drop(log);
        let shown = all(&on_disk(&files).unwrap());
        files.crash();
        assert_eq!(all(&on_disk(&files).unwrap()), shown);
    }
}

#[test]
fn an_append_that_failed_for_want_of_space_is_never_seen() {
    let files = SimFiles::with_seed(4);
    let log = on_disk(&files).unwrap();
    log.main().append(text_entry("before")).wait().unwrap();
    files.set_free(Some(10));
    let error = log.main().append(text_entry("failed")).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    files.set_free(None);
    log.main().append(text_entry("after")).wait().unwrap();
    assert_eq!(all(&log), ["before", "after"]);
    files.crash();
    drop(log);
    assert_eq!(all(&on_disk(&files).unwrap()), ["before", "after"]);
}

#[test]
fn time_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let time = AtomicI64::new(100);
    let clock = move || CommitTime(time.fetch_sub(10, Ordering::Relaxed));
    let log = Log::open(folder.path(), LogOptions { clock: Arc::new(clock), ..options() }).unwrap();
    let times: Vec<_> = (0..3).map(|_| log.main().append(text_entry("a")).wait().unwrap().commit_time.0).collect();
    assert_eq!(times, [100, 100, 100]);
}

#[test]
fn dropping_the_answer_does_not_take_the_append_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    drop(log.main().append(text_entry("a")));
    log.main().append(text_entry("b")).wait().unwrap();
    assert_eq!(all(&log), ["a", "b"]);
}

#[test]
fn closing_answers_what_waits_and_refuses_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let main = log.main();
    let pending: Vec<_> = (0..50).map(|_| main.append(text_entry("a"))).collect();
    log.close();
    assert!(pending.into_iter().all(|pending| pending.wait().is_ok()));
    assert_eq!(main.append(text_entry("late")).wait().unwrap_err().kind(), Kind::Reopen);
}

#[test]
fn appends_from_async_code_need_no_runtime_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), LogOptions { queue_bytes: 4 << 10, ..options() }).unwrap();
    let main = log.main();
    pending::block_on(async {
        for _ in 0..20 {
            // Each takes the whole queue, so every append waits for room.
            let mut entry = NewEntry::new(EntryKind::DATA);
            entry.add_bytes(1, &[1; 10_000]).unwrap();
            main.append_async(entry).await.await.unwrap();
        }
    });
    assert_eq!(main.end().offset, Offset(20));
}

#[test]
fn an_entry_without_records_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    assert_eq!(log.main().append(NewEntry::new(EntryKind::DATA)).wait().unwrap_err().kind(), Kind::Fix);
}

/// A commit that is too long for memory has been written in part when the disk is full. If that cannot be taken back,
/// nobody may be told that nothing of it is in the log.
#[test]
fn a_full_disk_that_refuses_the_cut_as_well_leaves_the_outcome_unknown() {
    let files = SimFiles::with_seed(5);
    let log = on_disk(&files).unwrap();
    let mut large = NewEntry::new(EntryKind::DATA);
    large.add_bytes(1, &vec![7; 6 << 20]).unwrap();
    files.set_free(Some(1 << 20));
    files.set_syncs_fail(true);
    assert_eq!(log.main().append(large).wait().unwrap_err().kind(), Kind::Reopen);
}

/// The tree is derived: for want of space it stays in memory, and nothing that was acknowledged suffers. Sealing a segment
/// needs it on the disk, so that is tried again.
#[test]
fn a_full_disk_does_not_poison_a_shard_whose_tree_it_cannot_take() {
    let files = SimFiles::with_seed(6);
    let options = || LogOptions { files: Arc::new(files.booted()), ..small_options() };
    let log = Log::open("/log", options()).unwrap();
    let bytes = || Log::inspect("/log", options()).shard("main").unwrap().summary().bytes;
    let mut lengths = Vec::new();
    for text in ["one", "two"] {
        log.main().append(text_entry(text)).wait().unwrap();
        lengths.push(bytes());
    }
    // It fills the segment, and leaves less than a node of the tree takes.
    let full = "x".repeat(1_100);
    files.set_free(Some(lengths[1] - lengths[0] + full.len() as u64 + 8));
    log.main().append(text_entry(&full)).wait().unwrap();
    assert_eq!(log.main().append(text_entry("ten")).wait().unwrap_err().kind(), Kind::Retry);
    files.set_free(None);
    log.main().append(text_entry("end")).wait().unwrap();
    assert_eq!(all(&log), ["one", "two", &full, "end"]);
    let root = log.main().root_now().unwrap();
    drop(log);
    let report = Log::open("/log", options()).unwrap().main().verify(Some(root));
    assert!(report.is_good(), "{report:?}");
}
