//! Damage is named, a torn tail is cut, and neither is taken for the other. Fault F3 of the catalogue.

use super::*;
use std::path::PathBuf;

/// A closed log of several segments, with all kinds of files.
fn closed_log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 63);
    log.main().trim(TrimPolicy { before: Some(Offset(20)), ..TrimPolicy::default() }).wait().unwrap();
    folder
}

fn files(folder: &tempfile::TempDir, ending: &str) -> Vec<PathBuf> {
    let main = folder.path().join("main");
    let mut files: Vec<_> = std::fs::read_dir(main).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(ending));
    files.sort();
    files
}

fn one_of_each_kind(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let sealed = files(folder, ".seg").remove(0);
    let last = [".seg", ".idx", "mark", "tree", "trimmed"].map(|ending| files(folder, ending).pop().unwrap());
    std::iter::once(sealed).chain(last).collect()
}

/// What all entries of the log say, or the first error.
fn contents(folder: &Path) -> Result<Vec<Bytes>> {
    let log = Log::open(folder, small_options())?;
    let main = log.main();
    let mut contents = Vec::new();
    for entry in main.read_from(main.start())? {
        for part in entry?.parts() {
            contents.push(part?.payload);
        }
    }
    Ok(contents)
}

/// Whatever bit of whatever file is flipped: either all that was acknowledged is read, or an error names the damage.
#[test]
fn a_flipped_bit_is_an_error_or_makes_no_difference() {
    let folder = closed_log();
    let whole = contents(folder.path()).unwrap();
    for path in one_of_each_kind(&folder) {
        let content = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let derived = ["mark", "tree", ".idx"].iter().any(|derived| name.ends_with(derived));
        for place in 0..32 {
            let position = content.len() * place / 32;
            let mut flipped = content.clone();
            flipped[position] ^= 1 << (place % 8);
            std::fs::write(&path, &flipped).unwrap();
            let report = Log::inspect(folder.path(), small_options()).verify("main", None);
            let padding = name == "tree" && position < 128;
            assert!(!report.is_good() || padding, "{name}, byte {position} of {}", content.len());
            match contents(folder.path()) {
                Ok(read) => assert_eq!(read, whole, "{name}, byte {position}"),
                Err(error) => {
                    assert!(!derived, "{name}, byte {position}: {error}");
                    assert_eq!(error.kind(), Kind::Repair, "{error}");
                }
            }
            std::fs::write(&path, &content).unwrap();
        }
        // Opening may have mended what is derived; the next file starts from the same state.
        contents(folder.path()).unwrap();
    }
}

#[test]
fn a_cut_file_is_an_error_or_makes_no_difference() {
    let folder = closed_log();
    let whole = contents(folder.path()).unwrap();
    for path in one_of_each_kind(&folder) {
        let content = std::fs::read(&path).unwrap();
        for place in 0..16 {
            std::fs::write(&path, &content[..content.len() * place / 16]).unwrap();
            match contents(folder.path()) {
                Ok(read) => assert_eq!(read, whole),
                Err(error) => assert_eq!(error.kind(), Kind::Repair, "{error}"),
            }
            std::fs::write(&path, &content).unwrap();
        }
    }
}

#[test]
fn damage_names_shard_file_byte_entry_and_offset() {
    let folder = closed_log();
    let last = files(&folder, ".seg").pop().unwrap();
    let mut content = std::fs::read(&last).unwrap();
    let middle = content.len() - 60;
    content[middle] ^= 4;
    std::fs::write(&last, content).unwrap();
    let error = Log::open(folder.path(), small_options()).err().unwrap();
    let damage = error.damage().unwrap();
    assert_eq!((damage.shard.as_str(), damage.file.as_str()), ("main", last.file_name().unwrap().to_str().unwrap()));
    assert_eq!(damage.offset, Offset(62));
    assert!(error.hint().is_some());
}

#[test]
fn a_torn_tail_is_cut_and_the_next_append_follows() {
    let folder = closed_log();
    let last = files(&folder, ".seg").pop().unwrap();
    let whole = contents(folder.path()).unwrap();
    let mut content = std::fs::read(&last).unwrap();
    let length = content.len();
    content.extend_from_slice(&[7; 100]);
    std::fs::write(&last, content).unwrap();
    assert_eq!(contents(folder.path()).unwrap(), whole);
    assert_eq!(std::fs::metadata(&last).unwrap().len(), length as u64);
}

/// A power failure may leave an old mark. Then a later commit still proves that what is before it was durable.
#[test]
fn a_bad_frame_before_a_whole_commit_is_damage_even_without_the_mark() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    for number in 0..3 {
        log.main().append(text_entry(&number.to_string())).wait().unwrap();
    }
    drop(log);
    let segment = files(&folder, ".seg").pop().unwrap();
    let content = std::fs::read(&segment).unwrap();
    for position in [content.len() - 50, content.len() - 40, content.len() - 5] {
        let mut flipped = content.clone();
        flipped[position] ^= 1;
        std::fs::write(&segment, flipped).unwrap();
        std::fs::write(folder.path().join("main/mark"), b"").unwrap();
        let opened = Log::open(folder.path(), options());
        let is_last = position == content.len() - 5;
        assert_eq!(opened.is_ok(), is_last, "byte {position} of {}", content.len());
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    for ending in [".seg", "mark", "trimmed"] {
        let folder = closed_log();
        let path = files(&folder, ending).pop().unwrap();
        let mut content = std::fs::read(&path).unwrap();
        content[8] = 9;
        let length = u32::from_le_bytes(content[12..16].try_into().unwrap()) as usize;
        let check = crc32c::crc32c(&content[..16 + length]).to_le_bytes();
        content[16 + length..20 + length].copy_from_slice(&check);
        std::fs::write(&path, content).unwrap();
        let error = Log::open(folder.path(), small_options()).err().unwrap();
        assert!(error.message().contains("version 9") && error.message().contains("version 1"), "{error}");
    }
}

#[test]
fn a_directory_of_a_newer_format_is_refused() {
    let folder = closed_log();
    let lock = folder.path().join("LOCK");
    let mut content = std::fs::read(&lock).unwrap();
    content[8] = 2;
    let check = crc32c::crc32c(&content[..16]).to_le_bytes();
    content[16..].copy_from_slice(&check);
    std::fs::write(&lock, content).unwrap();
    let error = Log::open(folder.path(), small_options()).err().unwrap();
    assert!(error.message().contains("version 2"), "{error}");
}

#[test]
fn a_missing_segment_is_damage() {
    for which in 0..3 {
        let folder = closed_log();
        let segments = files(&folder, ".seg");
        let victim = [0, 1, segments.len() - 1][which];
        std::fs::remove_file(&segments[victim]).unwrap();
        let error = Log::open(folder.path(), small_options()).err().unwrap();
        assert_eq!(error.kind(), Kind::Repair, "{error}");
    }
}

#[test]
fn a_log_in_use_can_be_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 60);
    let inspection = Log::inspect(folder.path(), small_options());
    assert_eq!(inspection.shards().unwrap(), ["main"]);
    let shard = inspection.shard("main").unwrap();
    let summary = shard.summary();
    assert_eq!((summary.records.clone(), summary.segments > 2), (Offset(0)..Offset(60), true));
    assert_eq!(shard.entries(summary.entries.clone()).unwrap().count() as u64, summary.entries.end.0);
    assert_eq!(shard.root().unwrap(), log.main().root_now().unwrap());
    assert!(shard.verify(Some(shard.root().unwrap())).is_good());
}

/// Made anew, it would look like a log in which nothing was ever defined.
#[test]
fn a_lost_main_beside_other_shards_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.create_shard("clicks").unwrap();
    drop(log);
    std::fs::remove_dir_all(folder.path().join("main")).unwrap();
    let error = Log::open(folder.path(), options()).err().unwrap();
    assert_eq!(error.kind(), Kind::Repair, "{error}");
    assert!(error.message().contains("\"main\" is missing beside 1 others: clicks"), "{error}");
    assert!(!folder.path().join("main").exists());
}

/// Who looks into a log sees what is proven to be durable: not the last commit, if the mark does not tell of it.
#[test]
fn an_inspection_ends_where_durability_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("main/mark");
    let seen = || Log::inspect(folder.path(), options()).shard("main").unwrap().summary().entries.end.0;
    let log = open(folder.path());
    log.main().append(text_entry("a")).wait().unwrap();
    let early = std::fs::read(&mark).unwrap();
    log.main().append(text_entry("b")).wait().unwrap();
    assert_eq!(seen(), 2);
    let late = std::fs::read(&mark).unwrap();
    std::fs::write(&mark, &early).unwrap();
    assert_eq!(seen(), 1);
    log.main().append(text_entry("c")).wait().unwrap();
    std::fs::write(&mark, &early).unwrap();
    assert_eq!(seen(), 2);
    std::fs::write(&mark, &late).unwrap();
    assert_eq!(seen(), 2);
    assert_eq!(log.main().end().entries, EntryNumber(3));
}
