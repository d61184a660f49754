//! Rules that a machine can check of the source tree.

use crate::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file of the checkout, committed or about to be.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("run git");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> = list.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect();
    assert!(files.len() > 50, "this is a checkout of Polder");
    files
}

fn with_extension(extension: &str) -> Vec<PathBuf> {
    files().into_iter().filter(|file| file.extension().is_some_and(|found| found == extension)).collect()
}

/// Every Markdown file, by its path in the checkout.
pub(crate) fn documents() -> Vec<PathBuf> {
    with_extension("md")
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_default()
}

fn assert_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// A module says what it is for before it says how. Tests speak by their names.
#[test]
fn every_module_says_what_it_is_for() {
    let is_test = |file: &PathBuf| {
        file.components().skip(1).any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
    };
    let silent = with_extension("rs").into_iter().filter(|file| !is_test(file) && !read(file).starts_with("//! "));
    assert_none("modules without documentation", silent.map(|file| file.display().to_string()).collect());
}

/// What each module of `src` may use. `sql` is pure; `plan` knows nothing of execution; the command line and the shell
/// see an engine and its sessions, as any other client.
const MAY_USE: [(&str, &[&str]); 35] = [
    ("main", &[]),
    ("access", &[]),
    ("locations", &["connectors"]),
    ("cli", &["client", "commit", "config", "demo", "engine", "render", "repl", "server", "session", "sql"]),
    ("demo", &["cli", "client", "engine", "render", "repl", "session", "sql"]),
    ("repl", &["cli", "client", "render", "sql"]),
    ("client", &["session"]),
    ("server", &["access", "activity", "engine", "metrics", "render", "session", "sql"]),
    ("render", &[]),
    ("session", &["activity", "config", "definitions", "engine", "execute", "memory", "requests", "sql"]),
    ("sql", &["access"]),
    (
        "execute",
        &[
            "access",
            "activity",
            "catalogs",
            "commit",
            "definitions",
            "effects",
            "engine",
            "follow",
            "histogram",
            "home",
            "plan",
            "requests",
            "run",
            "session",
            "sources",
            "sql",
        ],
    ),
    ("activity", &["env", "histogram", "session", "sql"]),
    ("histogram", &[]),
    ("memory", &[]),
    ("metrics", &["activity", "engine", "follow", "histogram", "home", "sources"]),
    ("plan", &["catalogs", "config", "engine", "session", "sql"]),
    (
        "engine",
        &[
            "access",
            "activity",
            "catalogs",
            "checkpoint",
            "commit",
            "config",
            "connectors",
            "definitions",
            "effects",
            "env",
            "follow",
            "locations",
            "past",
            "plan",
            "requests",
            "retain",
            "run",
            "session",
        ],
    ),
    ("catalogs", &["definitions", "sources", "sql"]),
    ("sources", &["env", "histogram"]),
    ("follow", &["catalogs", "commit", "definitions", "effects", "epoch", "requests"]),
    ("run", &["commit", "effects", "engine", "execute"]),
    ("retain", &["engine"]),
    ("checkpoint", &["commit", "effects", "engine", "follow", "home", "requests"]),
    ("commit", &["definitions", "effects", "epoch", "home", "requests"]),
    ("effects", &["home", "requests", "sql"]),
    ("epoch", &["home"]),
    ("home", &[]),
    ("definitions", &["commit", "requests", "sql"]),
    ("requests", &[]),
    ("past", &[]),
    ("config", &["requests"]),
    ("connectors", &[]),
    ("env", &[]),
    ("reference", &["config", "execute", "metrics", "session"]),
];

/// Inside `src`, one module uses another only in the directions that ARCHITECTURE.md draws.
#[test]
fn modules_use_each_other_in_one_direction() {
    let mut wrong = Vec::new();
    for file in with_extension("rs").into_iter().filter(|file| file.starts_with("src")) {
        let module =
            file.iter().nth(1).and_then(|part| part.to_str()).unwrap_or_default().trim_end_matches(".rs").to_string();
        if module == "lib" {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module);
        let Some((_, allowed)) = allowed else {
            wrong.push(format!("{}: module {module} is not in the list of tidy.rs", file.display()));
            continue;
        };
        for used in used_modules(&read(&file)) {
            if used != module && !allowed.contains(&used.as_str()) && MAY_USE.iter().any(|(name, _)| *name == used) {
                wrong.push(format!("{}: {module} uses {used}", file.display()));
            }
        }
    }
    assert_none("uses against the direction", wrong);
}

/// The words after `crate::` and inside `crate::{...}`.
fn used_modules(source: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for part in source.split("crate::").skip(1) {
        let list = match part.strip_prefix('{') {
            Some(rest) => rest.split_once('}').map_or(rest, |(inside, _)| inside),
            None => part.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default(),
        };
        let names = list.split(',').map(|name| name.trim().split("::").next().unwrap_or_default().to_string());
        modules.extend(names);
    }
    modules
}

/// A path of one machine means nothing on another.
#[test]
fn no_file_names_a_path_of_one_machine() {
    let prefixes = ["root", "home", "work", "Users"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for file in files().into_iter().filter(|file| !file.ends_with("Cargo.lock") && !file.ends_with("LICENSE")) {
        for (at, line) in read(&file).lines().enumerate() {
            if prefixes.iter().any(|prefix| has_path(line, prefix)) {
                found.push(format!("{}:{}: {}", file.display(), at + 1, line.trim()));
            }
        }
    }
    assert_none("paths of one machine", found);
}

/// Whether the prefix begins a path there, rather than going on with one (`$HOME/work/`).
fn has_path(line: &str, prefix: &str) -> bool {
    line.match_indices(prefix).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-~}>)/:".contains(c)))
    })
}

/// A reader who follows a link arrives.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let folder = document.parent().unwrap_or(Path::new(""));
        for target in links(&read(&document)) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !root().join(folder).join(path).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert_none("links to nowhere", broken);
}

/// The targets of `[text](target)`, but those inside code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        if in_block {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        links.extend(prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_string())));
    }
    links
}

/// The map is true: a file that ARCHITECTURE.md names exists, there or below some folder.
#[test]
fn files_that_the_architecture_names_exist() {
    let text = read(Path::new("ARCHITECTURE.md"));
    let files = files();
    let is_file = |name: &&str| {
        name.contains('/')
            && [".rs", ".md", ".slt", ".toml"].iter().any(|end| name.ends_with(end))
            && !name.contains('*')
    };
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_file).collect();
    assert!(!names.is_empty(), "ARCHITECTURE.md names files");
    let missing = names.into_iter().filter(|name| !files.iter().any(|file| file.ends_with(name)));
    assert_none("files that ARCHITECTURE.md names and that are not there", missing.map(String::from).collect());
}
