//! The polder program: the one that was named, or the one that cargo builds beside this one.

use crate::Result;
use crate::arguments::Settings;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where it is; built first, if cargo runs us.
pub(crate) fn program(settings: &Settings) -> Result<PathBuf> {
    if let Some(program) = &settings.polder {
        return Ok(program.clone());
    }
    let program = std::env::current_exe()?.with_file_name("polder");
    if let Some(cargo) = std::env::var_os("CARGO") {
        build(Path::new(&cargo), &program)?;
    }
    if program.is_file() { Ok(program) } else { Err(format!("{} is not built", program.display()).into()) }
}

/// Both packages are named, so that cargo chooses the same features and builds no dependency anew.
fn build(cargo: &Path, program: &Path) -> Result<()> {
    let target = program.parent().and_then(Path::parent).ok_or("the program lies in no target directory")?;
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "polder", "--package", "polder-benchmarks", "--bin", "polder"]);
    command.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("building polder failed: {status}").into()) }
}
