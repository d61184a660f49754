//! Who may do what: users and roles, tokens, rights and policies.
//!
//! They lie in `DATA/access.json`, beside the log and not in it: what is about people must be erasable. Passwords and tokens
//! are not there, only what they are checked with.
//!
//! What is promised:
//!
//! 1. As long as nobody can log in, everybody is [`LOCAL`], who may do everything; so is whoever embeds the engine.
//! 2. A right that is not given is not there. A change of rights is durable before it is told, holds for every statement that
//!    begins after it, and one that takes something away ends the statements that run with it.
//! 3. Rights on tables are checked where names become tables, before a source is asked: who may not read a table does not
//!    learn whether there is one.
//! 4. Policies become part of the query before it is planned, so they bind what sources are sent, too.
//!
//! A view reads with the rights of its owner, a procedure with those of the engine; both are made available by a right on them.

mod log_in;
mod privilege;
mod roles;
mod scram;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use log_in::{hash, new_nonce, new_token};
pub(crate) use privilege::{Object, Privilege};
pub(crate) use roles::{Grant, Owner, Policy, Role, Roles, Rule, Sight, Token, denied};
pub(crate) use scram::{Exchange, Verifier};
pub(crate) use store::Access;

/// The user of whoever sits at the machine, and of everybody where nobody has to log in.
pub(crate) const LOCAL: &str = "local";

/// What everybody is a member of, and nobody can be dropped from.
pub(crate) const EVERYBODY: &str = "public";
