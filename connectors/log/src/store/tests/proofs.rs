//! Roots noted earlier stay provable, also after trimming and after the tree was lost.

use super::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

fn stored(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.stored(|piece| bytes.extend_from_slice(piece)).unwrap();
    bytes
}

#[test]
fn roots_and_proofs_are_those_of_rfc_6962() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 70);
    let main = log.main();
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut roots = vec![main.root(EntryNumber(0)).unwrap()];
    let entries: Vec<_> = main.read_from(Offset(0)).unwrap().map(Result::unwrap).collect();
    for entry in &entries {
        theirs.push(stored(entry));
        let root = main.root(entry.header().number + 1).unwrap();
        assert_eq!(root.hash.as_slice(), theirs.root().as_bytes().as_slice());
        roots.push(root);
    }
    for newer in 0..roots.len() {
        for older in 0..=newer {
            let proof = main.consistency_proof(EntryNumber(older as u64), EntryNumber(newer as u64)).unwrap();
            assert!(proof.verify(&roots[older], &roots[newer]), "{older} {newer}");
            let mut forged = roots[newer];
            forged.hash[0] ^= 1;
            assert!(newer == 0 || !proof.verify(&roots[older], &forged) || older == 0);
        }
    }
    let size = EntryNumber(entries.len() as u64);
    for entry in &entries {
        let proof = main.inclusion_proof(entry.header().number, size).unwrap();
        assert!(proof.verify(&stored(entry), roots.last().unwrap()));
        assert!(!proof.verify(b"something else", roots.last().unwrap()));
    }
}

#[test]
fn a_root_noted_before_trimming_is_consistent_with_every_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 100);
    let noted = log.main().root(EntryNumber(37)).unwrap();
    log.main().trim(TrimPolicy { before: Some(Offset(90)), ..TrimPolicy::default() }).wait().unwrap();
    drop(log);
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 50);
    let main = log.main();
    let now = main.root_now().unwrap();
    assert!(main.consistency_proof(EntryNumber(37), EntryNumber(now.entries)).unwrap().verify(&noted, &now));
    assert_eq!(main.verify(Some(noted)).expectation, Expectation::Met);
    let mut forged = noted;
    forged.hash[3] ^= 1;
    assert_eq!(main.verify(Some(forged)).expectation, Expectation::NotMet);
    assert_eq!(main.verify(None).expectation, Expectation::SelfConsistencyOnly);
}

#[test]
fn a_lost_tree_is_made_anew_and_later_roots_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 100);
    log.main().trim(TrimPolicy { before: Some(Offset(50)), ..TrimPolicy::default() }).wait().unwrap();
    let noted = log.main().root_now().unwrap();
    drop(log);
    std::fs::remove_file(folder.path().join("main/tree")).unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    assert_eq!(log.main().root_now().unwrap(), noted);
    let report = log.main().verify(Some(noted));
    assert_eq!(report.expectation, Expectation::Met);
    // The nodes of trimmed entries are lost for good, and that is said.
    assert_eq!(report.first_damage().unwrap().file, "tree");
    assert!(log.main().inclusion_proof(EntryNumber(3), EntryNumber(noted.entries)).is_err());
}

#[test]
fn what_is_left_of_a_damaged_tree_is_kept_and_the_rest_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    fill(&log, 200);
    log.main().trim(TrimPolicy { before: Some(Offset(100)), ..TrimPolicy::default() }).wait().unwrap();
    let (start, noted) = (log.main().start(), log.main().root_now().unwrap());
    let early = log.main().root(EntryNumber(37)).unwrap();
    let first = log.main().read_from(start).unwrap().next().unwrap().unwrap().header().number;
    let at_start = log.main().root(first).unwrap();
    drop(log);
    let tree = folder.path().join("main/tree");
    let nodes = std::fs::read(&tree).unwrap();
    let leaf = 128 + 32 * (2 * first.0 - u64::from(first.0.count_ones()));
    let mut damaged = nodes.clone();
    damaged[usize::try_from(leaf).unwrap()..].fill(0);
    std::fs::write(&tree, damaged).unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    let size = EntryNumber(noted.entries);
    assert!(log.main().consistency_proof(EntryNumber(37), size).unwrap().verify(&early, &noted));
    assert!(log.main().verify(Some(noted)).is_good());
    drop(log);
    // What was trimmed lives on in its peaks, though the whole file was lost.
    std::fs::remove_file(&tree).unwrap();
    let log = Log::open(folder.path(), small_options()).unwrap();
    assert!(log.main().consistency_proof(first, size).unwrap().verify(&at_start, &noted));
}
