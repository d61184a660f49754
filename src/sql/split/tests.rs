use super::Splitter;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use proptest::prelude::*;

fn split(text: &str) -> Vec<String> {
    split_pieces([text])
}

fn split_pieces<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut splitter = Splitter::new();
    let mut statements = Vec::new();
    for piece in pieces {
        splitter.push(piece);
        statements.extend(std::iter::from_fn(|| splitter.next_statement()));
    }
    statements.extend(std::iter::from_fn(|| splitter.finish()));
    statements
}

#[test]
fn a_semicolon_ends_a_statement_and_the_end_of_the_text_ends_the_last() {
    assert_eq!(split("SELECT 1;\n SELECT 2 ; SELECT 3"), ["SELECT 1", "SELECT 2", "SELECT 3"]);
}

#[test]
fn space_and_comments_alone_are_no_statement() {
    assert_eq!(split(" ;; -- nothing; here\n ; /* nor; /* here; */ ; */ ;"), Vec::<String>::new());
}

#[test]
fn a_comment_inside_a_statement_stays_in_its_text() {
    assert_eq!(split("SELECT 1 -- one;\n + 1;"), ["SELECT 1 -- one;\n + 1"]);
    assert_eq!(split("-- head\nSELECT 1;"), ["-- head\nSELECT 1"]);
}

#[test]
fn semicolons_inside_quotes_do_not_split() {
    let whole = [
        "SELECT 'a;b'",
        "SELECT 'it''s; fine'",
        r"SELECT 'C:\'",
        r"SELECT E'it\'s; fine', E'a'';b'",
        r"SELECT e'\\'",
        r#"SELECT "a;""b;""#,
        "SELECT $$a;b'$$",
        "SELECT $tag$a;$$;$tag;$tag$",
        "SELECT $é$;$é$",
        "SELECT 1 /* ; /* ; */ ; */ + 1",
        "SELECT a$b$c, $1",
    ];
    for statement in whole {
        assert_eq!(split(&format!("{statement};SELECT 2")), [statement, "SELECT 2"], "{statement}");
    }
}

#[test]
fn a_word_that_ends_in_e_opens_an_ordinary_string() {
    assert_eq!(split(r"SELECT date'\';SELECT 2"), [r"SELECT date'\'", "SELECT 2"]);
}

#[test]
fn a_comment_ends_an_operator() {
    assert_eq!(split("SELECT 1 -/*;*/ 2;SELECT 3 +--;\n 4"), ["SELECT 1 -/*;*/ 2", "SELECT 3 +--;\n 4"]);
}

#[test]
fn what_is_left_open_is_one_last_statement() {
    assert_eq!(split("SELECT 'a;b"), ["SELECT 'a;b"]);
    assert_eq!(split("SELECT $x$;"), ["SELECT $x$;"]);
    assert_eq!(split("SELECT 1 -"), ["SELECT 1 -"]);
}

#[test]
fn a_statement_is_given_as_soon_as_its_semicolon_is_there() {
    let mut splitter = Splitter::new();
    splitter.push("SELECT ");
    assert_eq!(splitter.next_statement(), None);
    assert!(!splitter.is_empty());
    splitter.push("1;");
    assert_eq!(splitter.next_statement().as_deref(), Some("SELECT 1"));
    assert!(splitter.is_empty());
    splitter.push("-- done");
    assert_eq!(splitter.next_statement(), None);
    assert!(splitter.is_empty());
    splitter.push("\n/* open");
    assert_eq!(splitter.next_statement(), None);
    assert!(!splitter.is_empty());
}

#[test]
fn each_statement_knows_its_line() {
    let mut splitter = Splitter::new();
    splitter.push("SELECT 1;\n\nSELECT\n2;\nSELECT 3");
    let mut lines = Vec::new();
    while splitter.next_statement().is_some() {
        lines.push(splitter.statement_line());
    }
    while splitter.finish().is_some() {
        lines.push(splitter.statement_line());
    }
    assert_eq!(lines, [1, 3, 5]);
}

/// The dollar that ends a text is part of no identifier, so another text may begin right behind it.
#[test]
fn one_dollar_quoted_text_may_follow_another() {
    assert_eq!(split("SELECT $a$;$a$$$;--$$; x").len(), 2);
}

/// Texts made of what the splitter looks at, so that every pair of them meets.
fn lexical_soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(";"),
        Just("'"),
        Just("\""),
        Just("$"),
        Just("$$"),
        Just("$a$"),
        Just("--"),
        Just("-"),
        Just("/*"),
        Just("*/"),
        Just("/"),
        Just("*"),
        Just("\\"),
        Just("E'"),
        Just("e"),
        Just("\n"),
        Just(" "),
        Just("x"),
        Just("1"),
        Just("é"),
        Just("漢"),
        Just("\0"),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_can_be_split(text in any::<String>()) {
        split(&text);
    }

    #[test]
    fn where_the_text_is_cut_into_pieces_makes_no_difference(text in lexical_soup(), cuts in proptest::collection::vec(1usize..6, 1..20)) {
        let mut pieces = Vec::new();
        let (mut rest, mut sizes) = (text.as_str(), cuts.iter().cycle());
        while !rest.is_empty() {
            let size = rest.ceil_char_boundary(*sizes.next().expect("a cycle is endless"));
            let (piece, tail) = rest.split_at(size);
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(split_pieces(pieces), split(&text));
    }

    /// Where the parser's own tokenizer can read a text, both see the same statements.
    #[test]
    fn the_tokenizer_finds_the_same_statements(text in lexical_soup()) {
        let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, &text).tokenize() else { return Ok(()) };
        // In PostgreSQL a comment ends an operator: `-/*` is a minus and a comment, which the tokenizer takes for one.
        let swallows_comment = |token: &Token| {
            matches!(token, Token::CustomBinaryOperator(name) if name.contains("--") || name.contains("/*"))
        };
        if tokens.iter().any(swallows_comment) {
            return Ok(());
        }
        let statements = tokens
            .split(|token| *token == Token::SemiColon)
            .filter(|tokens| tokens.iter().any(|token| !matches!(token, Token::Whitespace(_))))
            .count();
        prop_assert_eq!(split(&text).len(), statements, "{:?}", tokens);
    }
}
