//! The parser around DataFusion's: reads the heads that are ours, and hands everything else on.

mod access;
mod merge;
mod procedure;
mod table;

pub(crate) use procedure::steps;

use crate::sql::as_of;
use crate::sql::explain::{self, Explaining};
use crate::sql::statement::{IfExists, Name, Query, Statement, ViewDefinition};
use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as DataFusionStatement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use polder_catalog::{Error, Result, SqlState};

/// Nested parentheses and subqueries beyond this are refused instead of filling the stack.
const RECURSION_LIMIT: usize = 200;

/// Reads exactly one statement; a semicolon may end it.
///
/// # Errors
/// 42601 with the place; 0A000 for a statement of DataFusion that Polder does not offer.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| parser_error(error.into()))?;
    if as_of::has_separator(&tokens) {
        return Err(Error::fix(SqlState::SYNTAX, "syntax error: a name has a control character in it"));
    }
    let tokens = as_of::rewrite(tokens);
    let parser = DFParserBuilder::new(tokens).with_dialect(&dialect).with_recursion_limit(RECURSION_LIMIT).build();
    let mut reader = Reader { parser: parser.map_err(syntax_error)?, sql };
    let statement = reader.statement()?;
    reader.end()?;
    Ok(statement)
}

struct Reader<'a> {
    parser: DFParser<'a>,
    sql: &'a str,
}

impl Reader<'_> {
    fn statement(&mut self) -> Result<Statement> {
        match self.words(3).iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["create", "catalog" | "view" | "topic" | "table" | "procedure", _] | ["create", "or", "replace"] => {
                self.create()
            }
            ["alter", "catalog", _] => self.alter_catalog(),
            ["drop", "catalog", _] => self.drop_catalog(),
            ["drop", kind @ ("view" | "topic" | "table"), _] => self.drop(kind),
            ["drop", "procedure", _] => {
                self.skip(2);
                let if_exists = self.if_exists()?;
                Ok(Statement::DropProcedure { name: self.name()?, if_exists })
            }
            ["create", "user" | "role", _] => self.create_role(),
            ["alter", "user" | "role", _] => self.alter_role(),
            ["drop", "user" | "role", _] => self.drop_role(),
            ["create", "token", _] => self.create_token(),
            ["drop", "token", _] => self.drop_token(),
            ["create", "policy", _] => self.create_policy(),
            ["drop", "policy", _] => self.drop_policy(),
            ["grant", _, _] => self.grant(),
            ["revoke", _, _] => self.revoke(),
            ["call", _, _] => self.call(),
            ["replay", "dead", "letters"] => {
                self.skip(3);
                let name = if self.accept("for") { Some(self.name()?) } else { None };
                Ok(Statement::ReplayDeadLetters { name })
            }
            ["create", "index", _] => self.create_index(),
            ["drop", "index", _] => {
                self.skip(2);
                let if_exists = self.if_exists()?;
                Ok(Statement::DropIndex { name: self.identifier()?, if_exists })
            }
            ["alter", "table", _] => self.alter_table(),
            ["copy", _, _] => self.copy(),
            ["check", "catalog", _] => {
                self.skip(2);
                Ok(Statement::CheckCatalog { name: self.identifier()? })
            }
            ["show", "catalogs", _] | ["show", "databases", _] => {
                self.skip(2);
                Ok(Statement::ShowCatalogs)
            }
            ["show", "schemas", _] => self.show_schemas(),
            ["show", "tables", _] => self.show_tables(),
            ["show", "columns", _] => {
                self.skip(2);
                self.expect_any(&["from", "in"])?;
                Ok(Statement::Describe { name: self.name()? })
            }
            ["show", "position", _] => {
                self.skip(2);
                Ok(Statement::ShowPosition)
            }
            ["show", _, _] => {
                self.skip(1);
                Ok(Statement::ShowSetting { name: self.setting_name()? })
            }
            ["describe", _, _] | ["desc", _, _] => {
                self.skip(1);
                self.accept("table");
                Ok(Statement::Describe { name: self.name()? })
            }
            ["wait", "for", _] => {
                self.skip(2);
                Ok(Statement::WaitFor { request: self.value()? })
            }
            ["kill", "query", _] => {
                self.skip(2);
                Ok(Statement::KillQuery { id: self.value()? })
            }
            ["set", _, _] => self.set(),
            ["reset", _, _] => {
                self.skip(1);
                Ok(Statement::Reset { name: self.setting_name()? })
            }
            ["explain", _, _] => self.explain(),
            _ => self.query(),
        }
    }

    fn create(&mut self) -> Result<Statement> {
        self.expect("create")?;
        let mut exists = IfExists::Refuse;
        if self.accept("or") {
            self.expect("replace")?;
            exists = IfExists::Replace;
        }
        let kind = self.words(1).remove(0);
        self.expect_any(&["catalog", "view", "topic", "table", "procedure"])?;
        if self.accept("if") {
            self.expect("not")?;
            self.expect("exists")?;
            if exists == IfExists::Replace {
                return Err(Error::fix(SqlState::SYNTAX, "OR REPLACE and IF NOT EXISTS contradict each other"));
            }
            exists = IfExists::Keep;
        }
        match (kind.as_str(), exists) {
            ("catalog", _) => self.create_catalog(exists),
            ("view", _) => self.create_view(exists),
            ("procedure", _) => self.create_procedure(exists),
            (_, IfExists::Replace) => Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                format!("CREATE OR REPLACE {} is not supported", kind.to_uppercase()),
            )
            .with_hint("its rows would be lost: drop it first")),
            ("topic", _) => self.create_topic(exists),
            _ => self.create_table(exists),
        }
    }

    fn create_catalog(&mut self, exists: IfExists) -> Result<Statement> {
        let name = self.identifier()?;
        self.expect("using")?;
        let connector = self.identifier()?;
        let options = if self.accept("with") { self.options()? } else { Vec::new() };
        Ok(Statement::CreateCatalog { name, connector, options, exists })
    }

    fn create_view(&mut self, exists: IfExists) -> Result<Statement> {
        let name = self.name()?;
        let columns = if self.parser.parser.peek_token().token == Token::LParen { self.columns()? } else { Vec::new() };
        self.expect("as")?;
        let start = self.parser.parser.peek_token().span.start;
        self.query()?;
        let end = self.parser.parser.get_current_token().span.end;
        let text = self.sql[byte_offset(self.sql, start)..byte_offset(self.sql, end)].trim().to_string();
        Ok(Statement::CreateView { name, definition: ViewDefinition { columns, text }, exists })
    }

    fn columns(&mut self) -> Result<Vec<String>> {
        let parser = &mut self.parser.parser;
        parser.expect_token(&Token::LParen).map_err(parser_error)?;
        let columns = parser.parse_comma_separated(|parser| parser.parse_identifier()).map_err(parser_error)?;
        parser.expect_token(&Token::RParen).map_err(parser_error)?;
        Ok(columns.into_iter().map(normalize).collect())
    }

    fn alter_catalog(&mut self) -> Result<Statement> {
        self.skip(2);
        let name = self.identifier()?;
        self.expect("set")?;
        Ok(Statement::AlterCatalog { name, options: self.options()? })
    }

    fn drop_catalog(&mut self) -> Result<Statement> {
        self.skip(2);
        let if_exists = self.if_exists()?;
        let name = self.identifier()?;
        Ok(Statement::DropCatalog { name, if_exists, cascade: self.cascade() })
    }

    fn drop(&mut self, kind: &str) -> Result<Statement> {
        self.skip(2);
        let if_exists = self.if_exists()?;
        let name = self.name()?;
        let cascade = self.cascade();
        Ok(match kind {
            "view" => Statement::DropView { name, if_exists, cascade },
            "topic" => Statement::DropTopic { name, if_exists, cascade },
            _ => Statement::DropTable { name, if_exists, cascade },
        })
    }

    fn if_exists(&mut self) -> Result<bool> {
        if !self.accept("if") {
            return Ok(false);
        }
        self.expect("exists")?;
        Ok(true)
    }

    fn cascade(&mut self) -> bool {
        self.accept("cascade") || {
            self.accept("restrict");
            false
        }
    }

    fn show_schemas(&mut self) -> Result<Statement> {
        self.skip(2);
        let catalog = if self.accept("from") || self.accept("in") { Some(self.identifier()?) } else { None };
        Ok(Statement::ShowSchemas { catalog })
    }

    fn show_tables(&mut self) -> Result<Statement> {
        self.skip(2);
        let (mut catalog, mut schema) = (None, None);
        if self.accept("from") || self.accept("in") {
            let mut parts = self.name()?.0.into_iter();
            catalog = parts.next();
            schema = parts.next();
            if parts.next().is_some() {
                return Err(self.unexpected("a catalog or catalog.schema"));
            }
        }
        let pattern = if self.accept("like") { Some(self.value()?) } else { None };
        Ok(Statement::ShowTables { catalog, schema, pattern })
    }

    fn set(&mut self) -> Result<Statement> {
        self.skip(1);
        if self.words(4) == ["session", "characteristics", "as", "transaction"] {
            self.skip(4);
            return self.isolation("default_transaction_isolation");
        }
        if self.words(3) == ["transaction", "isolation", "level"] {
            self.skip(1);
            return self.isolation("transaction_isolation");
        }
        let _ = self.accept("session") || self.accept("local");
        let name = self.setting_name()?;
        if !self.parser.parser.consume_token(&Token::Eq) {
            self.expect_any(&["to", "="])?;
        }
        Ok(Statement::Set { name, value: self.value()? })
    }

    /// `ISOLATION LEVEL READ COMMITTED`, as the standard sets a level.
    fn isolation(&mut self, setting: &str) -> Result<Statement> {
        self.expect("isolation")?;
        self.expect("level")?;
        let levels = ["serializable", "repeatable", "read", "committed", "uncommitted"];
        let mut words = Vec::new();
        while let Some(word) = levels.iter().find(|level| self.words(1) == [**level]) {
            self.skip(1);
            words.push(*word);
        }
        if words.is_empty() {
            self.expect_any(&["serializable"])?;
        }
        Ok(Statement::Set { name: setting.to_string(), value: words.join(" ") })
    }

    /// A setting's dotted name: `pushdown`, `datafusion.execution.batch_size`; `TIME ZONE` is `timezone`, and
    /// `TRANSACTION ISOLATION LEVEL` is `transaction_isolation`.
    fn setting_name(&mut self) -> Result<String> {
        if self.accept("time") {
            self.expect("zone")?;
            return Ok("timezone".to_string());
        }
        if self.words(3) == ["transaction", "isolation", "level"] {
            self.skip(3);
            return Ok("transaction_isolation".to_string());
        }
        Ok(self.name_of_any_length()?.join(".").to_lowercase())
    }

    fn explain(&mut self) -> Result<Statement> {
        self.skip(1);
        let how = if self.parser.parser.peek_token().token == Token::LParen && self.is_explain_option() {
            let options = self.parser.parser.parse_utility_options().map_err(parser_error)?;
            Explaining::of_options(&options)?
        } else {
            let (analyze, verbose) = (self.accept("analyze"), self.accept("verbose"));
            let json = self.accept("format") && explain::is_json(&self.value()?)?;
            Explaining { analyze, verbose, json }
        };
        match self.query()? {
            Statement::Query(query) => Ok(Statement::Explain { query, how }),
            _ => Err(Error::fix(SqlState::NOT_SUPPORTED, "EXPLAIN of a statement that writes is not supported")
                .with_hint("explain the query that it reads")),
        }
    }

    /// Whether the parenthesis holds options. A query may begin with one, too.
    fn is_explain_option(&self) -> bool {
        let [_, first] = &self.words(2)[..] else { return false };
        !["", "select", "with", "values", "table"].contains(&first.as_str())
    }

    fn query(&mut self) -> Result<Statement> {
        as_statement(self.parser.parse_statement().map_err(syntax_error)?)
    }

    /// `(name = 'value', ...)`; a value may be a string, a number or a bare word.
    fn options(&mut self) -> Result<Vec<(String, String)>> {
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        let mut options = Vec::new();
        while !self.parser.parser.consume_token(&Token::RParen) {
            if !options.is_empty() {
                self.parser.parser.expect_token(&Token::Comma).map_err(parser_error)?;
            }
            let name = self.name_of_any_length()?.join(".");
            self.parser.parser.expect_token(&Token::Eq).map_err(parser_error)?;
            options.push((name, self.value()?));
        }
        Ok(options)
    }

    fn value(&mut self) -> Result<String> {
        let sign = if self.parser.parser.consume_token(&Token::Minus) { "-" } else { "" };
        match self.parser.parser.next_token().token {
            Token::Number(number, _) => Ok(format!("{sign}{number}")),
            Token::SingleQuotedString(text) if sign.is_empty() => Ok(text),
            Token::Word(word) if sign.is_empty() => Ok(word.value),
            _ => {
                self.parser.parser.prev_token();
                Err(self.unexpected("a value"))
            }
        }
    }

    fn name(&mut self) -> Result<Name> {
        let parts = self.name_of_any_length()?;
        if parts.len() > 3 {
            return Err(Error::fix(SqlState::SYNTAX, format!("\"{}\" has more than three parts", parts.join(".")))
                .with_hint("write catalog.schema.table"));
        }
        Ok(Name(parts))
    }

    fn name_of_any_length(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.identifier()?];
        while self.parser.parser.consume_token(&Token::Period) {
            parts.push(self.identifier()?);
        }
        Ok(parts)
    }

    fn identifier(&mut self) -> Result<String> {
        self.parser.parser.parse_identifier().map(normalize).map_err(parser_error)
    }

    /// The next `n` tokens, lower case; what is not an unquoted word is empty.
    fn words(&self, n: usize) -> Vec<String> {
        (0..n)
            .map(|at| match self.parser.parser.peek_nth_token(at).token {
                Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
                _ => String::new(),
            })
            .collect()
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.words(1)[0] == word;
        if found {
            self.skip(1);
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        self.expect_any(&[word])
    }

    fn expect_any(&mut self, words: &[&str]) -> Result<()> {
        if words.iter().any(|word| self.accept(word)) {
            return Ok(());
        }
        Err(self.unexpected(&words.join(" or ").to_uppercase()))
    }

    fn skip(&mut self, tokens: usize) {
        for _ in 0..tokens {
            self.parser.parser.next_token();
        }
    }

    fn end(&mut self) -> Result<()> {
        while self.parser.parser.consume_token(&Token::SemiColon) {}
        match self.parser.parser.peek_token().token {
            Token::EOF => Ok(()),
            _ => Err(self.unexpected("the end of the statement")),
        }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = self.parser.parser.peek_token();
        let place = found.span.start;
        let found = if found.token == Token::EOF { "the end".to_string() } else { format!("\"{}\"", found.token) };
        let message = format!("syntax error: expected {wanted}, found {found}");
        if place.line == 0 {
            return Error::fix(SqlState::SYNTAX, message);
        }
        Error::fix(SqlState::SYNTAX, message).with_detail(format!("at line {}, column {}", place.line, place.column))
    }
}

/// What is neither a query nor a write is refused, with what to use instead.
fn as_statement(statement: DataFusionStatement) -> Result<Statement> {
    let refused = |what: &str, hint: &str| {
        Err(Error::fix(SqlState::NOT_SUPPORTED, format!("{what} is not supported")).with_hint(hint))
    };
    let DataFusionStatement::Statement(statement) = statement else {
        return match statement {
            DataFusionStatement::CreateExternalTable(_) => refused(
                "CREATE EXTERNAL TABLE",
                "attach the files: CREATE CATALOG name USING object_store WITH (location = '...')",
            ),
            DataFusionStatement::CopyTo(_) => refused("COPY TO", "write the result with polder sql --format csv"),
            _ => refused("this statement", "docs/reference/sql.md lists the statements"),
        };
    };
    match *statement {
        ast::Statement::Query(_) => Ok(Statement::Query(Query(DataFusionStatement::Statement(statement)))),
        ast::Statement::Insert(insert) => table::insert(insert),
        ast::Statement::Update(update) => table::update(update),
        ast::Statement::Delete(delete) => table::delete(delete),
        ast::Statement::Truncate(truncate) => table::truncate(truncate),
        ast::Statement::StartTransaction { modes, statements, exception, .. }
            if statements.is_empty() && exception.is_none() =>
        {
            // Whatever level is asked for: there is but one, which is the strongest.
            let read_only = modes.contains(&ast::TransactionMode::AccessMode(ast::TransactionAccessMode::ReadOnly));
            Ok(Statement::Begin { read_only })
        }
        ast::Statement::Commit { chain: false, .. } => Ok(Statement::Commit),
        ast::Statement::Rollback { chain: false, savepoint: None } => Ok(Statement::Rollback),
        ast::Statement::Savepoint { .. }
        | ast::Statement::Rollback { .. }
        | ast::Statement::ReleaseSavepoint { .. } => {
            refused("a savepoint", "COMMIT or ROLLBACK the transaction as a whole")
        }
        ast::Statement::Merge(merge) => merge::merge(merge),
        _ => refused("this statement", "docs/reference/sql.md lists the statements"),
    }
}

fn normalize(identifier: ast::Ident) -> String {
    match identifier.quote_style {
        Some(_) => identifier.value,
        None => identifier.value.to_lowercase(),
    }
}

/// sqlparser counts lines and characters from 1.
fn byte_offset(sql: &str, place: Location) -> usize {
    let line_start: usize = sql.split_inclusive('\n').take(place.line.saturating_sub(1) as usize).map(str::len).sum();
    let column = place.column.saturating_sub(1) as usize;
    sql[line_start..].char_indices().nth(column).map_or(sql.len(), |(offset, _)| line_start + offset)
}

fn parser_error(error: ParserError) -> Error {
    syntax_error(DataFusionError::SQL(Box::new(error), None))
}

fn syntax_error(error: DataFusionError) -> Error {
    let text = match error.find_root() {
        DataFusionError::SQL(inner, _) => match &**inner {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => {
                return Error::fix(SqlState::SYNTAX, "the statement is nested too deeply")
                    .with_hint(format!("at most {RECURSION_LIMIT} levels are read"));
            }
        },
        _ => return Error::from_datafusion(error),
    };
    match text.split_once(" at Line: ") {
        Some((what, place)) => Error::fix(SqlState::SYNTAX, format!("syntax error: {}", lower_first(what)))
            .with_detail(format!("at line {}", place.replace("Column:", "column"))),
        None => Error::fix(SqlState::SYNTAX, format!("syntax error: {}", lower_first(&text))),
    }
}

/// A word that begins a sentence, not one that is written in capitals.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), second) if second.is_none_or(|second| !second.is_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_string(),
    }
}
