//! Roles and all that is known of them, as an immutable snapshot.

use super::privilege::{Object, Privilege};
use super::{EVERYBODY, LOCAL};
use polder_catalog::{Error, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that says who may do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roles {
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) policies: Vec<Policy>,
}

/// A user if it can log in, else a group of rights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Role {
    pub(crate) login: bool,
    /// What a password is checked with, in PostgreSQL's spelling (`SCRAM-SHA-256$...`).
    pub(crate) verifier: Option<String>,
    pub(crate) superuser: bool,
    pub(crate) read_only: bool,
    pub(crate) member_of: BTreeSet<String>,
    pub(crate) grants: Vec<Grant>,
}

/// One right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    pub(crate) privilege: Privilege,
    pub(crate) object: Object,
    /// None for all.
    pub(crate) columns: Option<BTreeSet<String>>,
}

/// A bearer token: whoever has it is its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) user: String,
    /// SHA-256 of the token, in hexadecimal.
    pub(crate) hash: String,
    /// Seconds since 1970; None for ever.
    pub(crate) valid_until: Option<i64>,
}

/// Who made something: they may do everything with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owner {
    pub(crate) object: Object,
    pub(crate) role: String,
}

/// Which rows of a table are seen, or how a column is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) table: Object,
    /// Empty for everybody.
    pub(crate) roles: BTreeSet<String>,
    pub(crate) rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Rule {
    /// A row is seen if the condition is true.
    Filter { condition: String },
    /// The column is seen as this expression.
    Mask { column: String, value: String },
}

impl Rule {
    /// What is seen of a table by whom nothing else binds.
    pub(crate) fn alone(&self) -> Sight {
        match self {
            Self::Filter { condition } => Sight { filters: Some(vec![condition.clone()]), ..Sight::default() },
            Self::Mask { column, value } => Sight { masks: vec![(column.clone(), value.clone())], ..Sight::default() },
        }
    }
}

/// What a role sees of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// None for all.
    pub(crate) columns: Option<BTreeSet<String>>,
    /// A row is seen if one of them is true; None for all rows.
    pub(crate) filters: Option<Vec<String>>,
    /// Columns and what is seen in their place; of several for one column the last counts.
    pub(crate) masks: Vec<(String, String)>,
}

impl Sight {
    pub(crate) fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

impl Roles {
    /// Whether anybody can log in: then everybody has to.
    pub(crate) fn demand_login(&self) -> bool {
        self.roles.values().any(|role| role.login)
    }

    /// # Errors
    /// 42704 if there is none.
    pub(crate) fn role(&self, name: &str) -> Result<&Role> {
        self.roles.get(name).ok_or_else(|| no_role(name))
    }

    /// # Errors
    /// 42704 if there is none.
    pub(crate) fn role_mut(&mut self, name: &str) -> Result<&mut Role> {
        self.roles.get_mut(name).ok_or_else(|| no_role(name))
    }

    pub(crate) fn is_superuser(&self, user: &str) -> bool {
        user == LOCAL || self.roles.get(user).is_some_and(|role| role.superuser)
    }

    /// # Errors
    /// 42501 unless it is.
    pub(crate) fn check_superuser(&self, user: &str, what: &str) -> Result<()> {
        match self.is_superuser(user) {
            true => Ok(()),
            false => Err(denied(format!("permission denied: only a superuser may {what}"))),
        }
    }

    pub(crate) fn is_read_only(&self, user: &str) -> bool {
        self.of(user).iter().any(|role| self.roles.get(*role).is_some_and(|role| role.read_only))
    }

    /// The role, those it is a member of, directly or through others, and what everybody is.
    pub(crate) fn of<'a>(&'a self, user: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::from([EVERYBODY]);
        let mut next = vec![user];
        while let Some(name) = next.pop() {
            if found.insert(name) {
                next.extend(self.roles.get(name).into_iter().flat_map(|role| &role.member_of).map(String::as_str));
            }
        }
        found
    }

    pub(crate) fn owner(&self, object: &Object) -> Option<&str> {
        self.owners.iter().find(|owner| owner.object == *object).map(|owner| owner.role.as_str())
    }

    /// Whether a role owns something, or is a superuser.
    pub(crate) fn owns(&self, user: &str, object: &Object) -> bool {
        self.is_superuser(user) || self.owner(object).is_some_and(|owner| self.of(user).contains(owner))
    }

    /// # Errors
    /// 42501 unless it does.
    pub(crate) fn check_owner(&self, user: &str, object: &Object) -> Result<()> {
        match self.owns(user, object) {
            true => Ok(()),
            false => Err(denied(format!("permission denied: must be owner of {object}"))),
        }
    }

    fn grants<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a Grant> {
        self.of(user).into_iter().filter_map(|name| self.roles.get(name)).flat_map(|role| &role.grants)
    }

    /// Whether a role has a right on something as a whole.
    pub(crate) fn allow(&self, user: &str, privilege: Privilege, object: &Object) -> bool {
        let gives =
            |grant: &Grant| grant.privilege == privilege && grant.columns.is_none() && grant.object.contains(object);
        self.owns(user, object) || self.grants(user).any(gives)
    }

    /// # Errors
    /// 42501 unless it has.
    pub(crate) fn check(&self, user: &str, privilege: Privilege, object: &Object) -> Result<()> {
        match self.allow(user, privilege, object) {
            true => Ok(()),
            false => Err(self.refused(user, privilege, object)),
        }
    }

    fn refused(&self, user: &str, privilege: Privilege, object: &Object) -> Error {
        if user != LOCAL && !self.roles.contains_key(user) {
            return Error::fix(SqlState::LOGIN, format!("role \"{user}\" does not exist any more"));
        }
        let what = privilege.as_str();
        denied(format!("permission denied for {object}"))
            .with_hint(format!("a superuser or its owner may GRANT {what} ON {} TO {user}", grantable(object)))
    }

    /// Whether a role may know that something is there.
    pub(crate) fn shows(&self, user: &str, object: &Object) -> bool {
        let about = |grant: &Grant| grant.object.contains(object) || object.contains(&grant.object);
        let owns_within = || {
            let roles = self.of(user);
            self.owners.iter().any(|owner| roles.contains(owner.role.as_str()) && object.contains(&owner.object))
        };
        self.owns(user, object) || self.grants(user).any(about) || owns_within()
    }

    /// What a role sees of a table.
    ///
    /// # Errors
    /// 42501 if it sees nothing.
    pub(crate) fn sight(&self, user: &str, table: &Object) -> Result<Sight> {
        if self.owns(user, table) {
            return Ok(Sight::default());
        }
        let columns = self.seen_columns(user, table)?;
        let roles = self.of(user);
        let is_for =
            |policy: &&Policy| policy.roles.is_empty() || policy.roles.iter().any(|role| roles.contains(role.as_str()));
        let (mut filters, mut masks) = (None, Vec::new());
        for policy in self.policies.iter().filter(|policy| policy.table == *table) {
            match &policy.rule {
                // Where there are filters, who has none sees no row.
                Rule::Filter { condition } => {
                    let seen: &mut Vec<String> = filters.get_or_insert_default();
                    seen.extend(is_for(&policy).then(|| condition.clone()));
                }
                Rule::Mask { column, value } if is_for(&policy) => masks.push((column.clone(), value.clone())),
                Rule::Mask { .. } => {}
            }
        }
        Ok(Sight { columns, filters, masks })
    }

    fn seen_columns(&self, user: &str, table: &Object) -> Result<Option<BTreeSet<String>>> {
        if self.allow(user, Privilege::Select, table) {
            return Ok(None);
        }
        let of_columns = |grant: &&Grant| grant.privilege == Privilege::Select && grant.object == *table;
        let columns: BTreeSet<String> =
            self.grants(user).filter(of_columns).flat_map(|grant| grant.columns.iter().flatten().cloned()).collect();
        match columns.is_empty() {
            false => Ok(Some(columns)),
            true => Err(self.refused(user, Privilege::Select, table)),
        }
    }

    /// Everybody whose rights stem from these roles.
    pub(crate) fn members<'a>(&'a self, roles: &BTreeSet<&str>) -> BTreeSet<&'a str> {
        let names = self.roles.keys().map(String::as_str);
        names.filter(|name| self.of(name).iter().any(|role| roles.contains(role))).collect()
    }

    /// Something is gone, and whatever was said of it with it.
    pub(crate) fn forget(&mut self, gone: &Object) {
        self.owners.retain(|owner| !gone.contains(&owner.object));
        self.policies.retain(|policy| !gone.contains(&policy.table));
        self.roles.values_mut().for_each(|role| role.grants.retain(|grant| !gone.contains(&grant.object)));
    }

    /// A table has another name.
    pub(crate) fn rename(&mut self, from: &Object, to: &Object) {
        let named = |object: &mut Object| {
            if object == from {
                *object = to.clone();
            }
        };
        self.owners.iter_mut().for_each(|owner| named(&mut owner.object));
        self.policies.iter_mut().for_each(|policy| named(&mut policy.table));
        self.roles.values_mut().flat_map(|role| &mut role.grants).for_each(|grant| named(&mut grant.object));
    }
}

/// How GRANT names it.
fn grantable(object: &Object) -> String {
    match object {
        Object::Table { catalog, schema, table } => format!("{catalog}.{schema}.{table}"),
        other => other.to_string(),
    }
}

pub(crate) fn denied(message: impl Into<String>) -> Error {
    Error::fix(SqlState::PRIVILEGE, message)
}

fn no_role(name: &str) -> Error {
    Error::fix(SqlState::NO_OBJECT, format!("role \"{name}\" does not exist"))
        .with_hint("SELECT name FROM polder.system.roles lists them")
}
