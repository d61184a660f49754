//! Where PostgreSQL's programs are, and as whom its server runs.

use crate::tools::INSTALL;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with `postgres`, `initdb` and `psql`.
#[derive(Clone)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// `POLDER_POSTGRES_BIN`, else the newest of Debian's, else what `pg_config` or `PATH` name.
    pub(crate) fn find() -> Self {
        let named = std::env::var_os("POLDER_POSTGRES_BIN").map(PathBuf::from);
        named
            .into_iter()
            .chain(debian())
            .chain(pg_config())
            .chain(path())
            .find(|folder| folder.join("postgres").exists() && folder.join("initdb").exists())
            .map(Self)
            .unwrap_or_else(|| panic!("no PostgreSQL server is installed: {INSTALL} (or: apt-get install postgresql)"))
    }

    pub(crate) fn server(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    /// Debian keeps psql beside the server; others may have it on the path only.
    pub(crate) fn psql(&self) -> PathBuf {
        let beside = self.0.join("psql");
        if beside.exists() { beside } else { PathBuf::from("psql") }
    }

    /// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    pub(crate) fn version(&self) -> String {
        let output = Command::new(self.server("postgres")).arg("--version").output().expect("run postgres --version");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }
}

fn debian() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(major(folder)));
    folders
}

fn major(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|name| name.parse().ok()).unwrap_or(0)
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// What to put before a command line of the server: it refuses to run as root, and Debian's package
/// brings a user `postgres`.
pub(crate) fn as_server_user() -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    let switch = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"];
    switch.map(String::from).to_vec()
}

/// Hands a folder and what is in it to the user who runs the server.
pub(crate) fn give_to_server_user(folder: &Path) {
    if is_root() {
        let status = Command::new("chown").args(["-R", "postgres:postgres"]).arg(folder).status().expect("run chown");
        assert!(status.success(), "chown to the user postgres failed: {INSTALL}");
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("run id");
    output.stdout.trim_ascii() == b"0"
}
