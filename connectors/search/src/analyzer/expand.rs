//! One word stored under several terms, all at its own place in the text: synonyms, and the beginnings of the word.

use std::collections::HashMap;
use std::sync::Arc;
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};

/// A tokenizer that adds terms to those of another.
#[derive(Clone)]
pub(super) struct Expanding {
    base: TextAnalyzer,
    synonyms: Arc<HashMap<String, Vec<String>>>,
    beginnings: Option<(usize, usize)>,
}

impl Expanding {
    pub(super) fn new(
        base: TextAnalyzer,
        synonyms: Arc<HashMap<String, Vec<String>>>,
        beginnings: Option<(usize, usize)>,
    ) -> Self {
        Self { base, synonyms, beginnings }
    }

    /// The token and what is stored beside it.
    fn expand(&self, token: &Token, all: &mut Vec<Token>) {
        let beside = |text: String| Token { text, ..token.clone() };
        all.push(token.clone());
        all.extend(self.synonyms.get(&token.text).into_iter().flatten().cloned().map(beside));
        let Some((min, max)) = self.beginnings else { return };
        let ends = token.text.char_indices().map(|(at, character)| at + character.len_utf8());
        let ends = ends.skip(min - 1).take(max + 1 - min).filter(|end| *end < token.text.len());
        all.extend(ends.map(|end| beside(token.text[..end].to_string())));
    }
}

impl Tokenizer for Expanding {
    type TokenStream<'a> = Expanded;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Expanded {
        let mut base = Vec::new();
        self.base.token_stream(text).process(&mut |token| base.push(token.clone()));
        let mut tokens = Vec::with_capacity(base.len());
        base.iter().for_each(|token| self.expand(token, &mut tokens));
        Expanded { tokens, next: 0 }
    }
}

/// All tokens of one text.
pub(super) struct Expanded {
    tokens: Vec<Token>,
    next: usize,
}

impl TokenStream for Expanded {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.tokens.len()
    }

    fn token(&self) -> &Token {
        &self.tokens[self.next - 1]
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokens[self.next - 1]
    }
}
