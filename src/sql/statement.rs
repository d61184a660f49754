//! Everything that can be said to Polder, as a closed enum.

use crate::access::Privilege;
use crate::sql::explain::Explaining;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One statement. Matched without `_`, so that a new one is handled everywhere.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    /// `SELECT`, `VALUES`, `WITH`, `TABLE`: gives rows.
    Query(Query),
    /// `EXPLAIN [ANALYZE] [VERBOSE] [FORMAT TEXT | JSON] query`, or `EXPLAIN (option, ...) query`.
    Explain { query: Query, how: Explaining },
    /// `CREATE [OR REPLACE] CATALOG [IF NOT EXISTS] name USING connector [WITH (...)]`.
    CreateCatalog { name: String, connector: String, options: Vec<(String, String)>, exists: IfExists },
    /// `ALTER CATALOG name SET (...)`.
    AlterCatalog { name: String, options: Vec<(String, String)> },
    /// `DROP CATALOG [IF EXISTS] name [CASCADE]`.
    DropCatalog { name: String, if_exists: bool, cascade: bool },
    /// `CHECK CATALOG name`.
    CheckCatalog { name: String },
    /// `CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name [(columns)] AS query`.
    CreateView { name: Name, definition: ViewDefinition, exists: IfExists },
    /// `DROP VIEW [IF EXISTS] name [CASCADE]`.
    DropView { name: Name, if_exists: bool, cascade: bool },
    /// `CREATE TOPIC [IF NOT EXISTS] name (column type, ...) [WITH (shards = n, key = 'column', retention = '7 days', ...)]`.
    CreateTopic { name: Name, columns: Vec<ColumnSpec>, options: Vec<(String, String)>, exists: IfExists },
    /// `DROP TOPIC [IF EXISTS] name [CASCADE]`.
    DropTopic { name: Name, if_exists: bool, cascade: bool },
    /// `CREATE TABLE [IF NOT EXISTS] name (column type [NOT NULL] [PRIMARY KEY] [UNIQUE] [DEFAULT expression] [CHECK (condition)]
    /// [GENERATED ALWAYS | BY DEFAULT AS IDENTITY] [REFERENCES table [(column)]] [WITH (option = 'value')], ...,
    /// [PRIMARY KEY | UNIQUE (columns)], [FOREIGN KEY (columns) REFERENCES table [(columns)]],
    /// [CONSTRAINT name CHECK (condition)]) [WITH (...)] [AS query]`: here, or in a catalog that the log can write.
    CreateTable { name: Name, table: TableSpec, query: Option<Query>, exists: IfExists },
    /// `ALTER TABLE name ADD COLUMN column type`, `DROP COLUMN column`, `RENAME COLUMN column TO other`, `RENAME TO other`.
    AlterTable { name: Name, change: TableChange },
    /// `CREATE INDEX [IF NOT EXISTS] name ON table (column, ...)`: ordered, over a table of Polder's own.
    CreateIndex { name: String, table: Name, columns: Vec<String>, exists: IfExists },
    /// `DROP INDEX [IF EXISTS] name`.
    DropIndex { name: String, if_exists: bool },
    /// `DROP TABLE [IF EXISTS] name [CASCADE]`.
    DropTable { name: Name, if_exists: bool, cascade: bool },
    /// `INSERT INTO table [(columns)] query [ON CONFLICT [(columns)] DO NOTHING | DO UPDATE SET column = expression, ... [WHERE
    /// condition]] [RETURNING ...]`: into a topic, or a table that the log writes.
    Insert {
        table: Name,
        columns: Vec<String>,
        query: Query,
        conflict: Option<Box<OnConflict>>,
        returning: Vec<ast::SelectItem>,
    },
    /// `UPDATE table [AS name] SET column = expression, ... [FROM others] [WHERE condition] [RETURNING ...]`.
    Update { table: Name, assignments: Vec<(String, ast::Expr)>, which: Box<Which>, returning: Vec<ast::SelectItem> },
    /// `DELETE FROM table [AS name] [USING others] [WHERE condition] [RETURNING ...]`: of a topic, `WHERE key = value` appends a tombstone.
    Delete { table: Name, which: Box<Which>, returning: Vec<ast::SelectItem> },
    /// `MERGE INTO table [AS name] USING source ON condition WHEN [NOT] MATCHED [AND condition] THEN UPDATE SET ... | DELETE | INSERT
    /// [(columns)] VALUES (...) ...`: into a table of Polder's own with a primary key.
    Merge { table: Name, merge: Box<MergeSpec> },
    /// `TRUNCATE [TABLE] table`: every row goes.
    Truncate { table: Name },
    /// `COPY table [(columns)] FROM 'file' | STDIN [WITH (format ndjson | csv | parquet, ...)]`.
    Copy { table: Name, columns: Vec<String>, from: CopySource, options: Vec<(String, String)> },
    /// `CREATE [OR REPLACE] PROCEDURE [IF NOT EXISTS] name (parameter type, ...) [LANGUAGE SQL] AS $$ step; ... $$`: a step is
    /// ASSERT condition [, 'message'], INSERT, UPDATE, DELETE, MERGE, or EMIT [WHEN condition] statement, which is done afterwards.
    CreateProcedure { name: Name, definition: ProcedureDefinition, exists: IfExists },
    /// `DROP PROCEDURE [IF EXISTS] name`.
    DropProcedure { name: Name, if_exists: bool },
    /// `CALL name(expression, ...)`: all its steps as one entry of one shard, or none.
    Call { name: Name, arguments: Vec<ast::Expr> },
    /// `REPLAY DEAD LETTERS [FOR name]`: the effects that could not be done are emitted again, those of a table or procedure, or all.
    ReplayDeadLetters { name: Option<Name> },
    /// `BEGIN`, `START TRANSACTION`, with `READ ONLY` perhaps: what follows is one transaction on Polder's own tables, serializable.
    Begin { read_only: bool },
    /// `COMMIT`: one entry of the log, or an error and no effect.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// `KILL QUERY 'id'`: ends a statement of any session, by its id in `polder.system.queries`.
    KillQuery { id: String },
    /// `WAIT FOR 'request id'`: the outcome of a statement that was sent under this id, once there is one.
    WaitFor { request: String },
    /// Who may do what.
    Access(AccessStatement),
    /// `SHOW POSITION`: a token of what this session has read and written so far.
    ShowPosition,
    /// `SHOW CATALOGS`.
    ShowCatalogs,
    /// `SHOW SCHEMAS [FROM catalog]`.
    ShowSchemas { catalog: Option<String> },
    /// `SHOW TABLES [FROM catalog[.schema]] [LIKE 'pattern']`.
    ShowTables { catalog: Option<String>, schema: Option<String>, pattern: Option<String> },
    /// `DESCRIBE table`.
    Describe { name: Name },
    /// `SET name = value`.
    Set { name: String, value: String },
    /// `RESET name`.
    Reset { name: String },
    /// `SHOW name` or `SHOW ALL`.
    ShowSetting { name: String },
}

/// What is said of users, rights and policies.
#[derive(Clone, Debug)]
pub(crate) enum AccessStatement {
    /// `CREATE USER | ROLE [IF NOT EXISTS] name [WITH] [PASSWORD '...'] [SUPERUSER] [READ ONLY] [LOGIN | NOLOGIN] [IN ROLE role, ...]`.
    CreateRole { name: String, options: RoleOptions, exists: IfExists },
    /// `ALTER USER | ROLE name [WITH] ...`, with the same options and `NOSUPERUSER`, `READ WRITE`, `PASSWORD NULL`.
    AlterRole { name: String, options: RoleOptions },
    /// `DROP USER | ROLE [IF EXISTS] name`.
    DropRole { name: String, if_exists: bool },
    /// `CREATE TOKEN name FOR user [VALID UNTIL 'time']`: gives the token, this once.
    CreateToken { name: String, user: String, valid_until: Option<String> },
    /// `DROP TOKEN [IF EXISTS] name`.
    DropToken { name: String, if_exists: bool },
    /// `GRANT privilege [(columns)], ... | ALL ON [TABLE] name | SCHEMA name | CATALOG name | PROCEDURE name TO role, ... | PUBLIC`.
    Grant { privileges: Vec<(Privilege, Option<Vec<String>>)>, object: GrantObject, to: Vec<String> },
    /// `REVOKE privilege, ... ON object FROM role, ...`: statements that run with it end.
    Revoke { privileges: Vec<(Privilege, Option<Vec<String>>)>, object: GrantObject, from: Vec<String> },
    /// `GRANT role, ... TO role, ...`.
    GrantRoles { roles: Vec<String>, to: Vec<String> },
    /// `REVOKE role, ... FROM role, ...`.
    RevokeRoles { roles: Vec<String>, from: Vec<String> },
    /// `CREATE POLICY name ON table [TO role, ...] [MASK column] USING (expression)`: which rows are seen, or how a column is.
    CreatePolicy { name: String, table: Name, to: Vec<String>, rule: RuleSpec },
    /// `DROP POLICY [IF EXISTS] name ON table`.
    DropPolicy { name: String, table: Name, if_exists: bool },
}

/// What is said of a role. None for what is left as it is.
#[derive(Clone, Default)]
pub(crate) struct RoleOptions {
    pub(crate) login: Option<bool>,
    /// None in it for no password.
    pub(crate) password: Option<Option<String>>,
    pub(crate) superuser: Option<bool>,
    pub(crate) read_only: Option<bool>,
    pub(crate) member_of: Vec<String>,
}

impl fmt::Debug for RoleOptions {
    /// Without the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { login, password: _, superuser, read_only, member_of } = self;
        let mut out = out.debug_struct("RoleOptions");
        out.field("login", login).field("superuser", superuser).field("read_only", read_only);
        out.field("member_of", member_of).finish_non_exhaustive()
    }
}

/// What a right is about, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GrantObject {
    Catalog(String),
    Schema(Name),
    Table(Name),
    Procedure(Name),
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleSpec {
    Filter { condition: String },
    Mask { column: String, value: String },
}

/// One column of a table or topic, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) sql_type: ast::DataType,
    pub(crate) not_null: bool,
    pub(crate) unique: bool,
    /// The expression of its default, in the words of its author.
    pub(crate) default: Option<String>,
    pub(crate) identity: Option<Identity>,
    pub(crate) checks: Vec<CheckSpec>,
    pub(crate) references: Option<ReferenceSpec>,
    pub(crate) options: Vec<(String, String)>,
}

impl ColumnSpec {
    /// One without anything beyond its type.
    pub(crate) fn new(name: String, sql_type: ast::DataType) -> Self {
        Self {
            name,
            sql_type,
            not_null: false,
            unique: false,
            default: None,
            identity: None,
            checks: Vec::new(),
            references: None,
            options: Vec::new(),
        }
    }
}

/// `FOREIGN KEY (columns) REFERENCES table [(columns)]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReferenceSpec {
    pub(crate) columns: Vec<String>,
    pub(crate) table: Name,
    /// None for those of the primary key.
    pub(crate) key: Vec<String>,
}

/// How a column gets a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Identity {
    /// `GENERATED ALWAYS AS IDENTITY`: nobody else gives it one.
    Always,
    /// `GENERATED BY DEFAULT AS IDENTITY`.
    ByDefault,
}

/// `[CONSTRAINT name] CHECK (condition)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckSpec {
    pub(crate) name: Option<String>,
    /// In the words of its author.
    pub(crate) condition: String,
}

/// Which rows of a table a statement is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Which {
    /// What the table is called in the statement.
    pub(crate) alias: Option<String>,
    /// What it is joined with: `FROM` of an UPDATE, `USING` of a DELETE.
    pub(crate) others: Vec<ast::TableWithJoins>,
    pub(crate) condition: Option<ast::Expr>,
}

/// What `MERGE` does, beside its table.
#[derive(Clone, Debug)]
pub(crate) struct MergeSpec {
    /// What the table is called in the statement.
    pub(crate) alias: Option<String>,
    pub(crate) source: ast::TableFactor,
    pub(crate) on: ast::Expr,
    /// The first that fits counts.
    pub(crate) clauses: Vec<MergeClause>,
}

/// `WHEN [NOT] MATCHED [AND condition] THEN action`.
#[derive(Clone, Debug)]
pub(crate) struct MergeClause {
    pub(crate) matched: bool,
    pub(crate) condition: Option<ast::Expr>,
    pub(crate) action: MergeAction,
}

/// What becomes of a row.
#[derive(Clone, Debug)]
pub(crate) enum MergeAction {
    Insert { columns: Vec<String>, values: Vec<ast::Expr> },
    Update(Vec<(String, ast::Expr)>),
    Delete,
}

/// What an INSERT does with a row whose key is there already.
#[derive(Clone, Debug)]
pub(crate) struct OnConflict {
    /// The columns of the key; none for any, which only `DO NOTHING` may have.
    pub(crate) columns: Vec<String>,
    /// None for `DO NOTHING`.
    pub(crate) update: Option<ConflictUpdate>,
}

/// `DO UPDATE SET column = expression, ... [WHERE condition]`.
#[derive(Clone, Debug)]
pub(crate) struct ConflictUpdate {
    pub(crate) assignments: Vec<(String, ast::Expr)>,
    pub(crate) condition: Option<ast::Expr>,
}

/// A table, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableSpec {
    /// None with `AS query`: then the query's.
    pub(crate) columns: Vec<ColumnSpec>,
    /// The names of the primary key.
    pub(crate) key: Vec<String>,
    /// The names of each unique constraint.
    pub(crate) unique: Vec<Vec<String>>,
    pub(crate) checks: Vec<CheckSpec>,
    pub(crate) references: Vec<ReferenceSpec>,
    pub(crate) options: Vec<(String, String)>,
}

/// One change of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TableChange {
    AddColumn(ColumnSpec),
    DropColumn(String),
    RenameColumn { from: String, to: String },
    RenameTable(String),
}

/// Where COPY reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CopySource {
    /// A file of this machine.
    File(String),
    /// What the client sends after the statement.
    Input,
}

/// What to do if the object exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfExists {
    /// An error.
    Refuse,
    /// `IF NOT EXISTS`: leave it.
    Keep,
    /// `OR REPLACE`.
    Replace,
}

/// A query as parsed.
#[derive(Clone, Debug)]
pub(crate) struct Query(pub(crate) DataFusionStatement);

/// A dotted name of one to three parts, as written: unquoted parts are lower case already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) Vec<String>);

/// What a named query stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ViewDefinition {
    /// Names for the columns, if given.
    pub(crate) columns: Vec<String>,
    /// The query, in the user's own words: a parsed query printed again might not be the same.
    pub(crate) text: String,
}

/// A procedure, in the words of its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcedureDefinition {
    /// Names and types.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) body: String,
}

/// One statement of a procedure.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Unless the condition is true, the request is declined.
    Assert { condition: ast::Expr, message: Option<String> },
    /// Rows that the shard changes which decides about the request.
    Write(Box<Statement>),
    /// What is done when the request was decided, wherever its rows are at home.
    Emit { when: Option<ast::Expr>, text: String },
}

/// What a statement is to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InTransaction {
    /// It ends it, or is none of its business.
    Ends,
    Reads,
    Writes,
    /// It cannot be taken back, or begins another one.
    Never,
}

impl Statement {
    /// Whether it changes rows, so that it can have a request id.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Call { .. }) || self.in_transaction() == InTransaction::Writes
    }

    /// Whether it changes nothing but the session that it is sent in.
    pub(crate) fn is_about_the_session(&self) -> bool {
        matches!(self, Self::Begin { .. } | Self::Commit | Self::Rollback | Self::Set { .. } | Self::Reset { .. })
    }

    /// What it is to a transaction.
    pub(crate) fn in_transaction(&self) -> InTransaction {
        match self {
            Self::Commit | Self::Rollback | Self::Set { .. } | Self::Reset { .. } => InTransaction::Ends,
            Self::Insert { .. }
            | Self::Update { .. }
            | Self::Delete { .. }
            | Self::Truncate { .. }
            | Self::Merge { .. } => InTransaction::Writes,
            Self::Query(_)
            | Self::Explain { .. }
            | Self::CheckCatalog { .. }
            | Self::KillQuery { .. }
            | Self::WaitFor { .. }
            | Self::ShowPosition
            | Self::ShowCatalogs
            | Self::ShowSchemas { .. }
            | Self::ShowTables { .. }
            | Self::Describe { .. }
            | Self::ShowSetting { .. } => InTransaction::Reads,
            Self::CreateCatalog { .. }
            | Self::AlterCatalog { .. }
            | Self::DropCatalog { .. }
            | Self::CreateView { .. }
            | Self::DropView { .. }
            | Self::CreateTopic { .. }
            | Self::DropTopic { .. }
            | Self::CreateTable { .. }
            | Self::AlterTable { .. }
            | Self::DropTable { .. }
            | Self::CreateIndex { .. }
            | Self::DropIndex { .. }
            | Self::Copy { .. }
            | Self::CreateProcedure { .. }
            | Self::DropProcedure { .. }
            | Self::Call { .. }
            | Self::ReplayDeadLetters { .. }
            | Self::Access(_)
            | Self::Begin { .. } => InTransaction::Never,
        }
    }
}
