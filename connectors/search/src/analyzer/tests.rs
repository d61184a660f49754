//! What each analyzer makes of a text, and options that do not go together.

use super::*;
use crate::options::COLUMN_OPTIONS;

fn analyzer(options: &[(&str, &str)]) -> Result<Analyzer> {
    let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Analyzer::read(COLUMN_OPTIONS, &options)
}

fn stored(options: &[(&str, &str)], text: &str) -> Vec<String> {
    terms(&mut analyzer(options).expect("the options are valid").stored(), text)
}

#[test]
fn each_analyzer_cuts_in_its_own_way() {
    assert_eq!(stored(&[], "The Running DOGS"), ["the", "running", "dogs"]);
    assert_eq!(stored(&[("analyzer", "english")], "The Running DOGS"), ["run", "dog"]);
    assert_eq!(stored(&[("analyzer", "english"), ("stop_words", "off")], "The Dogs"), ["the", "dog"]);
    assert_eq!(stored(&[("analyzer", "german")], "Die laufenden Häuser"), ["laufend", "haus"]);
    assert_eq!(stored(&[("analyzer", "keyword")], "The Dogs"), ["The Dogs"]);
    assert_eq!(stored(&[("stop_words", "the, a")], "The dogs"), ["dogs"]);
    let beginnings = [("analyzer", "ngram"), ("ngram_min", "2"), ("ngram_max", "3")];
    assert_eq!(stored(&beginnings, "Äpfel a"), ["äpfel", "äp", "äpf", "a"]);
    let synonyms = [("synonyms", "tv, television; car, automobile")];
    assert_eq!(stored(&synonyms, "TV car"), ["tv", "television", "car", "automobile"]);
    for name in NAMES {
        let analyzer = analyzer(&[("analyzer", name)]).expect(name);
        assert!(!terms(&mut analyzer.stored(), "zebra").is_empty(), "{name}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for options in [
        &[("analyzer", "klingon")][..],
        &[("analyzer", "keyword"), ("synonyms", "a, b")],
        &[("analyzer", "standard"), ("stop_words", "on")],
        &[("analyzer", "standard"), ("ngram_min", "2")],
        &[("analyzer", "ngram"), ("ngram_min", "9"), ("ngram_max", "3")],
        &[("synonyms", "tv")],
        &[("synonyms", "tv, flat screen")],
        &[("stemming", "on")],
    ] {
        let error = analyzer(options).expect_err(&format!("{options:?}"));
        assert_eq!(error.state(), SqlState::PARAMETER, "{options:?}: {error}");
    }
}
