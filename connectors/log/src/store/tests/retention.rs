//! Trimming removes whole segments, the oldest first, and never what somebody holds.

use super::*;
use crate::simulation::SimFiles;

#[test]
fn trimming_keeps_what_is_held_and_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 300);
    let main = log.main();
    main.hold("checkpoint", Offset(100)).unwrap();
    let report = main.trim(TrimPolicy { before: Some(Offset(300)), ..TrimPolicy::default() }).wait().unwrap();
    assert!(report.segments > 0 && report.start <= Offset(100) && report.start > Offset(50), "{report:?}");
    main.release("checkpoint");
    assert!(main.hold("late", Offset(0)).is_err());
    let error = main.read_from(Offset(0)).err().unwrap();
    assert!(error.message().contains("was trimmed"), "{error}");
    assert_eq!(
        main.read_from(report.start).unwrap().filter(|entry| entry.is_ok()).count() as u64 + report.start_entry.0,
        main.end().entries.0
    );
    drop(log);
    let log = Log::open(folder.path(), small_options()).unwrap();
    assert_eq!(log.main().start(), report.start);
    assert!(log.main().verify(None).is_good(), "{:?}", log.main().verify(None));
}

#[test]
fn trimming_by_size_and_by_age_keeps_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 200);
    let main = log.main();
    main.trim(TrimPolicy { bytes_max: Some(12 << 10), ..TrimPolicy::default() }).wait().unwrap();
    let bytes = Log::inspect(folder.path(), small_options()).shard("main").unwrap().summary().bytes;
    assert!(bytes <= 12 << 10 && bytes > 4 << 10, "{bytes}");
    let now = main.end().time;
    let report = main.trim(TrimPolicy { older_than: Some(now), ..TrimPolicy::default() }).wait().unwrap();
    assert!(report.segments > 0);
    assert!(main.read_from(report.start).unwrap().count() > 0);
}

#[test]
fn a_reader_that_is_overtaken_by_trimming_gets_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 200);
    let mut entries = log.main().read_from(Offset(0)).unwrap();
    entries.next().unwrap().unwrap();
    log.main().trim(TrimPolicy { before: Some(Offset(200)), ..TrimPolicy::default() }).wait().unwrap();
    let error = entries.find_map(Result::err).unwrap();
    assert!(error.message().contains("were trimmed while they were read"), "{error}");
}

#[test]
fn a_trim_that_a_crash_interrupted_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 100);
    let first = folder.path().join("main").join(format!("{:020}-{:020}.seg", 0, 0));
    let content = std::fs::read(&first).unwrap();
    log.main().trim(TrimPolicy { before: Some(Offset(90)), ..TrimPolicy::default() }).wait().unwrap();
    drop(log);
    std::fs::write(&first, content).unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    assert!(!first.exists());
    assert!(log.main().start() > Offset(0));
}

/// The record of what was trimmed is made of Merkle nodes. They are derived, it is not: damaged nodes must not get into
/// it, or the log could not be opened any more.
#[test]
fn a_damaged_tree_does_not_get_into_the_record_of_what_was_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 300);
    let main = log.main();
    let tree = folder.path().join("main/tree");
    for before in [100, 200] {
        let mut nodes = std::fs::read(&tree).unwrap();
        nodes.iter_mut().skip(128).for_each(|byte| *byte = 0xa5);
        std::fs::write(&tree, nodes).unwrap();
        let report = main.trim(TrimPolicy { before: Some(Offset(before)), ..TrimPolicy::default() }).wait().unwrap();
        assert!(report.segments > 0, "{report:?}");
    }
    let (start, end) = (main.start(), main.end());
    drop((main, log));
    let log = Log::open(folder.path(), small_options()).unwrap();
    assert_eq!((log.main().start(), log.main().end().entries), (start, end.entries));
    assert!(log.main().read_from(start).unwrap().all(|entry| entry.is_ok()));
}

#[test]
fn a_log_whose_tree_was_lost_is_trimmed_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 300);
    log.main().trim(TrimPolicy { before: Some(Offset(150)), ..TrimPolicy::default() }).wait().unwrap();
    drop(log);
    std::fs::remove_file(folder.path().join("main/tree")).unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    let report = log.main().trim(TrimPolicy { before: Some(Offset(220)), ..TrimPolicy::default() }).wait().unwrap();
    assert!(report.segments > 0, "{report:?}");
    drop(log);
    let log = Log::open(folder.path(), small_options()).unwrap();
    assert_eq!(log.main().start(), report.start);
}

/// The record has its name, so whoever opens the log goes by it: nobody may be promised what comes before.
#[test]
fn a_trim_whose_sync_fails_has_trimmed_all_the_same() {
    let files = SimFiles::with_seed(11);
    let options = |files: &SimFiles| LogOptions { files: Arc::new(files.booted()), ..small_options() };
    let log = Log::open("/log", options(&files)).unwrap();
    fill(&log, 100);
    let main = log.main();
    // A segment may just be sealed, which syncs the folder as well; this waits for it.
    main.trim(TrimPolicy::default()).wait().unwrap();
    files.set_folder_syncs_fail(true);
    let error = main.trim(TrimPolicy { before: Some(Offset(50)), ..TrimPolicy::default() }).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    files.set_folder_syncs_fail(false);
    let start = main.start();
    assert!(start > Offset(0));
    assert!(main.hold("late", Offset(0)).is_err());
    main.append(text_entry("on")).wait().unwrap();
    let later = main.trim(TrimPolicy { before: Some(Offset(90)), ..TrimPolicy::default() }).wait().unwrap();
    assert!(later.start > start);
    drop((main, log));
    let log = Log::open("/log", options(&files)).unwrap();
    assert_eq!(log.main().start(), later.start);
    assert!(log.main().verify(None).is_good(), "{:?}", log.main().verify(None));
}
