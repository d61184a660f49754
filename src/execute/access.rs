//! Users, rights and policies: the statements about them, and what each statement needs.
//!
//! Reads are checked where names become tables, writes where they find what they write. Here is the rest, and what becomes of
//! rights when something is made, renamed or dropped.

use crate::access::{
    EVERYBODY, Grant, LOCAL, Object, Owner, Policy, Privilege, Role, Roles, Rule, Token, Verifier, denied, hash,
    new_token,
};
use crate::catalogs::{Catalogs, POLDER, PUBLIC, SYSTEM, own_table};
use crate::execute::define::done;
use crate::execute::resolve::{Resolver, restricted_text};
use crate::execute::{query, show};
use crate::plan::Planner;
use crate::session::{Outcome, Session};
use crate::sql::{self, AccessStatement, GrantObject, IfExists, Name, RoleOptions, RuleSpec, Statement, TableChange};
use polder_catalog::{CatalogName, Error, Result, SqlState, TableName};
use std::collections::BTreeSet;

/// What a statement changes about rights, once it is done.
#[derive(Debug)]
pub(super) enum Aftermath {
    Nothing,
    /// It is new, and its maker's.
    Made(Object),
    Gone(Object),
    Renamed(Object, Object),
}

/// Whether a statement may be done at all.
///
/// # Errors
/// 42501 if not; 25006 for one that writes, if its user may only read.
pub(super) fn check(session: &Session, statement: &Statement) -> Result<Aftermath> {
    let engine = &session.engine.0;
    let (roles, user) = (engine.access.roles(), session.user());
    let catalogs = engine.catalogs();
    let asks = Asks { roles: &roles, user, catalogs: &catalogs };
    if roles.is_read_only(user) && !may_be_done_read_only(statement) {
        return Err(Error::fix(SqlState::READ_ONLY, format!("\"{user}\" may only read")));
    }
    match statement {
        Statement::CreateCatalog { .. } | Statement::AlterCatalog { .. } => asks.superuser("define catalogs"),
        Statement::DropCatalog { name, .. } => {
            asks.superuser("drop catalogs")?;
            Ok(Aftermath::Gone(Object::Catalog { catalog: name.clone() }))
        }
        Statement::CheckCatalog { .. } => asks.superuser("check catalogs"),
        Statement::CreateProcedure { name, .. } => {
            asks.superuser("define procedures")?;
            Ok(Aftermath::Made(procedure(name)))
        }
        Statement::DropProcedure { name, .. } => {
            asks.superuser("drop procedures")?;
            Ok(Aftermath::Gone(procedure(name)))
        }
        Statement::ReplayDeadLetters { .. } => asks.superuser("replay dead letters"),
        Statement::Call { name, .. } => {
            roles.check(user, Privilege::Execute, &procedure(name)).map(|()| Aftermath::Nothing)
        }
        Statement::CreateView { name, .. }
        | Statement::CreateTopic { name, .. }
        | Statement::CreateTable { name, .. } => {
            if let Statement::CreateTable { table, .. } = statement {
                let of_columns = table.columns.iter().filter_map(|column| column.references.as_ref());
                of_columns.chain(&table.references).try_for_each(|reference| asks.refers_to(&reference.table))?;
            }
            asks.make(name)
        }
        Statement::DropView { name, .. } | Statement::DropTopic { name, .. } | Statement::DropTable { name, .. } => {
            asks.own(name).map(|object| object.map_or(Aftermath::Nothing, Aftermath::Gone))
        }
        Statement::AlterTable { name, change } => asks.alter(name, change),
        Statement::CreateIndex { table, .. } => asks.own(table).map(|_| Aftermath::Nothing),
        Statement::DropIndex { name, .. } => asks.own_index(name),
        Statement::Access(statement) => asks.access(statement),
        Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::Insert { .. }
        | Statement::Update { .. }
        | Statement::Delete { .. }
        | Statement::Merge { .. }
        | Statement::Truncate { .. }
        | Statement::Copy { .. }
        | Statement::Begin { .. }
        | Statement::KillQuery { .. }
        | Statement::Commit
        | Statement::Rollback
        | Statement::WaitFor { .. }
        | Statement::ShowPosition
        | Statement::ShowCatalogs
        | Statement::ShowSchemas { .. }
        | Statement::ShowTables { .. }
        | Statement::Describe { .. }
        | Statement::Set { .. }
        | Statement::Reset { .. }
        | Statement::ShowSetting { .. } => Ok(Aftermath::Nothing),
    }
}

/// Writes are refused where they find what they write.
fn may_be_done_read_only(statement: &Statement) -> bool {
    use crate::sql::InTransaction::{Ends, Reads};
    matches!(statement.in_transaction(), Ends | Reads)
        || matches!(statement, Statement::Begin { .. } | Statement::KillQuery { .. })
}

/// Changes rights as a statement that was done has it.
pub(super) fn settle(session: &Session, aftermath: Aftermath) -> Result<()> {
    let access = &session.engine.0.access;
    match aftermath {
        Aftermath::Nothing => Ok(()),
        Aftermath::Gone(object) => access.change(|roles| {
            roles.forget(&object);
            Ok(())
        }),
        Aftermath::Renamed(from, to) => access.change(|roles| {
            roles.rename(&from, &to);
            Ok(())
        }),
        Aftermath::Made(object) => access.change(|roles| {
            // Whatever was said of another one of this name.
            roles.forget(&object);
            if session.user().as_ref() != LOCAL {
                roles.owners.push(Owner { object, role: session.user().to_string() });
            }
            Ok(())
        }),
    }
}

/// Who asks, and what there is.
struct Asks<'a> {
    roles: &'a Roles,
    user: &'a str,
    catalogs: &'a Catalogs,
}

impl Asks<'_> {
    fn superuser(&self, what: &str) -> Result<Aftermath> {
        self.roles.check_superuser(self.user, what).map(|()| Aftermath::Nothing)
    }

    /// Something new, or in place of what is there.
    fn make(&self, name: &Name) -> Result<Aftermath> {
        let name = full_name(self.catalogs, name)?;
        let object = Object::table(&name);
        if exists(self.catalogs, &name) {
            // The statement itself says that it is there; in its place may come another one of its owner alone.
            return self.roles.check_owner(self.user, &object).map(|()| Aftermath::Nothing);
        }
        let schema = Object::schema(&name.catalog, &name.schema);
        self.roles.check(self.user, Privilege::Create, &schema).map(|()| Aftermath::Made(object))
    }

    /// None if there is nothing of this name, which the statement itself tells.
    fn own(&self, name: &Name) -> Result<Option<Object>> {
        let name = full_name(self.catalogs, name)?;
        if !exists(self.catalogs, &name) && self.roles.is_superuser(self.user) {
            return Ok(None);
        }
        let object = Object::table(&name);
        self.roles.check_owner(self.user, &object).map(|()| Some(object))
    }

    fn own_index(&self, index: &str) -> Result<Aftermath> {
        let has = |indexes: &[crate::definitions::StoredIndex]| indexes.iter().any(|known| known.name == index);
        if let Some(table) = self.catalogs.tables.values().find(|table| has(&table.indexes)) {
            self.roles.check_owner(self.user, &Object::table(&table.full_name()))?;
        }
        Ok(Aftermath::Nothing)
    }

    /// A reference tells whether a key is there, so it is a way to read it.
    fn refers_to(&self, table: &Name) -> Result<()> {
        let object = Object::table(&full_name(self.catalogs, table)?);
        match self.roles.sight(self.user, &object)?.is_whole() {
            true => Ok(()),
            false => Err(denied(format!("permission denied for {object}: not all of it may be read"))),
        }
    }

    fn alter(&self, name: &Name, change: &TableChange) -> Result<Aftermath> {
        let Some(object) = self.own(name)? else { return Ok(Aftermath::Nothing) };
        match change {
            TableChange::AddColumn(_) => Ok(Aftermath::Nothing),
            TableChange::DropColumn(column) | TableChange::RenameColumn { from: column, .. } => {
                self.refuse_named(&object, column).map(|()| Aftermath::Nothing)
            }
            TableChange::RenameTable(to) => {
                let name = full_name(self.catalogs, name)?;
                let to = Object::table(&TableName { table: to.clone(), ..name });
                Ok(Aftermath::Renamed(object, to))
            }
        }
    }

    /// What a policy or a right names stays.
    fn refuse_named(&self, table: &Object, column: &str) -> Result<()> {
        let names = |rule: &Rule| match rule {
            Rule::Filter { condition } => sql::names_in(condition).contains(column),
            Rule::Mask { column: masked, value } => masked == column || sql::names_in(value).contains(column),
        };
        let policy = self.roles.policies.iter().find(|policy| policy.table == *table && names(&policy.rule));
        let in_grant = |grant: &&Grant| {
            grant.object == *table && grant.columns.as_ref().is_some_and(|columns| columns.contains(column))
        };
        let mut grants = self.roles.roles.iter().filter(|(_, role)| role.grants.iter().any(|grant| in_grant(&grant)));
        let what = match (policy, grants.next()) {
            (Some(policy), _) => format!("policy \"{}\"", policy.name),
            (None, Some((role, _))) => format!("a right of \"{role}\""),
            (None, None) => return Ok(()),
        };
        Err(Error::fix(SqlState::DEPENDENTS, format!("column \"{column}\" is named by {what}"))
            .with_hint("drop it or revoke it first"))
    }

    fn access(&self, statement: &AccessStatement) -> Result<Aftermath> {
        match statement {
            // Everybody may change their own password, and nothing else of themselves.
            AccessStatement::AlterRole { name, options }
                if name == self.user
                    && matches!(options, RoleOptions { password: Some(Some(_)), login: None, superuser: None, read_only: None, member_of }
                        if member_of.is_empty()) =>
            {
                Ok(Aftermath::Nothing)
            }
            AccessStatement::Grant { object: GrantObject::Table(name), .. }
            | AccessStatement::Revoke { object: GrantObject::Table(name), .. } => {
                let object = Object::table(&full_name(self.catalogs, name)?);
                self.roles.check_owner(self.user, &object).map(|()| Aftermath::Nothing)
            }
            AccessStatement::CreateRole { .. }
            | AccessStatement::AlterRole { .. }
            | AccessStatement::DropRole { .. }
            | AccessStatement::CreateToken { .. }
            | AccessStatement::DropToken { .. }
            | AccessStatement::Grant { .. }
            | AccessStatement::Revoke { .. }
            | AccessStatement::GrantRoles { .. }
            | AccessStatement::RevokeRoles { .. }
            | AccessStatement::CreatePolicy { .. }
            | AccessStatement::DropPolicy { .. } => self.superuser("say who may do what"),
        }
    }
}

fn procedure(name: &Name) -> Object {
    Object::Procedure { name: name.0.last().cloned().unwrap_or_default() }
}

/// The three parts of a name.
fn full_name(catalogs: &Catalogs, name: &Name) -> Result<TableName> {
    let parts: Vec<_> = name.0.iter().map(String::as_str).collect();
    let of = |catalog: &str, schema: &str, table: &str| TableName {
        catalog: CatalogName::new(catalog),
        schema: schema.to_string(),
        table: table.to_string(),
    };
    match parts[..] {
        [table] => Ok(own_table(table)),
        [schema @ (PUBLIC | SYSTEM), table] => Ok(of(POLDER, schema, table)),
        [catalog, table] => Ok(of(catalog, catalogs.get(catalog)?.source(catalog)?.default_schema(), table)),
        [catalog, schema, table] => Ok(of(catalog, schema, table)),
        _ => unreachable!("the parser reads one to three parts"),
    }
}

/// Whether Polder has made it.
fn exists(catalogs: &Catalogs, name: &TableName) -> bool {
    let own = || catalogs.topics.contains_key(&name.table) || catalogs.views.contains_key(&name.table);
    catalogs.tables.contains_key(name) || (name.catalog.as_str() == POLDER && name.schema == PUBLIC && own())
}

/// Runs a statement about users, rights or policies.
pub(super) async fn run(session: &Session, statement: AccessStatement) -> Result<Outcome> {
    match statement {
        AccessStatement::CreateRole { name, options, exists } => create_role(session, &name, &options, exists),
        AccessStatement::AlterRole { name, options } => alter_role(session, &name, &options),
        AccessStatement::DropRole { name, if_exists } => drop_role(session, &name, if_exists),
        AccessStatement::CreateToken { name, user, valid_until } => {
            create_token(session, &name, user, valid_until.as_deref())
        }
        AccessStatement::DropToken { name, if_exists } => drop_token(session, &name, if_exists),
        AccessStatement::Grant { privileges, object, to } => grant(session, &privileges, object, &to).await,
        AccessStatement::Revoke { privileges, object, from } => revoke(session, &privileges, object, &from),
        AccessStatement::GrantRoles { roles, to } => grant_roles(session, &roles, &to),
        AccessStatement::RevokeRoles { roles, from } => revoke_roles(session, &roles, &from),
        AccessStatement::CreatePolicy { name, table, to, rule } => create_policy(session, name, &table, to, rule).await,
        AccessStatement::DropPolicy { name, table, if_exists } => drop_policy(session, &name, &table, if_exists),
    }
}

fn create_role(session: &Session, name: &str, options: &RoleOptions, exists: IfExists) -> Result<Outcome> {
    if [LOCAL, EVERYBODY].contains(&name) || name.is_empty() {
        return Err(Error::fix(SqlState::DUPLICATE_OBJECT, format!("\"{name}\" is a name of Polder's own"))
            .with_hint("choose another name"));
    }
    session.engine.0.access.change(|roles| {
        if roles.roles.contains_key(name) {
            return match exists {
                IfExists::Keep => Ok(()),
                _ => Err(Error::fix(SqlState::DUPLICATE_OBJECT, format!("role \"{name}\" exists already"))
                    .with_hint("change it with ALTER USER")),
            };
        }
        // From the first user on everybody has to log in, so somebody must be able to do everything.
        if options.login == Some(true) && !roles.demand_login() && options.superuser != Some(true) {
            return Err(Error::fix(SqlState::STATE, "the first user must be a superuser")
                .with_detail("from the first user on everybody has to log in")
                .with_hint(format!("CREATE USER {name} PASSWORD '...' SUPERUSER, or another one before")));
        }
        roles.roles.insert(name.to_string(), Role::default());
        set(roles, name, options)
    })?;
    done(if options.login == Some(true) { "CREATE USER" } else { "CREATE ROLE" })
}

fn set(roles: &mut Roles, name: &str, options: &RoleOptions) -> Result<()> {
    for group in &options.member_of {
        join(roles, group, name)?;
    }
    let role = roles.role_mut(name)?;
    role.login = options.login.unwrap_or(role.login);
    role.superuser = options.superuser.unwrap_or(role.superuser);
    role.read_only = options.read_only.unwrap_or(role.read_only);
    if let Some(password) = &options.password {
        role.verifier = password.as_deref().map(verifier).transpose()?;
    }
    check_superusers(roles)
}

/// A password, or a verifier in PostgreSQL's spelling: then the password itself was never here.
fn verifier(password: &str) -> Result<String> {
    if password.is_empty() {
        return Err(Error::fix(SqlState::PARAMETER, "a password cannot be empty"));
    }
    match Verifier::parse(password) {
        Some(verifier) => Ok(verifier.text()),
        None => Verifier::of_password(password).map(|verifier| verifier.text()),
    }
}

/// Where users are, one of them can do everything.
fn check_superusers(roles: &Roles) -> Result<()> {
    if !roles.demand_login() || roles.roles.values().any(|role| role.login && role.superuser) {
        return Ok(());
    }
    Err(Error::fix(SqlState::STATE, "no superuser would be left who can log in")
        .with_hint("make another one first, or drop all others before the last"))
}

fn alter_role(session: &Session, name: &str, options: &RoleOptions) -> Result<Outcome> {
    let access = &session.engine.0.access;
    access.change(|roles| set(roles, name, options))?;
    if options.superuser == Some(false) || options.read_only == Some(true) || options.login == Some(false) {
        end_statements(session, [name]);
    }
    done("ALTER ROLE")
}

/// Ends what runs with the rights of these roles.
fn end_statements<'a>(session: &Session, roles: impl IntoIterator<Item = &'a str>) {
    let access = &session.engine.0.access;
    let (now, roles): (_, BTreeSet<_>) = (access.roles(), roles.into_iter().collect());
    let mut users = now.members(&roles);
    users.extend(roles);
    // Who says so goes on.
    users.remove(session.user().as_ref());
    session.engine.0.activity.kill_of(&users);
}

fn drop_role(session: &Session, name: &str, if_exists: bool) -> Result<Outcome> {
    let access = &session.engine.0.access;
    let members: Vec<String> = access.roles().members(&[name].into()).into_iter().map(str::to_string).collect();
    access.change(|roles| {
        if if_exists && !roles.roles.contains_key(name) {
            return Ok(());
        }
        roles.role(name)?;
        if let Some(owner) = roles.owners.iter().find(|owner| owner.role == name) {
            return Err(Error::fix(SqlState::DEPENDENTS, format!("role \"{name}\" owns {}", owner.object))
                .with_hint("drop what it owns first"));
        }
        roles.roles.remove(name);
        roles.tokens.retain(|_, token| token.user != name);
        roles.roles.values_mut().for_each(|role| {
            role.member_of.remove(name);
        });
        // Without it a policy would be for everybody, or for nobody: both are another policy.
        if let Some(policy) = roles.policies.iter().find(|policy| policy.roles.contains(name)) {
            return Err(Error::fix(SqlState::DEPENDENTS, format!("policy \"{}\" is for \"{name}\"", policy.name))
                .with_hint("drop the policy first"));
        }
        check_superusers(roles)
    })?;
    end_statements(session, members.iter().map(String::as_str).chain([name]));
    done("DROP ROLE")
}

fn create_token(session: &Session, name: &str, user: String, valid_until: Option<&str>) -> Result<Outcome> {
    let until = |text: &str| {
        let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|error| {
            Error::fix(SqlState::PARAMETER, format!("\"{text}\" is no time"))
                .with_detail(error.to_string())
                .with_hint("write it as 2027-01-31T00:00:00Z")
        })?;
        Ok::<_, Error>(time.timestamp())
    };
    let valid_until = valid_until.map(until).transpose()?;
    let token = new_token()?;
    session.engine.0.access.change(|roles| {
        if !roles.role(&user)?.login {
            return Err(Error::fix(SqlState::STATE, format!("role \"{user}\" cannot log in")));
        }
        if roles.tokens.contains_key(name) {
            return Err(Error::fix(SqlState::DUPLICATE_OBJECT, format!("token \"{name}\" exists already")));
        }
        roles.tokens.insert(name.to_string(), Token { user, hash: hash(&token), valid_until });
        Ok(())
    })?;
    Ok(show::rows(&["token"], [[Some(token)]]))
}

fn drop_token(session: &Session, name: &str, if_exists: bool) -> Result<Outcome> {
    session.engine.0.access.change(|roles| match roles.tokens.remove(name) {
        None if !if_exists => Err(Error::fix(SqlState::NO_OBJECT, format!("token \"{name}\" does not exist"))),
        _ => Ok(()),
    })?;
    done("DROP TOKEN")
}

fn object_of(session: &Session, object: GrantObject) -> Result<Object> {
    let catalogs = session.engine.0.catalogs();
    match object {
        GrantObject::Catalog(catalog) => {
            catalogs.get(&catalog)?;
            Ok(Object::Catalog { catalog })
        }
        GrantObject::Schema(name) => {
            let (catalog, schema) = match &name.0[..] {
                [schema] if [PUBLIC, SYSTEM].contains(&schema.as_str()) => (POLDER, schema),
                [catalog, schema] => (catalog.as_str(), schema),
                _ => {
                    return Err(Error::fix(SqlState::NO_SCHEMA, format!("\"{}\" is no schema", name.0.join(".")))
                        .with_hint("write catalog.schema"));
                }
            };
            catalogs.get(catalog)?;
            Ok(Object::Schema { catalog: catalog.to_string(), schema: schema.clone() })
        }
        GrantObject::Table(name) => full_name(&catalogs, &name).map(|name| Object::table(&name)),
        GrantObject::Procedure(name) => {
            let object = procedure(&name);
            match &object {
                Object::Procedure { name } if catalogs.procedures.contains_key(name) => Ok(object),
                _ => Err(Error::fix(SqlState::NO_FUNCTION, format!("{object} does not exist"))),
            }
        }
    }
}

async fn grant(
    session: &Session,
    privileges: &[(Privilege, Option<Vec<String>>)],
    object: GrantObject,
    to: &[String],
) -> Result<Outcome> {
    if let GrantObject::Table(name) = &object {
        // A right on what is not there would be one on whatever comes to be there.
        let engine = &session.engine.0;
        let (catalogs, context) = (engine.catalogs(), query::context(session));
        let reference = crate::execute::resolve::reference(name);
        let provider = Resolver::new(engine, &catalogs, &context).name(&reference).await?;
        let schema = provider.schema();
        for column in privileges.iter().flat_map(|(_, columns)| columns.iter().flatten()) {
            schema
                .field_with_name(column)
                .map_err(|_| Error::fix(SqlState::NO_COLUMN, format!("column \"{column}\" does not exist")))?;
        }
    }
    let object = object_of(session, object)?;
    let grants = grants(privileges, &object)?;
    session.engine.0.access.change(|roles| {
        for name in to {
            let role = role_or_everybody(roles, name)?;
            for grant in &grants {
                if !role.grants.contains(grant) {
                    role.grants.push(grant.clone());
                }
            }
        }
        Ok(())
    })?;
    done("GRANT")
}

/// Those of them that the object takes.
fn grants(privileges: &[(Privilege, Option<Vec<String>>)], object: &Object) -> Result<Vec<Grant>> {
    let is_all = privileges.len() == Privilege::ALL.len();
    let mut grants = Vec::new();
    for (privilege, columns) in privileges {
        let is_table = matches!(object, Object::Table { .. });
        if object.takes(*privilege) && (columns.is_none() || is_table) {
            let columns = columns.as_ref().map(|columns| columns.iter().cloned().collect());
            grants.push(Grant { privilege: *privilege, object: object.clone(), columns });
        } else if !is_all {
            let message = format!("{} is no privilege on a {object}", privilege.as_str());
            return Err(Error::fix(SqlState::SYNTAX, message));
        }
    }
    Ok(grants)
}

/// What everybody may do is kept like a role.
fn role_or_everybody<'a>(roles: &'a mut Roles, name: &str) -> Result<&'a mut Role> {
    match name {
        EVERYBODY => Ok(roles.roles.entry(EVERYBODY.to_string()).or_default()),
        name => roles.role_mut(name),
    }
}

fn revoke(
    session: &Session,
    privileges: &[(Privilege, Option<Vec<String>>)],
    object: GrantObject,
    from: &[String],
) -> Result<Outcome> {
    let object = object_of(session, object)?;
    let grants = grants(privileges, &object)?;
    session.engine.0.access.change(|roles| {
        for name in from {
            let role = role_or_everybody(roles, name)?;
            // Without columns it takes those of single columns, too, and what was given within the object.
            role.grants.retain_mut(|known| {
                grants.iter().all(|gone| {
                    if known.privilege != gone.privilege || !gone.object.contains(&known.object) {
                        return true;
                    }
                    match (&mut known.columns, &gone.columns) {
                        (_, None) => false,
                        (None, Some(_)) => true,
                        (Some(columns), Some(gone)) => {
                            columns.retain(|column| !gone.contains(column));
                            !columns.is_empty()
                        }
                    }
                })
            });
        }
        Ok(())
    })?;
    end_statements(session, from.iter().map(String::as_str));
    done("REVOKE")
}

fn join(roles: &mut Roles, group: &str, member: &str) -> Result<()> {
    roles.role(group)?;
    if roles.of(group).contains(member) {
        return Err(Error::fix(SqlState::STATE, format!("role \"{group}\" is a member of \"{member}\"")));
    }
    roles.role_mut(member)?.member_of.insert(group.to_string());
    Ok(())
}

fn grant_roles(session: &Session, groups: &[String], to: &[String]) -> Result<Outcome> {
    session.engine.0.access.change(|roles| {
        to.iter().try_for_each(|member| groups.iter().try_for_each(|group| join(roles, group, member)))
    })?;
    done("GRANT ROLE")
}

fn revoke_roles(session: &Session, groups: &[String], from: &[String]) -> Result<Outcome> {
    session.engine.0.access.change(|roles| {
        for member in from {
            let role = roles.role_mut(member)?;
            role.member_of.retain(|group| !groups.contains(group));
        }
        Ok(())
    })?;
    end_statements(session, from.iter().map(String::as_str));
    done("REVOKE ROLE")
}

/// A policy is tried before it is kept, so that a mistake in it is found now and not by those whom it binds.
async fn create_policy(
    session: &Session,
    name: String,
    table: &Name,
    to: Vec<String>,
    rule: RuleSpec,
) -> Result<Outcome> {
    let engine = &session.engine.0;
    let (catalogs, context) = (engine.catalogs(), query::context(session));
    let _guard = context.cancellation().clone().drop_guard();
    let full = full_name(&catalogs, table)?;
    let provider = Resolver::new(engine, &catalogs, &context).name(&crate::execute::resolve::reference(table)).await?;
    let rule = match rule {
        RuleSpec::Filter { condition } => Rule::Filter { condition },
        RuleSpec::Mask { column, value } => Rule::Mask { column, value },
    };
    if let Rule::Mask { column, .. } = &rule {
        provider
            .schema()
            .field_with_name(column)
            .map_err(|_| Error::fix(SqlState::NO_COLUMN, format!("column \"{column}\" does not exist")))?;
    }
    let tried = restricted_text(&full, &provider.schema(), &rule.alone(), session.user())?;
    let Statement::Query(query) = sql::parse(&tried)? else {
        return Err(Error::report("a policy was read as another statement"));
    };
    let tables = Resolver::new(engine, &catalogs, &context).query(&query).await?;
    Planner::new(engine, &context)
        .logical(&query, &tables)
        .await
        .map_err(|error| error.at(format!("policy \"{name}\"")))?;
    let table = Object::table(&full);
    engine.access.change(|roles| {
        if roles.policies.iter().any(|policy| policy.name == name && policy.table == table) {
            return Err(Error::fix(SqlState::DUPLICATE_OBJECT, format!("policy \"{name}\" on {table} exists already")));
        }
        let to: BTreeSet<String> = to.into_iter().collect();
        to.iter().filter(|role| *role != EVERYBODY).try_for_each(|role| roles.role(role).map(drop))?;
        let for_all = to.contains(EVERYBODY);
        let policy = Policy { name, table, roles: if for_all { BTreeSet::new() } else { to }, rule };
        roles.policies.push(policy);
        roles.policies.sort_by(|one, other| (&one.table, &one.name).cmp(&(&other.table, &other.name)));
        Ok(())
    })?;
    end_all(session);
    done("CREATE POLICY")
}

fn drop_policy(session: &Session, name: &str, table: &Name, if_exists: bool) -> Result<Outcome> {
    let catalogs = session.engine.0.catalogs();
    let table = Object::table(&full_name(&catalogs, table)?);
    session.engine.0.access.change(|roles| {
        let before = roles.policies.len();
        roles.policies.retain(|policy| policy.name != name || policy.table != table);
        match roles.policies.len() == before && !if_exists {
            true => Err(Error::fix(SqlState::NO_OBJECT, format!("policy \"{name}\" on {table} does not exist"))),
            false => Ok(()),
        }
    })?;
    end_all(session);
    done("DROP POLICY")
}

/// Where a policy comes or goes, what somebody sees may become less.
fn end_all(session: &Session) {
    let roles = session.engine.0.access.roles();
    end_statements(session, roles.roles.keys().filter(|name| !roles.is_superuser(name)).map(String::as_str));
}

/// The columns of `polder.system.roles` and its like, and their lines.
pub(super) fn role_lines(roles: &Roles) -> Vec<[Option<String>; 6]> {
    let yes = |is: bool| Some(is.to_string());
    let line = |(name, role): (&String, &Role)| {
        let members = role.member_of.iter().cloned().collect::<Vec<_>>().join(", ");
        [
            Some(name.clone()),
            yes(role.login),
            yes(role.superuser),
            yes(role.read_only),
            yes(role.verifier.is_some()),
            Some(members),
        ]
    };
    roles.roles.iter().map(line).collect()
}

pub(super) fn grant_lines(roles: &Roles) -> Vec<[Option<String>; 4]> {
    let line = |name: &String, grant: &Grant| {
        let columns = grant.columns.as_ref().map(|columns| columns.iter().cloned().collect::<Vec<_>>().join(", "));
        [Some(name.clone()), Some(grant.privilege.as_str().to_string()), Some(grant.object.to_string()), columns]
    };
    let owned = roles
        .owners
        .iter()
        .map(|owner| [Some(owner.role.clone()), Some("OWNER".to_string()), Some(owner.object.to_string()), None]);
    let of_role =
        |(name, role): (&String, &Role)| role.grants.iter().map(|grant| line(name, grant)).collect::<Vec<_>>();
    roles.roles.iter().flat_map(of_role).chain(owned).collect()
}

pub(super) fn policy_lines(roles: &Roles) -> Vec<[Option<String>; 5]> {
    let line = |policy: &Policy| {
        let to = policy.roles.iter().cloned().collect::<Vec<_>>().join(", ");
        let (column, expression) = match &policy.rule {
            Rule::Filter { condition } => (None, condition.clone()),
            Rule::Mask { column, value } => (Some(column.clone()), value.clone()),
        };
        [Some(policy.table.to_string()), Some(policy.name.clone()), Some(to), column, Some(expression)]
    };
    roles.policies.iter().map(line).collect()
}

pub(super) fn token_lines(roles: &Roles) -> Vec<[Option<String>; 3]> {
    let until = |seconds| chrono::DateTime::from_timestamp_secs(seconds).map(|time| time.to_rfc3339());
    let line = |(name, token): (&String, &Token)| {
        [Some(name.clone()), Some(token.user.clone()), token.valid_until.and_then(until)]
    };
    roles.tokens.iter().map(line).collect()
}
