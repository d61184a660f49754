//! What Polder's SQL does, as files: one trial for each `.slt` and each way to reach an engine.
//!
//! A new file needs no recompile. `scripts/test --test sql -- --complete [NAME]` fills in the expected output; read
//! the diff. The format is sqllogictest's; columns are separated by tabs, NULL is `NULL`, the empty string `(empty)`.
//!
//! Each file has a place of its own, named by variables that are made when the file first mentions them: `$DATABASE`
//! with its `$POSTGRES_URL`, `$BUCKET` on `$S3_ENDPOINT` (`$S3_KEY`, `$S3_SECRET`), `$LAKE`, an empty folder. In
//! results the values turn back into their names. A statement that begins with `-- at postgres` or `-- at duckdb` is
//! run there: that is how a file makes its data.

mod client;
mod place;
mod reference;
mod render;
mod script;
mod tpch;

use client::Kind;
use libtest_mimic::{Arguments, Trial};
use std::path::{Path, PathBuf};

fn main() -> std::process::ExitCode {
    let (complete, arguments): (Vec<_>, Vec<_>) = std::env::args().partition(|argument| argument == "--complete");
    let arguments = Arguments::from_iter(arguments);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let mut trials = tpch::trials(&folder);
    trials.extend(reference::trials());
    for file in files_below(&folder) {
        let name = file.strip_prefix(&folder).expect("the file is below the folder").with_extension("");
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.runs(&name.display().to_string()));
        // What a file expects is what the engine says; the wire must bring the same.
        let kinds = kinds.filter(|kind| complete.is_empty() || *kind == Kind::Embedded);
        trials.extend(kinds.map(|kind| script_trial(&name, &file, kind, !complete.is_empty())));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// `embedded::select/literals`.
fn script_trial(name: &Path, file: &Path, kind: Kind, complete: bool) -> Trial {
    let name = format!("{}::{}", kind.name(), name.display());
    let file = file.to_path_buf();
    Trial::test(name, move || if complete { script::complete(&file, kind) } else { script::run(&file, kind) })
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("list the folder of SQL tests") {
        let path = entry.expect("list the folder of SQL tests").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
    files.sort();
    files
}
