//! Where the programs are that tests start, and what to say when one is missing.

use std::path::PathBuf;

/// What to run when a program is missing.
pub(crate) const INSTALL: &str = "run scripts/install-test-tools";

/// The folder that `scripts/install-test-tools` fills: `POLDER_TOOLS`, else `~/.cache/polder/tools`.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("POLDER_TOOLS").map_or_else(|| cache().join("tools"), PathBuf::from)
}

/// What survives between runs: `~/.cache/polder`.
pub(crate) fn cache() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/polder")
}
