//! The option `tables`: a few table definitions in the words of SQL.
//!
//! ```text
//! tables     = table { ";" table }
//! table      = name "(" item { "," item } ")"            name: plain, or "quoted"; with a schema: name "." name
//! item       = name type [ NOT NULL ] [ PRIMARY KEY ]  |  PRIMARY KEY "(" name { "," name } ")"
//! ```

use crate::{TablePath, types};
use arrow::datatypes::{Field, Schema, SchemaRef};
use polder_catalog::{Error, Result, SqlState};
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

/// A table to be made: its name, columns and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDefinition {
    /// Schema and name.
    pub path: TablePath,
    /// The columns.
    pub schema: SchemaRef,
    /// Names of the key's columns; none for a table without a key.
    pub key: Vec<String>,
}

/// Reads the option.
pub(crate) fn parse(text: &str) -> Result<Vec<TableDefinition>> {
    let mut reader = Reader { tokens: tokens(text)?.into_iter().peekable() };
    let mut tables = Vec::new();
    while reader.tokens.peek().is_some() {
        tables.push(reader.table()?);
        if !reader.skip(&Token::Mark(';')) && reader.tokens.peek().is_some() {
            return Err(wrong("a semicolon separates two tables"));
        }
    }
    Ok(tables)
}

fn wrong(detail: impl Into<String>) -> Error {
    Error::fix(SqlState::PARAMETER, "option \"tables\" cannot be read")
        .with_detail(detail)
        .with_hint("write it as tables = 'orders (id bigint PRIMARY KEY, note text NOT NULL)'")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A plain word, lower case.
    Word(String),
    /// A quoted name, as written.
    Quoted(String),
    Mark(char),
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '"' => found.push(Token::Quoted(quoted(&mut rest)?)),
            '(' | ')' | ',' | ';' | '.' => found.push(Token::Mark(character)),
            _ if character.is_whitespace() => {}
            _ if character.is_alphanumeric() || character == '_' => {
                let mut word = String::from(character);
                while let Some(next) = rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    word.push(next);
                }
                found.push(Token::Word(word.to_lowercase()));
            }
            _ => return Err(wrong(format!("'{character}' does not belong here"))),
        }
    }
    Ok(found)
}

fn quoted(rest: &mut Peekable<std::str::Chars<'_>>) -> Result<String> {
    let mut name = String::new();
    while let Some(character) = rest.next() {
        if character != '"' {
            name.push(character);
        } else if rest.next_if_eq(&'"').is_some() {
            name.push('"');
        } else {
            return Ok(name);
        }
    }
    Err(wrong("a quoted name does not end"))
}

struct Reader {
    tokens: Peekable<IntoIter<Token>>,
}

impl Reader {
    fn table(&mut self) -> Result<TableDefinition> {
        let first = self.name("a table")?;
        let path = match self.skip(&Token::Mark('.')) {
            true => TablePath { schema: first, table: self.name("a table")? },
            false => TablePath::from(first.as_str()),
        };
        self.expect('(')?;
        let (mut fields, mut key) = (Vec::new(), Vec::new());
        loop {
            self.item(&mut fields, &mut key)?;
            if !self.skip(&Token::Mark(',')) {
                break;
            }
        }
        self.expect(')')?;
        // What a key names is never null.
        let fields: Vec<Field> = fields
            .into_iter()
            .map(|field| if key.contains(field.name()) { field.with_nullable(false) } else { field })
            .collect();
        Ok(TableDefinition { path, schema: Arc::new(Schema::new(fields)), key })
    }

    fn item(&mut self, fields: &mut Vec<Field>, key: &mut Vec<String>) -> Result<()> {
        if self.words(&["primary", "key"]) {
            self.expect('(')?;
            key.push(self.name("a column")?);
            while self.skip(&Token::Mark(',')) {
                key.push(self.name("a column")?);
            }
            return self.expect(')');
        }
        let name = self.name("a column")?;
        let type_name = self.type_name(&name)?;
        let data_type = types::arrow_type(&type_name).ok_or_else(|| {
            wrong(format!("column \"{name}\" has no type '{type_name}'; the types are: {}", types::known_names()))
        })?;
        let mut nullable = true;
        loop {
            if self.words(&["not", "null"]) {
                nullable = false;
            } else if self.words(&["primary", "key"]) {
                key.push(name.clone());
            } else {
                break;
            }
        }
        fields.push(Field::new(name, data_type, nullable));
        Ok(())
    }

    /// The words and the arguments of a type, up to what may follow one.
    fn type_name(&mut self, column: &str) -> Result<String> {
        let mut name = String::new();
        while let Some(Token::Word(word)) = self.tokens.next_if(is_word_of_type) {
            if !name.is_empty() {
                name.push(' ');
            }
            name.push_str(&word);
        }
        if name.is_empty() {
            return Err(wrong(format!("column \"{column}\" has no type")));
        }
        if self.skip(&Token::Mark('(')) {
            name.push('(');
            loop {
                match self.tokens.next() {
                    Some(Token::Word(word)) => name.push_str(&word),
                    Some(Token::Mark(',')) => name.push(','),
                    Some(Token::Mark(')')) => break,
                    _ => return Err(wrong(format!("the type of column \"{column}\" does not end"))),
                }
            }
            name.push(')');
        }
        Ok(name)
    }

    fn name(&mut self, what: &str) -> Result<String> {
        match self.tokens.next() {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name),
            Some(Token::Mark(mark)) => Err(wrong(format!("'{mark}' stands where the name of {what} belongs"))),
            None => Err(wrong(format!("it ends where the name of {what} belongs"))),
        }
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        if self.skip(&Token::Mark(mark)) { Ok(()) } else { Err(wrong(format!("'{mark}' is missing"))) }
    }

    fn skip(&mut self, token: &Token) -> bool {
        self.tokens.next_if_eq(token).is_some()
    }

    /// Takes these two words, or nothing.
    fn words(&mut self, words: &[&str; 2]) -> bool {
        let mut ahead = self.tokens.clone();
        let found = words.iter().all(|word| ahead.next() == Some(Token::Word((*word).to_string())));
        if found {
            self.tokens = ahead;
        }
        found
    }
}

fn is_word_of_type(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word != "not" && word != "primary")
}
