//! CREATE USER, GRANT, CREATE POLICY and what belongs to them.

use super::{Reader, parser_error};
use crate::access::Privilege;
use crate::sql::statement::{AccessStatement, GrantObject, IfExists, RoleOptions, RuleSpec, Statement};
use datafusion::sql::sqlparser::tokenizer::Token;
use polder_catalog::{Error, Result, SqlState};

impl Reader<'_> {
    /// `CREATE USER name ...`, `CREATE ROLE name ...`.
    pub(super) fn create_role(&mut self) -> Result<Statement> {
        self.skip(1);
        let login = self.accept("user");
        if !login {
            self.expect("role")?;
        }
        let exists = if self.accept("if") {
            self.expect("not")?;
            self.expect("exists")?;
            IfExists::Keep
        } else {
            IfExists::Refuse
        };
        let name = self.identifier()?;
        let mut options = self.role_options()?;
        options.login = options.login.or(Some(login));
        Ok(Statement::Access(AccessStatement::CreateRole { name, options, exists }))
    }

    /// `ALTER USER name ...`.
    pub(super) fn alter_role(&mut self) -> Result<Statement> {
        self.skip(2);
        let name = self.identifier()?;
        Ok(Statement::Access(AccessStatement::AlterRole { name, options: self.role_options()? }))
    }

    /// `DROP USER [IF EXISTS] name`.
    pub(super) fn drop_role(&mut self) -> Result<Statement> {
        self.skip(2);
        let if_exists = self.if_exists()?;
        Ok(Statement::Access(AccessStatement::DropRole { name: self.identifier()?, if_exists }))
    }

    /// `[WITH] PASSWORD '...' SUPERUSER | NOSUPERUSER | READ ONLY | READ WRITE | LOGIN | NOLOGIN | IN ROLE name, ...`
    fn role_options(&mut self) -> Result<RoleOptions> {
        self.accept("with");
        let mut options = RoleOptions::default();
        loop {
            let words = self.words(2);
            match [words[0].as_str(), words[1].as_str()] {
                ["encrypted", "password"] => self.skip(1),
                ["password", "null"] => {
                    self.skip(2);
                    options.password = Some(None);
                }
                ["password", _] => {
                    self.skip(1);
                    options.password = Some(Some(self.text("a password in single quotes")?));
                }
                ["superuser", _] => options.superuser = self.flag(1, true),
                ["nosuperuser", _] => options.superuser = self.flag(1, false),
                ["login", _] => options.login = self.flag(1, true),
                ["nologin", _] => options.login = self.flag(1, false),
                ["read", "only"] => options.read_only = self.flag(2, true),
                ["read", "write"] => options.read_only = self.flag(2, false),
                ["in", "role"] => {
                    self.skip(2);
                    options.member_of = self.names()?;
                }
                _ => return Ok(options),
            }
        }
    }

    fn flag(&mut self, words: usize, value: bool) -> Option<bool> {
        self.skip(words);
        Some(value)
    }

    /// `CREATE TOKEN name FOR user [VALID UNTIL 'time']`.
    pub(super) fn create_token(&mut self) -> Result<Statement> {
        self.skip(2);
        let name = self.identifier()?;
        self.expect("for")?;
        let user = self.identifier()?;
        let valid_until = if self.accept("valid") {
            self.expect("until")?;
            Some(self.text("a time in single quotes")?)
        } else {
            None
        };
        Ok(Statement::Access(AccessStatement::CreateToken { name, user, valid_until }))
    }

    /// `DROP TOKEN [IF EXISTS] name`.
    pub(super) fn drop_token(&mut self) -> Result<Statement> {
        self.skip(2);
        let if_exists = self.if_exists()?;
        Ok(Statement::Access(AccessStatement::DropToken { name: self.identifier()?, if_exists }))
    }

    /// `GRANT privilege, ... ON object TO role, ...`, `GRANT role, ... TO role, ...`.
    pub(super) fn grant(&mut self) -> Result<Statement> {
        self.skip(1);
        Ok(Statement::Access(match self.granted()? {
            Granted::Roles(roles) => {
                self.expect("to")?;
                AccessStatement::GrantRoles { roles, to: self.grantees()? }
            }
            Granted::Privileges(privileges) => {
                let object = self.grant_object()?;
                self.expect("to")?;
                AccessStatement::Grant { privileges, object, to: self.grantees()? }
            }
        }))
    }

    /// `REVOKE ... FROM role, ...`.
    pub(super) fn revoke(&mut self) -> Result<Statement> {
        self.skip(1);
        Ok(Statement::Access(match self.granted()? {
            Granted::Roles(roles) => {
                self.expect("from")?;
                AccessStatement::RevokeRoles { roles, from: self.grantees()? }
            }
            Granted::Privileges(privileges) => {
                let object = self.grant_object()?;
                self.expect("from")?;
                AccessStatement::Revoke { privileges, object, from: self.grantees()? }
            }
        }))
    }

    /// What stands before ON, or TO if roles are granted.
    fn granted(&mut self) -> Result<Granted> {
        if self.accept("all") {
            self.accept("privileges");
            self.expect("on")?;
            return Ok(Granted::Privileges(Privilege::ALL.map(|privilege| (privilege, None)).to_vec()));
        }
        let mut granted = Vec::new();
        loop {
            let name = self.identifier()?;
            let columns = match self.parser.parser.peek_token().token {
                Token::LParen => Some(self.columns()?),
                _ => None,
            };
            granted.push((name, columns));
            if !self.parser.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if !self.accept("on") {
            if granted.iter().any(|(_, columns)| columns.is_some()) {
                return Err(self.unexpected("ON"));
            }
            return Ok(Granted::Roles(granted.into_iter().map(|(name, _)| name).collect()));
        }
        granted.into_iter().map(privilege).collect::<Result<_>>().map(Granted::Privileges)
    }

    fn grant_object(&mut self) -> Result<GrantObject> {
        let words = self.words(4);
        match [0, 1, 2, 3].map(|at| words[at].as_str()) {
            ["all", "tables", "in", "schema"] => {
                self.skip(4);
                Ok(GrantObject::Schema(self.name()?))
            }
            ["schema", ..] => {
                self.skip(1);
                Ok(GrantObject::Schema(self.name()?))
            }
            ["catalog" | "database", ..] => {
                self.skip(1);
                Ok(GrantObject::Catalog(self.identifier()?))
            }
            ["procedure", ..] => {
                self.skip(1);
                Ok(GrantObject::Procedure(self.name()?))
            }
            _ => {
                self.accept("table");
                Ok(GrantObject::Table(self.name()?))
            }
        }
    }

    fn grantees(&mut self) -> Result<Vec<String>> {
        self.accept("role");
        self.accept("user");
        self.names()
    }

    fn names(&mut self) -> Result<Vec<String>> {
        let mut names = vec![self.identifier()?];
        while self.parser.parser.consume_token(&Token::Comma) {
            names.push(self.identifier()?);
        }
        Ok(names)
    }

    /// `CREATE POLICY name ON table [FOR SELECT] [TO role, ...] [MASK column] USING (expression)`.
    pub(super) fn create_policy(&mut self) -> Result<Statement> {
        self.skip(2);
        let name = self.identifier()?;
        self.expect("on")?;
        let table = self.name()?;
        if self.accept("for") {
            self.expect("select")?;
        }
        let to = if self.accept("to") { self.names()? } else { Vec::new() };
        let mask = if self.accept("mask") { Some(self.identifier()?) } else { None };
        self.expect("using")?;
        self.parser.parser.expect_token(&Token::LParen).map_err(parser_error)?;
        let expression = self.parser.parser.parse_expr().map_err(parser_error)?.to_string();
        self.parser.parser.expect_token(&Token::RParen).map_err(parser_error)?;
        let rule = match mask {
            Some(column) => RuleSpec::Mask { column, value: expression },
            None => RuleSpec::Filter { condition: expression },
        };
        Ok(Statement::Access(AccessStatement::CreatePolicy { name, table, to, rule }))
    }

    /// `DROP POLICY [IF EXISTS] name ON table`.
    pub(super) fn drop_policy(&mut self) -> Result<Statement> {
        self.skip(2);
        let if_exists = self.if_exists()?;
        let name = self.identifier()?;
        self.expect("on")?;
        Ok(Statement::Access(AccessStatement::DropPolicy { name, table: self.name()?, if_exists }))
    }

    fn text(&mut self, wanted: &str) -> Result<String> {
        match self.parser.parser.next_token().token {
            Token::SingleQuotedString(text) => Ok(text),
            _ => {
                self.parser.parser.prev_token();
                // The text is not repeated: it may be a password.
                Err(Error::fix(SqlState::SYNTAX, format!("syntax error: expected {wanted}")))
            }
        }
    }
}

enum Granted {
    Privileges(Vec<(Privilege, Option<Vec<String>>)>),
    Roles(Vec<String>),
}

fn privilege((name, columns): (String, Option<Vec<String>>)) -> Result<(Privilege, Option<Vec<String>>)> {
    let found = Privilege::ALL.into_iter().find(|privilege| privilege.as_str().eq_ignore_ascii_case(&name));
    let privilege = found.ok_or_else(|| {
        let names = Privilege::ALL.map(Privilege::as_str).join(", ");
        Error::fix(SqlState::SYNTAX, format!("\"{name}\" is no privilege")).with_hint(format!("they are {names}"))
    })?;
    if columns.is_some() && !privilege.has_columns() {
        let message = format!("{} of single columns is not supported", privilege.as_str());
        return Err(Error::fix(SqlState::NOT_SUPPORTED, message).with_hint("SELECT may name columns"));
    }
    Ok((privilege, columns))
}
