//! What is deployed with Polder, by the tools that will read it.

use crate::operation::known_metrics;
use crate::program::command;
use crate::{polder, root};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(file)).unwrap_or_else(|error| panic!("read {file}: {error}"))
}

fn succeeds(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root().join("deploy")).output();
    let output =
        output.unwrap_or_else(|error| panic!("run {program} ({error}): scripts/install-test-tools installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

/// The rules are rules, and each of them is quiet when all is well and speaks when it is not.
#[test]
fn alerts_are_those_that_are_tested() {
    succeeds("promtool", &["check", "rules", "alerts.yml"]);
    succeeds("promtool", &["check", "config", "prometheus.yml"]);
    succeeds("promtool", &["test", "rules", "alerts_test.yml"]);
    let names = |file: &str, key: &str| -> BTreeSet<String> {
        let text = read(file);
        let names = text.split(key).skip(1).filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next());
        names.map(str::to_string).collect()
    };
    assert_eq!(names("alerts.yml", "alert: "), names("alerts_test.yml", "alertname: "), "each alert has a test");
}

/// The dashboard and the alerts speak of metrics that there are, and the dashboard of all of them.
#[test]
fn every_metric_that_is_drawn_or_watched_exists() {
    let known = known_metrics();
    let unknown = |names: &BTreeSet<String>| names.difference(&known).cloned().collect::<Vec<_>>();
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let drawn = metrics_in(&dashboard.to_string());
    assert!(unknown(&drawn).is_empty(), "{:?}", unknown(&drawn));
    assert_eq!(known.difference(&drawn).collect::<Vec<_>>(), Vec::<&String>::new(), "metrics that nobody draws");
    for file in ["alerts.yml", "alerts_test.yml"] {
        let watched = metrics_in(&read(file));
        assert!(!watched.is_empty() && unknown(&watched).is_empty(), "{file}: {:?}", unknown(&watched));
    }
}

/// Names of metrics, histograms without the endings of their series.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("polder_"));
    let endings = ["_bucket", "_sum", "_count"];
    words.map(|word| endings.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word).to_string()).collect()
}

/// systemd reads the unit without a complaint, and finds little that it could do.
#[test]
fn the_unit_is_one_and_is_hardened() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = read("polder.service");
    // Nothing is installed here: the program under test takes the place of the one that the unit names.
    assert!(unit.contains("ExecStart=/usr/bin/polder serve "), "{unit}");
    let file = folder.path().join("polder.service");
    let here = unit.replace("/usr/bin/polder ", &format!("{} ", polder().display()));
    std::fs::write(&file, here).expect("write the unit");
    let file = file.to_str().expect("a path of UTF-8");
    let said = succeeds("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", file]);
    assert!(!said.contains("polder.service"), "{said}");
    // Out of 100, where a unit without any of this has 96.
    succeeds("systemd-analyze", &["security", "--offline=true", "--threshold=20", file]);
}

/// What the unit and the image start is what the program takes.
#[test]
fn what_is_started_is_understood() {
    let unit = read("polder.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/polder ")).expect("a command");
    let image = read("Dockerfile");
    let image = image.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    let image: Vec<String> = serde_json::from_str(image).expect("a list");
    for arguments in [start.split(' ').map(str::to_string).collect(), image] {
        let mut arguments = arguments;
        // The arguments are read before this one ends the program.
        arguments.push("--help".to_string());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = command(&arguments).output().expect("run polder");
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// The image is built by the compiler that the project names, of files that are there, and runs as nobody in particular.
#[test]
fn the_image_follows_the_project() {
    let image = read("Dockerfile");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("read Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).expect("a rust-version");
    let version = version.trim_end_matches('"');
    assert!(image.contains(&format!("FROM rust:{version}-slim-bookworm AS build\n")), "{image}");
    let last = image.rsplit("\nFROM ").next().expect("a last stage");
    assert!(last.contains("\nUSER 10001:10001\n"), "it must not run as root");
    assert!(last.contains("\nCOPY --from=build /src/target/release/polder "), "{last}");
    let ignored = std::fs::read_to_string(root().join(".dockerignore")).expect("read .dockerignore");
    assert!(ignored.lines().all(|line| !Path::new("src").starts_with(line)), "{ignored}");
}
