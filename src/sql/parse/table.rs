//! The statements that define and write tables and topics.

use super::{Reader, normalize, parser_error};
use crate::sql::statement::{ColumnSpec, CopySource, IfExists, Name, Query, Statement, TableChange, TableSpec};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use polder_catalog::{Error, Result, SqlState};

impl Reader<'_> {
    /// `CREATE TOPIC`, after its head.
    pub(super) fn create_topic(&mut self, exists: IfExists) -> Result<Statement> {
        let name = self.name()?;
        let (columns, key) = self.column_specs()?;
        if !key.is_empty() {
            return Err(Error::fix(SqlState::SYNTAX, "a topic has no primary key: it keeps every record")
                .with_hint("name the column that records are spread by: WITH (key = 'column')"));
        }
        let options = self.with_options()?;
        Ok(Statement::CreateTopic { name, columns, options, exists })
    }

    /// `CREATE TABLE`, after its head.
    pub(super) fn create_table(&mut self, exists: IfExists) -> Result<Statement> {
        let name = self.name()?;
        let is_listed = self.parser.parser.peek_token().token == Token::LParen;
        let (columns, key) = if is_listed { self.column_specs()? } else { Default::default() };
        let options = self.with_options()?;
        let query = if self.accept("as") { Some(self.whole_query()?) } else { None };
        if query.is_none() && columns.is_empty() {
            return Err(self.unexpected("columns or AS"));
        }
        Ok(Statement::CreateTable { name, table: TableSpec { columns, key, options }, query, exists })
    }

    /// `ALTER TABLE`, with its head.
    pub(super) fn alter_table(&mut self) -> Result<Statement> {
        self.skip(2);
        let name = self.name()?;
        let change = if self.accept("add") {
            self.accept("column");
            TableChange::AddColumn(self.column_spec()?.0)
        } else if self.accept("drop") {
            self.accept("column");
            TableChange::DropColumn(self.identifier()?)
        } else if self.accept("rename") {
            self.rename()?
        } else {
            return Err(self.unexpected("ADD, DROP or RENAME"));
        };
        Ok(Statement::AlterTable { name, change })
    }

    fn rename(&mut self) -> Result<TableChange> {
        if self.accept("to") {
            return Ok(TableChange::RenameTable(self.identifier()?));
        }
        self.accept("column");
        let from = self.identifier()?;
        self.expect("to")?;
        Ok(TableChange::RenameColumn { from, to: self.identifier()? })
    }

    /// `COPY table [(columns)] FROM 'file' | STDIN [WITH (...)]`, with its head.
    pub(super) fn copy(&mut self) -> Result<Statement> {
        self.skip(1);
        let table = self.name()?;
        let columns = if self.parser.parser.peek_token().token == Token::LParen { self.columns()? } else { Vec::new() };
        if !self.accept("from") {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, "only COPY ... FROM is supported")
                .with_hint("write a result with polder sql --format csv"));
        }
        let from = match self.parser.parser.peek_token().token {
            Token::SingleQuotedString(path) => {
                self.skip(1);
                CopySource::File(path)
            }
            _ => {
                self.expect("stdin")?;
                CopySource::Input
            }
        };
        let options = if self.accept("with") || self.parser.parser.peek_token().token == Token::LParen {
            self.copy_options()?
        } else {
            Vec::new()
        };
        Ok(Statement::Copy { table, columns, from, options })
    }

    /// `(format csv, header true)` as PostgreSQL writes it, or with equal signs.
    fn copy_options(&mut self) -> Result<Vec<(String, String)>> {
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        let mut options = Vec::new();
        while !self.parser.parser.consume_token(&Token::RParen) {
            if !options.is_empty() {
                self.parser.parser.expect_token(&Token::Comma).map_err(parser_error)?;
            }
            let name = self.identifier()?;
            let _ = self.parser.parser.consume_token(&Token::Eq);
            let value = match self.parser.parser.peek_token().token {
                Token::Comma | Token::RParen => "true".to_string(),
                _ => self.value()?,
            };
            options.push((name, value));
        }
        Ok(options)
    }

    fn with_options(&mut self) -> Result<Vec<(String, String)>> {
        if self.accept("with") { self.options() } else { Ok(Vec::new()) }
    }

    fn whole_query(&mut self) -> Result<Query> {
        match self.query()? {
            Statement::Query(query) => Ok(query),
            _ => Err(self.unexpected("a query")),
        }
    }

    /// `(name type ..., PRIMARY KEY (names))`: the columns, and the names of the key.
    fn column_specs(&mut self) -> Result<(Vec<ColumnSpec>, Vec<String>)> {
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        let (mut columns, mut key) = (Vec::<ColumnSpec>::new(), Vec::new());
        loop {
            if self.words(2) == ["primary", "key"] {
                self.skip(2);
                self.one_key(&mut key, self.parser.parser.peek_token().token == Token::LParen)?;
            } else {
                let (column, is_key) = self.column_spec()?;
                if columns.iter().any(|known| known.name == column.name) {
                    let message = format!("column \"{}\" is named twice", column.name);
                    return Err(Error::fix(SqlState::DUPLICATE_COLUMN, message));
                }
                if is_key {
                    no_second_key(&key)?;
                    key.push(column.name.clone());
                }
                columns.push(column);
            }
            if self.parser.parser.consume_token(&Token::RParen) {
                break;
            }
            self.parser.parser.expect_token(&Token::Comma).map_err(parser_error)?;
        }
        let unknown = key.iter().find(|name| !columns.iter().any(|column| column.name == **name));
        if let Some(name) = unknown {
            return Err(Error::fix(SqlState::NO_COLUMN, format!("column \"{name}\" of the key does not exist")));
        }
        // NULL equals nothing, not even itself, so it is no key.
        columns.iter_mut().filter(|column| key.contains(&column.name)).for_each(|column| column.not_null = true);
        Ok((columns, key))
    }

    fn one_key(&mut self, key: &mut Vec<String>, is_listed: bool) -> Result<()> {
        if !is_listed {
            return Err(self.unexpected("the columns of the key"));
        }
        no_second_key(key)?;
        *key = self.columns()?;
        Ok(())
    }

    /// A column, and whether it is the primary key by itself.
    fn column_spec(&mut self) -> Result<(ColumnSpec, bool)> {
        let name = self.identifier()?;
        let sql_type = self.parser.parser.parse_data_type().map_err(parser_error)?;
        let mut column = ColumnSpec { name, sql_type, not_null: false, options: Vec::new() };
        let mut is_key = false;
        loop {
            match &self.words(2).iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["not", "null"] => {
                    self.skip(2);
                    column.not_null = true;
                }
                ["null", _] => self.skip(1),
                ["primary", "key"] => {
                    self.skip(2);
                    is_key = true;
                }
                ["with", _] => {
                    self.skip(1);
                    column.options = self.options()?;
                }
                _ => return Ok((ColumnSpec { not_null: column.not_null || is_key, ..column }, is_key)),
            }
        }
    }
}

fn no_second_key(key: &[String]) -> Result<()> {
    if key.is_empty() {
        return Ok(());
    }
    Err(Error::fix(SqlState::SYNTAX, "a table has one primary key")
        .with_hint("name several columns in one: PRIMARY KEY (a, b)"))
}

/// `INSERT INTO table [(columns)] query`.
pub(super) fn insert(insert: ast::Insert) -> Result<Statement> {
    let ast::TableObject::TableName(table) = &insert.table else {
        return Err(unsupported("INSERT into a function"));
    };
    let refused = [
        (insert.returning.is_some(), "RETURNING"),
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.overwrite, "OVERWRITE"),
        (insert.table_alias.is_some(), "an alias of the table that is written"),
        (!insert.assignments.is_empty(), "INSERT ... SET"),
    ];
    refuse(&refused)?;
    let table = name(table)?;
    let columns = insert.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    let source = insert.source.ok_or_else(|| {
        Error::fix(SqlState::NOT_SUPPORTED, "INSERT needs VALUES or a query")
            .with_hint("DEFAULT VALUES is not supported")
    })?;
    let query = Query(DataFusionStatement::Statement(Box::new(ast::Statement::Query(source))));
    Ok(Statement::Insert { table, columns, query })
}

/// `UPDATE table SET column = expression, ... [WHERE condition]`.
pub(super) fn update(update: ast::Update) -> Result<Statement> {
    refuse(&[
        (update.from.is_some(), "UPDATE ... FROM"),
        (update.returning.is_some(), "RETURNING"),
        (!update.table.joins.is_empty(), "UPDATE of a join"),
    ])?;
    let table = table_factor(&update.table.relation)?;
    let assignments = update.assignments.into_iter().map(|assignment| match assignment.target {
        ast::AssignmentTarget::ColumnName(target) => Ok((column(&target)?, assignment.value)),
        ast::AssignmentTarget::Tuple(_) => Err(unsupported("assigning to several columns at once")),
    });
    Ok(Statement::Update { table, assignments: assignments.collect::<Result<_>>()?, condition: update.selection })
}

/// `DELETE FROM table [WHERE condition]`.
pub(super) fn delete(delete: ast::Delete) -> Result<Statement> {
    refuse(&[
        (delete.using.is_some(), "DELETE ... USING"),
        (delete.returning.is_some(), "RETURNING"),
        (!delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some(), "this form of DELETE"),
    ])?;
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
    match &from[..] {
        [ast::TableWithJoins { relation, joins }] if joins.is_empty() => {
            Ok(Statement::Delete { table: table_factor(relation)?, condition: delete.selection })
        }
        _ => Err(unsupported("DELETE from several tables")),
    }
}

fn table_factor(factor: &ast::TableFactor) -> Result<Name> {
    match factor {
        ast::TableFactor::Table { name: table, alias: None, args: None, .. } => name(table),
        ast::TableFactor::Table { .. } => Err(unsupported("an alias of the table that is written")),
        _ => Err(unsupported("writing to something that is not a table")),
    }
}

fn name(table: &ast::ObjectName) -> Result<Name> {
    let parts = table.0.iter().map(|part| part.as_ident().cloned().map(normalize)).collect::<Option<Vec<_>>>();
    parts.filter(|parts| parts.len() <= 3).map(Name).ok_or_else(|| {
        Error::fix(SqlState::SYNTAX, format!("\"{table}\" is no name of a table"))
            .with_hint("write catalog.schema.table")
    })
}

fn column(target: &ast::ObjectName) -> Result<String> {
    match &target.0[..] {
        [part] => part.as_ident().cloned().map(normalize),
        _ => None,
    }
    .ok_or_else(|| Error::fix(SqlState::SYNTAX, format!("\"{target}\" is no name of a column of the table")))
}

fn refuse(features: &[(bool, &str)]) -> Result<()> {
    features.iter().find(|(used, _)| *used).map_or(Ok(()), |(_, what)| Err(unsupported(what)))
}

fn unsupported(what: &str) -> Error {
    Error::fix(SqlState::NOT_SUPPORTED, format!("{what} is not supported"))
        .with_hint("docs/reference/sql.md lists the statements")
}
