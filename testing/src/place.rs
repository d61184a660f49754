//! Where servers keep their files while a test runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A cluster is a thousand small files, which memory creates ten times faster than a disk.
const MEMORY: &str = "/dev/shm";

/// Below this, large tests might fill it (containers often get 64 MB): then the ordinary place it is.
const FREE_BYTES_MIN: u64 = 4 << 30;

/// A new empty directory, in memory where there is enough of it.
pub(crate) fn directory(prefix: &str) -> TempDir {
    static PARENT: OnceLock<PathBuf> = OnceLock::new();
    let parent = PARENT.get_or_init(parent);
    tempfile::Builder::new().prefix(prefix).tempdir_in(parent).expect("make a temporary directory")
}

/// A new empty directory where files outlive the machine, unless the ordinary place is in memory itself.
pub(crate) fn on_disk(prefix: &str) -> TempDir {
    tempfile::Builder::new().prefix(prefix).tempdir().expect("make a temporary directory")
}

fn parent() -> PathBuf {
    let memory = Path::new(MEMORY);
    let roomy = free_bytes(memory).is_some_and(|bytes| bytes >= FREE_BYTES_MIN);
    if roomy && tempfile::tempdir_in(memory).is_ok() { memory.to_path_buf() } else { std::env::temp_dir() }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(folder).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().nth(1)?.trim().parse().ok()
}
