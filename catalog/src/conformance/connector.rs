//! Promises of [`Connector`](crate::Connector).

use super::Verdict;
use super::world::{Step, World, ensure, kept, not_applicable, not_shown};
use crate::{OptionKind, Options, Source};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Enough for any amount of parsing, too little for a connection that times out.
const ATTACH_TIME_MAX: Duration = Duration::from_secs(1);

pub(super) async fn connector_1_describes_itself_constantly(world: &World<'_>) -> Verdict {
    let connector = world.subject.connector();
    ensure!(connector.name() == connector.name() && !connector.name().is_empty(), "the name changes or is empty");
    ensure!(!connector.doc().is_empty(), "the connector has no doc");
    for option in connector.options() {
        let name = option.name;
        let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        ensure!(is_plain && !name.is_empty(), "option \"{name}\" is not a plain lower-case word");
        ensure!(!option.doc.is_empty(), "option \"{name}\" has no doc");
        let times = connector.options().iter().filter(|other| other.name == name).count();
        ensure!(times == 1, "option \"{name}\" is described {times} times");
        if let Some(default) = option.default {
            let alone = [crate::OptionSpec { required: false, ..*option }];
            Options::validate(&alone, [(name.to_string(), default.to_string())]).step("a default does not fit")?;
        }
    }
    kept()
}

pub(super) async fn connector_2_attaches_without_the_network(world: &World<'_>) -> Verdict {
    let Some(options) = world.subject.dead_options() else {
        return not_applicable("there is no such thing as this system being down");
    };
    let connector = world.subject.connector();
    let options = Options::validate(connector.options(), options).step("the subject's options do not fit")?;
    let attached = tokio::time::timeout(ATTACH_TIME_MAX, connector.attach(&world.catalog(), options)).await;
    let source = attached.step("attaching a system that is down took too long")?.step("a system that is down")?;
    let used = source.schemas(&world.context()).await;
    ensure!(used.is_err(), "a system that is down lists its schemas: {used:?}");
    let error = used.expect_err("it was just looked at").to_string();
    ensure!(error.contains(world.catalog().as_str()), "the error does not name the source: {error}");
    kept()
}

pub(super) async fn connector_3_attaches_without_secrets(world: &World<'_>) -> Verdict {
    let connector = world.subject.connector();
    let secrets = connector.options().iter().filter(|option| option.kind == OptionKind::Secret);
    let secrets: Vec<&str> = secrets.map(|option| option.name).collect();
    if secrets.is_empty() {
        return not_applicable("no option is a secret");
    }
    // One secret at a time: two of them may contradict each other.
    let mut without_effect = Vec::new();
    for secret in secrets {
        let readable = SecretFile::write(secret).step("a file for a secret")?;
        let there = attach_with(world, secret, &readable.reference()).await?;
        let missing = attach_with(world, secret, "env:POLDER_CONFORMANCE_HOLDS_NO_SECRET").await?;
        match (there, missing) {
            (Ok(_), Ok(_)) => {}
            (Err(error), Err(other)) if (error.kind(), error.state()) == (other.kind(), other.state()) => {
                without_effect.push(format!("option \"{secret}\" does not go with the subject's options: {error}"));
            }
            (_, Err(error)) => return Err(format!("attach reads the secret \"{secret}\": {error}")),
            (Err(error), Ok(_)) => {
                return Err(format!("attach reads the secret \"{secret}\", and dislikes it: {error}"));
            }
        }
    }
    if without_effect.is_empty() { kept() } else { not_shown(without_effect.join("; ")) }
}

/// Attaches with the subject's options, but this secret.
async fn attach_with(
    world: &World<'_>,
    secret: &str,
    reference: &str,
) -> Result<crate::Result<Arc<dyn Source>>, String> {
    let connector = world.subject.connector();
    let mut options = world.subject.options();
    options.retain(|(name, _)| name != secret);
    options.push((secret.to_string(), reference.to_string()));
    let options = Options::validate(connector.options(), options).step("the subject's options do not fit")?;
    Ok(connector.attach(&world.catalog(), options).await)
}

/// A file that holds a secret, for as long as this lives.
struct SecretFile(PathBuf);

impl SecretFile {
    fn write(option: &str) -> std::io::Result<Self> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("polder-conformance-{process}-{number}-{option}"));
        std::fs::write(&path, "a secret that nobody asked for")?;
        Ok(Self(path))
    }

    fn reference(&self) -> String {
        format!("file:{}", self.0.display())
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
