//! What was typed, kept between shells: one file under XDG's state directory that only its owner can read.

use crate::repl::LineEditor;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(super) const ENTRIES_MAX: usize = 10_000;

const OWNER_ONLY_FILE: u32 = 0o600;
const OWNER_ONLY_DIRECTORY: u32 = 0o700;

/// Takes up the history of earlier shells; a shell without history is no error.
pub(super) fn load(editor: &mut LineEditor) {
    let Some(path) = path().filter(|path| path.exists()) else { return };
    if let Err(error) = editor.load_history(&path) {
        tracing::warn!(path = %path.display(), %error, "read history");
    }
}

/// Adds what was typed in this shell.
pub(super) fn save(editor: &mut LineEditor) {
    let Some(path) = path() else { return };
    let saved = create(&path).map_err(Into::into).and_then(|()| editor.append_history(&path));
    if let Err(error) = saved {
        tracing::warn!(path = %path.display(), %error, "write history");
    }
}

/// `$POLDER_HISTORY`, or `polder/history` under `$XDG_STATE_HOME` or `~/.local/state`.
fn path() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given("POLDER_HISTORY").or_else(|| {
        let state = given("XDG_STATE_HOME").or_else(|| given("HOME").map(|home| home.join(".local/state")));
        state.map(|state| state.join("polder/history"))
    })
}

/// Makes the file before anything is written to it, so that it is never readable by others.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(OWNER_ONLY_DIRECTORY).create(directory)?;
    }
    let file = fs::OpenOptions::new().append(true).create(true).mode(OWNER_ONLY_FILE).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(OWNER_ONLY_FILE))
}
