//! The text of a statement as others may see it: cut, and without what may be a secret.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

/// What stands in place of a value.
const HIDDEN: &str = "'...'";

/// A value this short is not looked for in messages: it would be found anywhere.
const HIDDEN_MIN: usize = 3;

/// A statement as others may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// The values that are not in the text, to be kept out of messages about it.
    hidden: Vec<String>,
}

impl Shown {
    /// Cut to so many bytes. Of a statement that may hold a secret, such as CREATE CATALOG, the values are left out, unless they
    /// say where a secret is kept.
    pub(crate) fn of(sql: &str, bytes_max: usize) -> Self {
        let sql = sql.trim().trim_end_matches(';').trim_end();
        let seen = &sql[..sql.floor_char_boundary(bytes_max)];
        let mut shown = match may_hold_a_secret(seen) {
            true => without_values(sql),
            false => Self { text: seen.to_string(), hidden: Vec::new() },
        };
        if shown.text.len() > bytes_max || (shown.hidden.is_empty() && seen.len() < sql.len()) {
            shown.text.truncate(shown.text.floor_char_boundary(bytes_max));
            shown.text.push_str(" ...");
        }
        shown
    }

    /// A message about the statement, without the values that were left out of it.
    pub(crate) fn message(&self, message: &str) -> String {
        let hidden = self.hidden.iter().filter(|value| value.len() >= HIDDEN_MIN);
        hidden.fold(message.to_string(), |message, value| message.replace(value.as_str(), "..."))
    }
}

/// What reads and writes rows has no options; all else may have some.
fn may_hold_a_secret(sql: &str) -> bool {
    let words: &[&str] = match sql.get(..6).unwrap_or_default().to_ascii_uppercase().as_str() {
        "SELECT" | "INSERT" | "UPDATE" | "DELETE" => &["password", "secret"],
        _ => &["catalog", "user", "role", "password", "secret", "token"],
    };
    words.iter().any(|word| {
        let (sql, word) = (sql.as_bytes(), word.as_bytes());
        sql.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
    })
}

/// The words of a statement without its comments and values. Where it cannot be read it ends.
fn without_values(sql: &str) -> Shown {
    let mut tokens = Vec::new();
    let is_whole = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location_into_buf(&mut tokens).is_ok();
    let mut shown = Shown::default();
    let mut place = Place::Free;
    for token in tokens.into_iter().map(|token| token.token) {
        place = match (&token, place) {
            (Token::Whitespace(space), place) => {
                shown.space(space, place);
                place
            }
            (Token::Comma | Token::RParen | Token::LParen, _) => shown.keep(&token),
            (Token::Eq, _) => {
                shown.text.push('=');
                Place::Value
            }
            (_, Place::Value | Place::Hidden) if is_reference(&token) => shown.keep(&token),
            (_, Place::Value) => shown.hide(&token, true),
            (_, Place::Hidden) => shown.hide(&token, false),
            (Token::Word(word), _) if word.value.eq_ignore_ascii_case("password") => {
                shown.text.push_str(&word.value);
                Place::Value
            }
            _ if is_text(&token) && !is_reference(&token) => {
                shown.hide(&token, true);
                Place::Free
            }
            _ => shown.keep(&token),
        };
    }
    if !is_whole {
        shown.text.push_str(HIDDEN);
    }
    shown
}

/// Where in a statement a token stands.
#[derive(Clone, Copy)]
enum Place {
    Free,
    /// Where a value begins.
    Value,
    /// Behind the beginning of one, up to the end of its option.
    Hidden,
}

impl Shown {
    fn keep(&mut self, token: &Token) -> Place {
        self.text.push_str(&token.to_string());
        Place::Free
    }

    fn hide(&mut self, token: &Token, is_first: bool) -> Place {
        if is_first {
            self.text.push_str(HIDDEN);
        }
        self.hidden.push(value(token));
        Place::Hidden
    }

    /// A comment may say anything.
    fn space(&mut self, space: &Whitespace, place: Place) {
        match space {
            _ if matches!(place, Place::Hidden) => {}
            Whitespace::Newline => self.text.push('\n'),
            _ => self.text.push(' '),
        }
    }
}

fn is_text(token: &Token) -> bool {
    let is_other = matches!(token, Token::Word(_) | Token::Placeholder(_));
    !is_other && token.to_string().contains(['\'', '"', '$'])
}

/// Whether it says where a secret is kept, which may be known.
fn is_reference(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(text) if text.starts_with("env:") || text.starts_with("file:"))
}

fn value(token: &Token) -> String {
    match token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::NationalStringLiteral(text) => {
            text.clone()
        }
        Token::DollarQuotedString(text) => text.value.clone(),
        Token::Word(word) => word.value.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str) -> String {
        Shown::of(sql, 4096).text
    }

    #[test]
    fn values_of_options_are_hidden_and_references_are_not() {
        let cases = [
            (
                "CREATE CATALOG shop USING postgres WITH (url = 'postgres://u:hunter2@db', password = 'env:PW', pool_size = 3);",
                "CREATE CATALOG shop USING postgres WITH (url = '...', password = 'env:PW', pool_size = '...')",
            ),
            ("alter catalog c set (password = hunter2-and-more)", "alter catalog c set (password = '...')"),
            ("ALTER CATALOG c SET (a = $x$hunter2$x$)", "ALTER CATALOG c SET (a = '...')"),
            (
                "ALTER CATALOG c SET (a = E'hunter2\\'more', b = \"hunter2\")",
                "ALTER CATALOG c SET (a = '...', b = '...')",
            ),
            ("/* hunter2 */ CREATE CATALOG c -- hunter2\nUSING memory", "CREATE CATALOG c  USING memory"),
            ("CREATE USER ada PASSWORD 'hunter2'", "CREATE USER ada PASSWORD '...'"),
            ("CREATE USER ada PASSWORD hunter2", "CREATE USER ada PASSWORD '...'"),
            (
                "CREATE CATALOG c USING postgres WITH (password = 'hunter2",
                "CREATE CATALOG c USING postgres WITH (password = '...'",
            ),
            ("SELECT * FROM t WHERE name = 'ada'", "SELECT * FROM t WHERE name = 'ada'"),
        ];
        for (sql, shown) in cases {
            assert_eq!(text(sql).trim_start(), shown.trim_start(), "{sql}");
            assert!(!text(sql).contains("hunter2"), "{sql}");
        }
    }

    #[test]
    fn what_is_hidden_is_not_in_a_message_either() {
        let shown = Shown::of("CREATE CATALOG c USING postgres WITH (pool_size = 'hunter2')", 4096);
        assert_eq!(shown.message("option \"pool_size\" cannot be 'hunter2'"), "option \"pool_size\" cannot be '...'");
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let sql = format!("SELECT '{}'", "\u{e9}".repeat(5000));
        let shown = text(&sql);
        assert!(shown.len() <= 4096 + 4 && shown.ends_with("\u{e9} ..."), "{}", shown.len());
    }
}
