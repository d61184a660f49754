//! What `CREATE CATALOG ... USING search WITH (...)` and the columns of its tables take.

use crate::analyzer;
use polder_catalog::{OptionKind, OptionSpec, Options};
use std::path::PathBuf;

pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("path", OptionKind::Text, "The folder that holds the indexes; it is made if it is not there.")
        .required(),
    OptionSpec::new(
        "memory_mb",
        OptionKind::Integer(15, 4096),
        "Memory that one table takes while rows are written to it, in megabytes.",
    )
    .default("50"),
    OptionSpec::new(
        "segments_max",
        OptionKind::Integer(2, 1000),
        "How many segments of similar size a table has before they are merged.",
    )
    .default("8"),
];

pub(crate) const COLUMN_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        analyzer::ANALYZER,
        OptionKind::Choice(analyzer::NAMES),
        "How a text is cut into words: a language (stems, without its stop words), `standard` (lower-case words), \
         `simple` (the same), `keyword` (the whole text as it is) or `ngram` (the beginnings of words too).",
    )
    .default("standard"),
    OptionSpec::new(
        analyzer::STOP_WORDS,
        OptionKind::Text,
        "Words that are left out: `on` (the language's own), `off`, or words separated by commas.",
    ),
    OptionSpec::new(
        analyzer::SYNONYMS,
        OptionKind::Text,
        "Words that are found for each other: `tv, television; car, automobile`. Single words only.",
    ),
    OptionSpec::new(
        analyzer::NGRAM_MIN,
        OptionKind::Integer(1, 20),
        "The shortest beginning of a word that `ngram` finds, in characters.",
    ),
    OptionSpec::new(
        analyzer::NGRAM_MAX,
        OptionKind::Integer(1, 40),
        "The longest beginning of a word that `ngram` finds; whole words are found besides.",
    ),
];

/// The options, read.
#[derive(Clone, Debug)]
pub(crate) struct SearchOptions {
    pub(crate) path: PathBuf,
    pub(crate) memory_bytes: usize,
    pub(crate) segments_max: usize,
}

impl SearchOptions {
    pub(crate) fn read(options: &Options) -> Self {
        let number = |name| options.integer(name).and_then(|number| usize::try_from(number).ok());
        Self {
            path: PathBuf::from(options.text("path").expect("path is required")),
            memory_bytes: number("memory_mb").expect("memory_mb has a default") * 1_000_000,
            segments_max: number("segments_max").expect("segments_max has a default"),
        }
    }
}
