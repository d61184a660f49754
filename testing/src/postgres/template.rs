//! A cluster fresh from `initdb`, kept between runs: a copy takes a tenth of a second, `initdb` two.

use super::binaries::{Binaries, as_server_user, give_to_server_user};
use crate::tools::cache;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const INITDB: [&str; 8] = [
    "--username=polder",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--locale-provider=icu",
    "--icu-locale=en-US",
    "--no-sync",
    "--no-instructions",
];

/// Copies the template to `data`, owned by the user who runs the server.
pub(crate) fn copy(binaries: &Binaries, data: &Path) {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(template(binaries)).arg(data).status();
    assert!(status.expect("run cp").success(), "copy the cluster template to {}", data.display());
    give_to_server_user(data);
}

/// The template's folder, made by the first who needs it. Processes may race: each makes its own, and the
/// first rename wins.
fn template(binaries: &Binaries) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = cache().join("postgres").join(name(binaries));
    if !folder.exists() {
        let made = tempfile::tempdir().expect("make a temporary directory");
        give_to_server_user(made.path());
        initdb(binaries, &made.path().join("data"));
        publish(&made.path().join("data"), &folder);
    }
    folder
}

/// Named after the server's version and the arguments, so that neither can meet a stale template.
fn name(binaries: &Binaries) -> String {
    let mut hasher = DefaultHasher::new();
    (binaries.version(), INITDB).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn initdb(binaries: &Binaries, data: &Path) {
    let mut command = as_server_user();
    command.push(binaries.server("initdb").display().to_string());
    let output =
        Command::new(&command[0]).args(&command[1..]).args(INITDB).arg("-D").arg(data).output().expect("run initdb");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

/// A copy beside the target first: a rename within one file system is whole or not at all.
fn publish(made: &Path, folder: &Path) {
    let beside = folder.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(folder.parent().expect("the cache folder has a parent")).expect("create the cache folder");
    let status = Command::new("cp").arg("-a").arg(made).arg(&beside).status().expect("run cp");
    assert!(status.success(), "copy the cluster template to {}", beside.display());
    if fs::rename(&beside, folder).is_err() {
        assert!(folder.exists(), "publish the cluster template as {}", folder.display());
        let _ = fs::remove_dir_all(&beside);
    }
}
