//! `FROM t AS OF 'position' | TIMESTAMP 'time'`: the table as it was then.
//!
//! sqlparser does not know it, so it is read here, before the statement is: the name of the table takes the time into itself, and
//! the table is called as it was. Nobody else needs to know of it but who looks for tables.

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

/// Between the name of a table and the time. No name that a client writes has it in it: the parser refuses control characters.
const SEPARATOR: char = '\u{1}';

/// Takes each `AS OF 'text'` behind a name into the name.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut rewritten: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match past(&tokens, at) {
            Some((time, end)) if last_word(&mut rewritten).is_some() => {
                let has_alias = is_alias(&tokens[end..]);
                if let Some(name) = last_word(&mut rewritten) {
                    let plain = Word { keyword: Keyword::NoKeyword, quote_style: Some('"'), value: folded(name) };
                    name.value = format!("{}{SEPARATOR}{time}", plain.value);
                    (name.quote_style, name.keyword) = (Some('"'), Keyword::NoKeyword);
                    if !has_alias {
                        // What ends here ends where the text ends: a view keeps the words of its author.
                        let span = Span::new(tokens[at].span.start, tokens[end - 1].span.end);
                        let space = Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space);
                        rewritten.push(TokenWithSpan { token: space, span });
                        rewritten.push(TokenWithSpan { token: Token::Word(plain), span });
                    }
                }
                at = end;
            }
            _ => {
                rewritten.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    rewritten
}

/// The text behind `AS OF`, if that stands here, and where what follows begins.
fn past(tokens: &[TokenWithSpan], at: usize) -> Option<(String, usize)> {
    let is_word = |at: usize, word: &str| {
        matches!(&tokens.get(at)?.token, Token::Word(known) if known.quote_style.is_none() && known.value.eq_ignore_ascii_case(word))
            .then_some(())
    };
    is_word(at, "as")?;
    let of = next(tokens, at + 1)?;
    is_word(of, "of")?;
    let mut text = next(tokens, of + 1)?;
    if is_word(text, "timestamp").is_some() {
        text = next(tokens, text + 1)?;
    }
    match &tokens[text].token {
        Token::SingleQuotedString(time) => Some((time.clone(), text + 1)),
        _ => None,
    }
}

/// The next token that is no space.
fn next(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|at| !matches!(tokens[*at].token, Token::Whitespace(_)))
}

/// The word that the tokens end with, spaces aside.
fn last_word(tokens: &mut [TokenWithSpan]) -> Option<&mut Word> {
    let last = tokens.iter_mut().rev().find(|token| !matches!(token.token, Token::Whitespace(_)))?;
    match &mut last.token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// Whether the table gets another name here.
fn is_alias(tokens: &[TokenWithSpan]) -> bool {
    match next(tokens, 0).map(|at| &tokens[at].token) {
        Some(Token::Word(word)) => {
            word.quote_style.is_some()
                || word.keyword == Keyword::AS
                || !RESERVED_FOR_TABLE_ALIAS.contains(&word.keyword)
        }
        _ => false,
    }
}

fn folded(name: &Word) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The table that a name means, and the time if it is one of the past.
pub(crate) fn as_of(reference: &TableReference) -> (TableReference, Option<&str>) {
    let Some((table, time)) = reference.table().split_once(SEPARATOR) else { return (reference.clone(), None) };
    let plain = match reference {
        TableReference::Bare { .. } => TableReference::bare(table),
        TableReference::Partial { schema, .. } => TableReference::partial(schema.as_ref(), table),
        TableReference::Full { catalog, schema, .. } => TableReference::full(catalog.as_ref(), schema.as_ref(), table),
    };
    (plain, Some(time))
}

/// Whether a name could not be told from one of the past.
pub(super) fn has_separator(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if word.value.contains(SEPARATOR)))
}
