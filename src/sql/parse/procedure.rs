//! CREATE PROCEDURE and CALL, and the statements that only a procedure has.

use super::{Reader, parse, parser_error, syntax_error};
use crate::sql::split::Splitter;
use crate::sql::statement::{IfExists, ProcedureDefinition, Statement, Step};
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use polder_catalog::{Error, Result, SqlState};

impl Reader<'_> {
    /// `name (parameter type, ...) [LANGUAGE SQL] AS $$ steps $$`.
    pub(super) fn create_procedure(&mut self, exists: IfExists) -> Result<Statement> {
        let name = self.name()?;
        let parameters = self.parameters()?;
        if self.accept("language") {
            self.expect("sql")?;
        }
        self.expect("as")?;
        let body = match self.parser.parser.next_token().token {
            Token::DollarQuotedString(body) => body.value,
            Token::SingleQuotedString(body) => body,
            _ => {
                self.parser.parser.prev_token();
                return Err(self.unexpected("a text, $$ ... $$"));
            }
        };
        let parameters = parameters.into_iter().map(|(name, of)| (name, of.to_string())).collect();
        let definition = ProcedureDefinition { parameters, body };
        // What cannot be read is told now.
        steps(&definition)?;
        Ok(Statement::CreateProcedure { name, definition, exists })
    }

    fn parameters(&mut self) -> Result<Vec<(String, ast::DataType)>> {
        let mut parameters: Vec<(String, ast::DataType)> = Vec::new();
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        while !self.parser.parser.consume_token(&Token::RParen) {
            if !parameters.is_empty() {
                self.parser.parser.expect_token(&Token::Comma).map_err(parser_error)?;
            }
            let name = self.identifier()?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Error::fix(SqlState::SYNTAX, format!("parameter \"{name}\" is there twice")));
            }
            parameters.push((name, self.parser.parser.parse_data_type().map_err(parser_error)?));
        }
        Ok(parameters)
    }

    /// `CALL name(expression, ...)`.
    pub(super) fn call(&mut self) -> Result<Statement> {
        self.skip(1);
        let name = self.name()?;
        let mut arguments = Vec::new();
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        while !self.parser.parser.consume_token(&Token::RParen) {
            if !arguments.is_empty() {
                self.parser.parser.expect_token(&Token::Comma).map_err(parser_error)?;
            }
            arguments.push(self.parser.parser.parse_expr().map_err(parser_error)?);
        }
        Ok(Statement::Call { name, arguments })
    }

    /// `ASSERT condition [, 'message']`.
    fn assert(&mut self) -> Result<Step> {
        self.expect("assert")?;
        let condition = self.parser.parser.parse_expr().map_err(parser_error)?;
        let message = match self.parser.parser.consume_token(&Token::Comma) {
            true => Some(self.value()?),
            false => None,
        };
        self.end()?;
        Ok(Step::Assert { condition, message })
    }

    /// `EMIT [WHEN condition] statement`.
    fn emit(&mut self) -> Result<Step> {
        self.expect("emit")?;
        let when = match self.accept("when") {
            true => Some(self.parser.parser.parse_expr().map_err(parser_error)?),
            false => None,
        };
        let start = super::byte_offset(self.sql, self.parser.parser.peek_token().span.start);
        let text = self.sql[start..].trim().trim_end_matches(';').to_string();
        written(parse(&text)?)?;
        Ok(Step::Emit { when, text })
    }
}

/// The steps of a procedure.
///
/// # Errors
/// 42601 if one cannot be read, 0A000 if it is none of a procedure.
pub(crate) fn steps(definition: &ProcedureDefinition) -> Result<Vec<Step>> {
    let mut splitter = Splitter::new();
    splitter.push(&definition.body);
    let mut steps = Vec::new();
    while let Some(text) = splitter.next_statement().or_else(|| splitter.finish()) {
        steps.push(step(&text)?);
    }
    match steps.is_empty() {
        true => Err(Error::fix(SqlState::SYNTAX, "a procedure without a statement")),
        false => Ok(steps),
    }
}

fn step(text: &str) -> Result<Step> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| parser_error(error.into()))?;
    let parser =
        DFParserBuilder::new(tokens).with_dialect(&dialect).with_recursion_limit(super::RECURSION_LIMIT).build();
    let mut reader = Reader { parser: parser.map_err(syntax_error)?, sql: text };
    match reader.words(1)[0].as_str() {
        "assert" => reader.assert(),
        "emit" => reader.emit(),
        _ => match written(parse(text)?)? {
            Statement::Call { .. } => {
                Err(Error::fix(SqlState::NOT_SUPPORTED, "a procedure cannot wait for another one")
                    .with_hint("EMIT CALL ...: it is called once this one is decided"))
            }
            statement => Ok(Step::Write(Box::new(statement))),
        },
    }
}

/// Only what changes rows can be a step, or an effect.
fn written(statement: Statement) -> Result<Statement> {
    match statement {
        Statement::Insert { .. }
        | Statement::Update { .. }
        | Statement::Delete { .. }
        | Statement::Merge { .. }
        | Statement::Call { .. } => Ok(statement),
        _ => Err(Error::fix(SqlState::NOT_SUPPORTED, "a procedure has ASSERT, INSERT, UPDATE, DELETE, MERGE and EMIT")
            .with_hint("a value that it needs is its argument, or a query in parentheses")),
    }
}
