//! Texts of queries, right, wrong and hostile.

use super::*;

fn read(text: &str) -> Result<Question> {
    let analyzer = Analyzer::default();
    let field = |number, name| Searched { name, field: Field::from_field_id(number), analyzer: &analyzer };
    parse(text, &[field(0, "title"), field(1, "body")])
}

#[test]
fn a_text_reads_as_it_is_meant() {
    for (text, expected) in [
        ("Rust", "(title:rust body:rust)"),
        ("body:Rust", "body:rust"),
        ("body:(a b)", "(body:a body:b)"),
        ("body:a AND NOT body:b", "(+body:a -body:b)"),
        ("body:\"zero copy\"~2", "body:\"zero copy\"~2"),
        ("body:\"zero co\"*", "body:\"zero co\"*"),
        ("body:zer*", "body:zer*"),
        ("body:recieve~1", "body:recieve~1"),
        ("body:recieve~", "body:recieve~1"),
        ("body:rust^2", "body:rust^2"),
        ("body:[a TO c}", "body:[a TO c}"),
        ("body: IN [a b]", "body: IN [a b]"),
        ("NOT body:a", "(+* -body:a)"),
        ("*", "*"),
        ("", "nothing"),
        ("---", "nothing"),
        ("BODY:rust", "body:rust"),
    ] {
        match read(text) {
            Ok(question) => assert_eq!(question.text, expected, "{text}"),
            Err(error) => panic!("{text}: {error} {:?}", error.detail()),
        }
    }
}

/// The last word may go on to be another than it is now.
#[test]
fn a_begun_phrase_keeps_its_words() {
    let options = std::collections::BTreeMap::from([("analyzer".to_string(), "english".to_string())]);
    let analyzer = Analyzer::read(crate::options::COLUMN_OPTIONS, &options).expect("options of a column");
    let body = Searched { name: "body", field: Field::from_field_id(0), analyzer: &analyzer };
    for (text, expected) in [
        ("\"running the\"*", "body:\"run the\"*"),
        ("\"the walk\"*", "body:walk*"),
        ("\"quick the running\"*", "body:\"quick running\"*"),
    ] {
        assert_eq!(parse(text, &[body]).expect(text).text, expected, "{text}");
    }
}

#[test]
fn a_mistake_is_pointed_out() {
    for (text, state, at) in [
        ("body:", SqlState::SYNTAX, Some("at character ")),
        ("rust AND (go", SqlState::SYNTAX, Some("at character ")),
        ("body:\"open", SqlState::SYNTAX, Some("at character ")),
        ("author:knuth", SqlState::NO_COLUMN, Some("at character 1: ")),
        ("ab body:word~3", SqlState::SYNTAX, Some("at character 13: ")),
        ("body:/ru.t/", SqlState::SYNTAX, None),
        ("body:*", SqlState::SYNTAX, None),
        ("ab zero-copy~1", SqlState::SYNTAX, Some("at character 4: ")),
        ("((((((((((((((((((((a))))))))))))))))))))", SqlState::SYNTAX, Some("at character 17: ")),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.state(), state, "{text}: {error}");
        if let Some(at) = at {
            let detail = error.detail().unwrap_or_default();
            assert!(detail.starts_with(at), "{text}: {detail}");
        }
    }
}

/// Texts made of the pieces of the language, in any order: an answer or an error, soon, and no panic.
#[test]
fn hostile_texts_are_read_or_refused() {
    let pieces = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "~",
        "~9999999999",
        "^",
        "^-1",
        "^1e400",
        "*",
        "+",
        "-",
        ":",
        "\\",
        "/",
        " ",
        "AND",
        "OR",
        "NOT",
        "IN",
        "TO",
        "body",
        "body:",
        "rust",
        "é",
        "\u{0}",
        "\u{202e}",
        "🦀",
        "<",
        ">=",
        "||",
        "&&",
        "1",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        loop {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 33).expect("31 bits");
            text.push_str(pieces[at % pieces.len()]);
            if at % 7 == 0 {
                break;
            }
        }
        let _ = read(&text);
    }
}

#[test]
fn a_text_of_many_parentheses_is_refused_at_once() {
    for text in ["(".repeat(8_000), "a".repeat(9_000), format!("{}a", "+-".repeat(3_000)), "a:".repeat(3_000)] {
        let _ = read(&text);
    }
    for depth in 0..=DEPTH_MAX {
        let _ = read(&format!("{}a{}", "(".repeat(depth), ")".repeat(depth)));
        let _ = read(&"(".repeat(depth));
    }
}
