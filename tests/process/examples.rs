//! Every example does what its README shows. The connector in a crate of its own is tested by that crate: `scripts/test` runs it.

use crate::documents::Desk;
use crate::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the README of an example says one types, and what one sees then.
struct Shown {
    typed: String,
    seen: String,
}

fn shown(readme: &Path) -> Shown {
    let text = fs::read_to_string(readme).unwrap_or_else(|error| panic!("read {}: {error}", readme.display()));
    let block = |language: &str| {
        let start = text.split_once(&format!("```{language}\n")).map(|(_, rest)| rest);
        let block = start.and_then(|rest| rest.split_once("```\n")).map(|(block, _)| block.to_string());
        block.unwrap_or_else(|| panic!("{} has no {language} block", readme.display()))
    };
    Shown { typed: block("sh"), seen: block("text") }
}

fn folder(example: &str) -> PathBuf {
    root().join("examples").join(example)
}

/// Those that are a script of their own.
const SCRIPTS: [&str; 7] = ["booking", "claims", "payment", "quickstart", "renaming", "transfer", "undo"];

#[test]
fn every_script_prints_what_its_readme_shows() {
    for example in SCRIPTS {
        let folder = folder(example);
        let shown = shown(&folder.join("README.md"));
        let output = Desk::new().bash(&shown.typed).current_dir(&folder).output().expect("run bash");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert_eq!((String::from_utf8_lossy(&output.stdout).as_ref(), complaints.as_ref()), (shown.seen.as_str(), ""));
        assert!(output.status.success(), "{example}: {}", output.status);
    }
}

/// A folder that is not on the list would not be run by anything.
#[test]
fn every_example_is_run() {
    let folders =
        fs::read_dir(root().join("examples")).expect("list the examples").map(|entry| entry.expect("an entry").path());
    let mut names: Vec<_> =
        folders.filter(|path| path.is_dir()).map(|path| path.file_name().expect("a name").to_owned()).collect();
    names.sort();
    assert_eq!(names, ["booking", "claims", "own-connector", "payment", "quickstart", "renaming", "transfer", "undo"]);
    let script = fs::read_to_string(root().join("scripts/test")).expect("read scripts/test");
    assert!(
        script.contains("cargo test --manifest-path examples/own-connector/Cargo.toml"),
        "scripts/test leaves one out"
    );
}

/// The packages of a lock file, as `name version`.
fn locked(folder: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(folder.join("Cargo.lock")).expect("read a lock file");
    let quoted = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_string());
    let names = text.lines().filter_map(|line| quoted(line, "name = "));
    let versions = text.lines().skip_while(|line| *line != "[[package]]").filter_map(|line| quoted(line, "version = "));
    names.zip(versions).map(|(name, version)| format!("{name} {version}")).collect()
}

/// Arrays and plans cross the border between the crates: two versions of one package would not fit each other.
#[test]
fn the_connector_outside_the_workspace_has_our_versions() {
    let ours = locked(root());
    let theirs = locked(&folder("own-connector"));
    assert!(theirs.len() > 100, "{theirs:?}");
    let others: Vec<_> = theirs.difference(&ours).collect();
    assert_eq!(others, ["polder-pg-dump 0.1.0"], "copy Cargo.lock to examples/own-connector, then run its tests once");
}
