//! Analyzers: how the text of a column is cut into the words that are found.
//!
//! A column's settings travel in the metadata of its Arrow field, under [`SETTINGS`]: so whoever evaluates `match()`
//! away from the index cuts the text as the index did.
//!
//! A text that is stored is cut by [`Analyzer::stored`], a word of a query by [`Analyzer::asked`]. They differ where
//! one word is stored under several: synonyms and the beginnings of words are added when the text is stored, so that
//! a query asks for a single term.

mod expand;

#[cfg(test)]
mod tests;

use expand::Expanding;
use polder_catalog::{Error, OptionSpec, Options, Result, SqlState};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tantivy::tokenizer::{
    Language, LowerCaser, RawTokenizer, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
};

/// Metadata key of a field: the options of the column that say how its text is cut, as JSON.
pub const SETTINGS: &str = "polder.analyzer";

pub(crate) const ANALYZER: &str = "analyzer";
pub(crate) const STOP_WORDS: &str = "stop_words";
pub(crate) const SYNONYMS: &str = "synonyms";
pub(crate) const NGRAM_MIN: &str = "ngram_min";
pub(crate) const NGRAM_MAX: &str = "ngram_max";

/// Every analyzer's name.
pub(crate) const NAMES: &[&str] = &[
    "standard",
    "simple",
    "keyword",
    "ngram",
    "arabic",
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "greek",
    "hungarian",
    "italian",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
];

/// Bytes of a word; a longer one is no word that anybody asks for, and the index has a limit of its own.
const WORD_BYTES_MAX: usize = 255;
/// The lengths of beginnings that `ngram` keeps if nothing else is said.
const NGRAMS: (usize, usize) = (2, 15);

/// How the text of one column is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Analyzer {
    kind: Kind,
    stop_words: StopWords,
    synonyms: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Words,
    Keyword,
    Beginnings(usize, usize),
    Language(Language),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum StopWords {
    None,
    OfLanguage,
    Custom(Vec<String>),
}

impl Default for Analyzer {
    /// Lower-case words.
    fn default() -> Self {
        Self { kind: Kind::Words, stop_words: StopWords::None, synonyms: Vec::new() }
    }
}

impl Analyzer {
    /// The analyzer that a column's options describe.
    ///
    /// # Errors
    /// 22023, for options that contradict each other.
    pub(crate) fn read(specs: &'static [OptionSpec], given: &BTreeMap<String, String>) -> Result<Self> {
        let options = Options::validate(specs, given.clone())?;
        let kind = kind(&options)?;
        let analyzer =
            Self { stop_words: stop_words(&kind, options.text(STOP_WORDS))?, synonyms: synonyms(&options)?, kind };
        let is_keyword = analyzer.kind == Kind::Keyword;
        if is_keyword && (analyzer.stop_words != StopWords::None || !analyzer.synonyms.is_empty()) {
            return Err(wrong("analyzer 'keyword' keeps a text whole, and has neither stop words nor synonyms"));
        }
        Ok(analyzer)
    }

    /// The analyzer of a field: its own, or lower-case words.
    pub(crate) fn of(metadata: &HashMap<String, String>) -> Self {
        let settings = metadata.get(SETTINGS).and_then(|text| serde_json::from_str(text).ok());
        settings.and_then(|given| Self::read(crate::options::COLUMN_OPTIONS, &given).ok()).unwrap_or_default()
    }

    /// Whether the whole text is its only word.
    pub(crate) fn is_keyword(&self) -> bool {
        self.kind == Kind::Keyword
    }

    /// Cuts a text that is stored.
    pub(crate) fn stored(&self) -> TextAnalyzer {
        let grams = match self.kind {
            Kind::Beginnings(min, max) => Some((min, max)),
            _ => None,
        };
        if grams.is_none() && self.synonyms.is_empty() {
            return self.asked();
        }
        TextAnalyzer::from(Expanding::new(self.asked(), Arc::new(self.synonyms_by_term()), grams))
    }

    /// Cuts a text of a query.
    pub(crate) fn asked(&self) -> TextAnalyzer {
        if self.is_keyword() {
            return TextAnalyzer::from(RawTokenizer::default());
        }
        let words = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
            .filter_dynamic(LowerCaser);
        let words = match (&self.stop_words, &self.kind) {
            (StopWords::Custom(list), _) => words.filter_dynamic(StopWordFilter::remove(list.iter().cloned())),
            (StopWords::OfLanguage, Kind::Language(language)) => match StopWordFilter::new(*language) {
                Some(filter) => words.filter_dynamic(filter),
                None => words,
            },
            _ => words,
        };
        match self.kind {
            Kind::Language(language) => words.filter(Stemmer::new(language)).build(),
            _ => words.build(),
        }
    }

    /// Cuts the beginning of a word: nothing is stemmed.
    pub(crate) fn unstemmed(&self) -> TextAnalyzer {
        if self.is_keyword() { self.asked() } else { Self::default().asked() }
    }

    /// Every term that has synonyms, with them.
    fn synonyms_by_term(&self) -> HashMap<String, Vec<String>> {
        let mut analyzer = self.asked();
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        for group in &self.synonyms {
            let terms: Vec<String> = group.iter().flat_map(|word| terms(&mut analyzer, word)).collect();
            for term in &terms {
                let others = all.entry(term.clone()).or_default();
                others.extend(terms.iter().filter(|other| *other != term).cloned());
                others.sort_unstable();
                others.dedup();
            }
        }
        all
    }
}

/// The terms of a text.
pub(crate) fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    analyzer.token_stream(text).process(&mut |token| terms.push(token.text.clone()));
    terms
}

fn kind(options: &Options) -> Result<Kind> {
    let grams = [NGRAM_MIN, NGRAM_MAX].map(|name| options.integer(name).and_then(|n| usize::try_from(n).ok()));
    let name = options.text(ANALYZER).unwrap_or("standard");
    if name == "ngram" {
        let (min, max) = (grams[0].unwrap_or(NGRAMS.0), grams[1].unwrap_or(NGRAMS.1));
        return match min <= max {
            true => Ok(Kind::Beginnings(min, max)),
            false => Err(wrong(format!("{NGRAM_MIN} {min} is more than {NGRAM_MAX} {max}"))),
        };
    }
    if grams.iter().any(Option::is_some) {
        return Err(wrong(format!("{NGRAM_MIN} and {NGRAM_MAX} belong to analyzer 'ngram'")));
    }
    Ok(match name {
        "keyword" => Kind::Keyword,
        other => language(other).map_or(Kind::Words, Kind::Language),
    })
}

fn stop_words(kind: &Kind, given: Option<&str>) -> Result<StopWords> {
    let of_language = matches!(kind, Kind::Language(language) if StopWordFilter::new(*language).is_some());
    match given {
        None if of_language => Ok(StopWords::OfLanguage),
        None | Some("off") => Ok(StopWords::None),
        Some("on") if of_language => Ok(StopWords::OfLanguage),
        Some("on") => Err(wrong("this analyzer has no stop words of its own; name them: stop_words = 'the, of'")),
        Some(list) => Ok(StopWords::Custom(split(list, ',').map(|word| word.to_lowercase()).collect())),
    }
}

fn synonyms(options: &Options) -> Result<Vec<Vec<String>>> {
    let groups = split(options.text(SYNONYMS).unwrap_or_default(), ';');
    let groups: Vec<Vec<String>> = groups.map(|group| split(group, ',').map(str::to_string).collect()).collect();
    for word in groups.iter().flatten() {
        if terms(&mut Analyzer::default().asked(), word).len() != 1 {
            return Err(wrong(format!("synonym '{word}' is not a single word")));
        }
    }
    match groups.iter().find(|group| group.len() < 2) {
        Some(group) => Err(wrong(format!("'{}' has no synonym beside it", group.join(", ")))),
        None => Ok(groups),
    }
}

fn split(list: &str, separator: char) -> impl Iterator<Item = &str> {
    list.split(separator).map(str::trim).filter(|part| !part.is_empty())
}

fn language(name: &str) -> Option<Language> {
    Some(match name {
        "arabic" => Language::Arabic,
        "danish" => Language::Danish,
        "dutch" => Language::Dutch,
        "english" => Language::English,
        "finnish" => Language::Finnish,
        "french" => Language::French,
        "german" => Language::German,
        "greek" => Language::Greek,
        "hungarian" => Language::Hungarian,
        "italian" => Language::Italian,
        "norwegian" => Language::Norwegian,
        "portuguese" => Language::Portuguese,
        "romanian" => Language::Romanian,
        "russian" => Language::Russian,
        "spanish" => Language::Spanish,
        "swedish" => Language::Swedish,
        "tamil" => Language::Tamil,
        "turkish" => Language::Turkish,
        _ => return None,
    })
}

fn wrong(message: impl Into<String>) -> Error {
    Error::fix(SqlState::PARAMETER, message)
}
