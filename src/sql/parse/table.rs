//! The statements that define and write tables and topics.

use super::{Reader, byte_offset, normalize, parser_error};
use crate::sql::statement::ReferenceSpec;
use crate::sql::statement::{
    CheckSpec, ColumnSpec, ConflictUpdate, CopySource, Identity, IfExists, Name, OnConflict, Query, Statement,
    TableChange, TableSpec, Which,
};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use polder_catalog::{Error, Result, SqlState};

impl Reader<'_> {
    /// `CREATE TOPIC`, after its head.
    pub(super) fn create_topic(&mut self, exists: IfExists) -> Result<Statement> {
        let name = self.name()?;
        let TableSpec { columns, key, unique, checks, references, .. } = self.table_spec()?;
        let has_rules = |column: &ColumnSpec| column.default.is_some() || column.identity.is_some();
        if !unique.is_empty() || !checks.is_empty() || !references.is_empty() || columns.iter().any(has_rules) {
            return Err(unsupported("a default, an identity, UNIQUE or CHECK of a topic"));
        }
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
        let mut table = if is_listed { self.table_spec()? } else { TableSpec::default() };
        table.options = self.with_options()?;
        let query = if self.accept("as") { Some(self.whole_query()?) } else { None };
        if query.is_none() && table.columns.is_empty() {
            return Err(self.unexpected("columns or AS"));
        }
        Ok(Statement::CreateTable { name, table, query, exists })
    }

    /// `CREATE INDEX [IF NOT EXISTS] name ON table (columns)`, with its head.
    pub(super) fn create_index(&mut self) -> Result<Statement> {
        self.skip(2);
        let mut exists = IfExists::Refuse;
        if self.accept("if") {
            self.expect("not")?;
            self.expect("exists")?;
            exists = IfExists::Keep;
        }
        let name = self.identifier()?;
        self.expect("on")?;
        let table = self.name()?;
        if self.accept("using") {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, "CREATE INDEX ... USING is not supported")
                .with_hint("an index is ordered; for full-text search make a table in a search catalog"));
        }
        Ok(Statement::CreateIndex { name, table, columns: self.columns()?, exists })
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

    /// `(name type ..., PRIMARY KEY (names), UNIQUE (names), CHECK (condition))`.
    fn table_spec(&mut self) -> Result<TableSpec> {
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        let mut table = TableSpec::default();
        loop {
            self.table_item(&mut table)?;
            if self.parser.parser.consume_token(&Token::RParen) {
                break;
            }
            self.parser.parser.expect_token(&Token::Comma).map_err(parser_error)?;
        }
        let TableSpec { columns, key, unique, references, .. } = &mut table;
        let referring = references.iter().flat_map(|known| &known.columns);
        let named = key.iter().chain(unique.iter().flatten()).chain(referring);
        if let Some(name) = named.clone().find(|name| !columns.iter().any(|column| column.name == **name)) {
            return Err(Error::fix(SqlState::NO_COLUMN, format!("column \"{name}\" of the key does not exist")));
        }
        // NULL equals nothing, not even itself, so it is no key.
        columns.iter_mut().filter(|column| key.contains(&column.name)).for_each(|column| column.not_null = true);
        Ok(table)
    }

    /// A column, or a constraint of the table.
    fn table_item(&mut self, table: &mut TableSpec) -> Result<()> {
        let name = if self.accept("constraint") { Some(self.identifier()?) } else { None };
        let words = self.words(2);
        match [words[0].as_str(), words[1].as_str()] {
            ["primary", "key"] => {
                self.skip(2);
                let is_listed = self.parser.parser.peek_token().token == Token::LParen;
                self.one_key(&mut table.key, is_listed)
            }
            ["unique", _] => {
                self.skip(1);
                table.unique.push(self.columns()?);
                Ok(())
            }
            ["check", _] => {
                table.checks.push(self.check(name)?);
                Ok(())
            }
            ["foreign", "key"] => {
                self.skip(2);
                let columns = self.columns()?;
                table.references.push(self.references(columns)?);
                Ok(())
            }
            _ if name.is_some() => Err(self.unexpected("PRIMARY KEY, UNIQUE, CHECK or FOREIGN KEY")),
            _ => {
                let (column, is_key) = self.column_spec()?;
                self.add_column(table, column, is_key)
            }
        }
    }

    fn add_column(&self, table: &mut TableSpec, column: ColumnSpec, is_key: bool) -> Result<()> {
        if table.columns.iter().any(|known| known.name == column.name) {
            let message = format!("column \"{}\" is named twice", column.name);
            return Err(Error::fix(SqlState::DUPLICATE_COLUMN, message));
        }
        if is_key {
            no_second_key(&table.key)?;
            table.key.push(column.name.clone());
        }
        if column.unique {
            table.unique.push(vec![column.name.clone()]);
        }
        table.checks.extend(column.checks.iter().cloned());
        table.references.extend(column.references.iter().cloned());
        table.columns.push(column);
        Ok(())
    }

    fn one_key(&mut self, key: &mut Vec<String>, is_listed: bool) -> Result<()> {
        if !is_listed {
            return Err(self.unexpected("the columns of the key"));
        }
        no_second_key(key)?;
        *key = self.columns()?;
        Ok(())
    }

    /// `REFERENCES table [(columns)] [ON DELETE | UPDATE NO ACTION | RESTRICT]`.
    fn references(&mut self, columns: Vec<String>) -> Result<ReferenceSpec> {
        self.expect("references")?;
        let table = self.name()?;
        let is_listed = self.parser.parser.peek_token().token == Token::LParen;
        let key = if is_listed { self.columns()? } else { Vec::new() };
        while self.accept("on") {
            self.expect_any(&["delete", "update"])?;
            if self.words(2) == ["no", "action"] {
                self.skip(2);
            } else if !self.accept("restrict") {
                return Err(unsupported("an action of a foreign key"));
            }
        }
        Ok(ReferenceSpec { columns, table, key })
    }

    /// `CHECK (condition)`.
    fn check(&mut self, name: Option<String>) -> Result<CheckSpec> {
        self.expect("check")?;
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        let condition = self.words_of(|parser| parser.parse_expr())?;
        self.parser.parser.expect_token(&Token::RParen).map_err(parser_error)?;
        Ok(CheckSpec { name, condition })
    }

    /// What is parsed, in the words of its author.
    fn words_of(&mut self, parse: impl FnOnce(&mut Parser<'_>) -> Result<ast::Expr, ParserError>) -> Result<String> {
        let start = self.parser.parser.peek_token().span.start;
        parse(&mut self.parser.parser).map_err(parser_error)?;
        let end = self.parser.parser.get_current_token().span.end;
        Ok(self.sql[byte_offset(self.sql, start)..byte_offset(self.sql, end)].trim().to_string())
    }

    /// A column, and whether it is the primary key by itself.
    fn column_spec(&mut self) -> Result<(ColumnSpec, bool)> {
        let name = self.identifier()?;
        let sql_type = self.parser.parser.parse_data_type().map_err(parser_error)?;
        let mut column = ColumnSpec::new(name, sql_type);
        let mut is_key = false;
        loop {
            let name = if self.accept("constraint") { Some(self.identifier()?) } else { None };
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
                ["unique", _] => {
                    self.skip(1);
                    column.unique = true;
                }
                ["check", _] => column.checks.push(self.check(name)?),
                ["default", _] => {
                    self.skip(1);
                    // NOT NULL behind it is the column's own.
                    let above_is = PostgreSqlDialect {}.prec_value(Precedence::Is);
                    column.default = Some(self.words_of(|parser| parser.parse_subexpr(above_is))?);
                }
                ["generated", _] => column.identity = Some(self.identity()?),
                ["references", _] => {
                    let columns = vec![column.name.clone()];
                    column.references = Some(self.references(columns)?);
                }
                ["with", _] => {
                    self.skip(1);
                    column.options = self.options()?;
                }
                _ if name.is_some() => return Err(self.unexpected("a constraint")),
                _ => break,
            }
        }
        if column.default.is_some() && column.identity.is_some() {
            return Err(Error::fix(
                SqlState::SYNTAX,
                format!("column \"{}\" has a default and an identity", column.name),
            ));
        }
        column.not_null |= is_key || column.identity.is_some();
        Ok((column, is_key))
    }

    /// `GENERATED ALWAYS | BY DEFAULT AS IDENTITY`.
    fn identity(&mut self) -> Result<Identity> {
        self.skip(1);
        let identity = if self.accept("always") {
            Identity::Always
        } else {
            self.expect("by")?;
            self.expect("default")?;
            Identity::ByDefault
        };
        self.expect("as")?;
        self.expect("identity")?;
        Ok(identity)
    }
}

fn no_second_key(key: &[String]) -> Result<()> {
    if key.is_empty() {
        return Ok(());
    }
    Err(Error::fix(SqlState::SYNTAX, "a table has one primary key")
        .with_hint("name several columns in one: PRIMARY KEY (a, b)"))
}

/// `INSERT INTO table [(columns)] query [ON CONFLICT ...] [RETURNING ...]`.
pub(super) fn insert(insert: ast::Insert) -> Result<Statement> {
    let ast::TableObject::TableName(table) = &insert.table else {
        return Err(unsupported("INSERT into a function"));
    };
    let refused = [
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
    let conflict = insert.on.map(on_conflict).transpose()?.map(Box::new);
    Ok(Statement::Insert { table, columns, query, conflict, returning: insert.returning.unwrap_or_default() })
}

fn on_conflict(on: ast::OnInsert) -> Result<OnConflict> {
    let ast::OnInsert::OnConflict(on) = on else { return Err(unsupported("ON DUPLICATE KEY")) };
    let columns = match on.conflict_target {
        None => Vec::new(),
        Some(ast::ConflictTarget::Columns(columns)) => columns.into_iter().map(normalize).collect(),
        Some(ast::ConflictTarget::OnConstraint(_)) => return Err(unsupported("ON CONFLICT ON CONSTRAINT")),
    };
    let update = match on.action {
        ast::OnConflictAction::DoNothing => None,
        ast::OnConflictAction::DoUpdate(_) if columns.is_empty() => {
            return Err(Error::fix(SqlState::SYNTAX, "ON CONFLICT DO UPDATE names no columns")
                .with_hint("name those of the key: ON CONFLICT (id) DO UPDATE SET ..."));
        }
        ast::OnConflictAction::DoUpdate(update) => {
            Some(ConflictUpdate { assignments: assignments(update.assignments)?, condition: update.selection })
        }
    };
    Ok(OnConflict { columns, update })
}

/// `UPDATE table [AS name] SET column = expression, ... [FROM others] [WHERE condition] [RETURNING ...]`.
pub(super) fn update(update: ast::Update) -> Result<Statement> {
    refuse(&[
        (!update.table.joins.is_empty(), "UPDATE of a join"),
        (!update.order_by.is_empty() || update.limit.is_some(), "this form of UPDATE"),
    ])?;
    let others = match update.from {
        None => Vec::new(),
        Some(ast::UpdateTableFromKind::BeforeSet(from) | ast::UpdateTableFromKind::AfterSet(from)) => from,
    };
    let (table, alias) = table_factor(&update.table.relation)?;
    Ok(Statement::Update {
        table,
        assignments: assignments(update.assignments)?,
        which: Box::new(Which { alias, others, condition: update.selection }),
        returning: update.returning.unwrap_or_default(),
    })
}

pub(super) fn assignments(assignments: Vec<ast::Assignment>) -> Result<Vec<(String, ast::Expr)>> {
    let one = |assignment: ast::Assignment| match assignment.target {
        ast::AssignmentTarget::ColumnName(target) => Ok((column(&target)?, assignment.value)),
        ast::AssignmentTarget::Tuple(_) => Err(unsupported("assigning to several columns at once")),
    };
    assignments.into_iter().map(one).collect()
}

/// `DELETE FROM table [AS name] [USING others] [WHERE condition] [RETURNING ...]`.
pub(super) fn delete(delete: ast::Delete) -> Result<Statement> {
    refuse(&[(
        !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some(),
        "this form of DELETE",
    )])?;
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
    match &from[..] {
        [ast::TableWithJoins { relation, joins }] if joins.is_empty() => {
            let (table, alias) = table_factor(relation)?;
            let others = delete.using.unwrap_or_default();
            Ok(Statement::Delete {
                table,
                which: Box::new(Which { alias, others, condition: delete.selection }),
                returning: delete.returning.unwrap_or_default(),
            })
        }
        _ => Err(unsupported("DELETE from several tables")),
    }
}

/// `TRUNCATE [TABLE] table`.
pub(super) fn truncate(truncate: ast::Truncate) -> Result<Statement> {
    match &truncate.table_names[..] {
        [target] if truncate.partitions.is_none() => Ok(Statement::Truncate { table: name(&target.name)? }),
        _ => Err(unsupported("TRUNCATE of several tables or of partitions")),
    }
}

/// A table, and what it is called in the statement.
fn table_factor(factor: &ast::TableFactor) -> Result<(Name, Option<String>)> {
    match factor {
        ast::TableFactor::Table { name: table, alias, args: None, .. } => {
            Ok((name(table)?, alias.as_ref().map(|alias| normalize(alias.name.clone()))))
        }
        _ => Err(unsupported("writing to something that is not a table")),
    }
}

pub(super) fn name(table: &ast::ObjectName) -> Result<Name> {
    let parts = table.0.iter().map(|part| part.as_ident().cloned().map(normalize)).collect::<Option<Vec<_>>>();
    parts.filter(|parts| parts.len() <= 3).map(Name).ok_or_else(|| {
        Error::fix(SqlState::SYNTAX, format!("\"{table}\" is no name of a table"))
            .with_hint("write catalog.schema.table")
    })
}

pub(super) fn column(target: &ast::ObjectName) -> Result<String> {
    match &target.0[..] {
        [part] => part.as_ident().cloned().map(normalize),
        _ => None,
    }
    .ok_or_else(|| Error::fix(SqlState::SYNTAX, format!("\"{target}\" is no name of a column of the table")))
}

pub(super) fn refuse(features: &[(bool, &str)]) -> Result<()> {
    features.iter().find(|(used, _)| *used).map_or(Ok(()), |(_, what)| Err(unsupported(what)))
}

pub(super) fn unsupported(what: &str) -> Error {
    Error::fix(SqlState::NOT_SUPPORTED, format!("{what} is not supported"))
        .with_hint("docs/reference/sql.md lists the statements")
}
