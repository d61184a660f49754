//! CREATE PROCEDURE, DROP PROCEDURE and CALL; and what a call has emitted to other shards.
//!
//! A call is a transaction that the engine does for its client: its steps read and change the newest tables, and the log decides
//! whether what they have read still holds. If not it is done again. What it emits goes into the same entry.

use crate::commit::{Committed, Decision, Write, outcome_entry, position};
use crate::effects::{self, DeadLetter, Effect, Origin};
use crate::engine::{Engine, Inner};
use crate::execute::define::done;
use crate::execute::patience::Patience;
use crate::execute::publish::Defining;
use crate::execute::write::{self, Draft, Writable};
use crate::execute::{query, table};
use crate::home::name_of;
use crate::requests::{Rejection, Request};
use crate::run::{self, Due};
use crate::session::{Outcome, Session, Transaction};
use crate::sql::{self, Argument, IfExists, Name, ProcedureDefinition, Statement, Step};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::Volatility;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr, visit_expressions};
use polder_catalog::{Error, Kind, ReadContext, Result, SqlState};
use polder_log::store::{Attributes, EntryKind, MAIN};
use polder_rows::{Home, Proposal};
use std::ops::ControlFlow;
use std::sync::Arc;

const CALL: &str = "CALL";

/// `CREATE [OR REPLACE] PROCEDURE`.
pub(super) async fn create(
    session: &Session,
    name: Name,
    definition: ProcedureDefinition,
    exists: IfExists,
) -> Result<Outcome> {
    let context = query::context(session);
    let name = table::own_name(name, "procedure")?;
    let types = types(session, &definition).await?;
    check(session, &context, &definition, &types).await?;
    let mut defining = Defining::begin(session, &context).await?;
    if defining.catalogs.procedures.contains_key(&name) {
        match exists {
            IfExists::Keep => return done("CREATE PROCEDURE"),
            IfExists::Replace => {}
            IfExists::Refuse => {
                return Err(Error::fix(SqlState::DUPLICATE_FUNCTION, format!("procedure \"{name}\" exists already"))
                    .with_hint("write CREATE OR REPLACE PROCEDURE"));
            }
        }
    }
    defining.catalogs.procedures.insert(name, definition);
    defining.publish().await?;
    done("CREATE PROCEDURE")
}

/// `DROP PROCEDURE`. Effects that are on their way to it find it gone.
pub(super) async fn drop(session: &Session, name: Name, if_exists: bool) -> Result<Outcome> {
    let context = query::context(session);
    let mut defining = Defining::begin(session, &context).await?;
    let name = table::own_name(name, "procedure")?;
    if defining.catalogs.procedures.remove(&name).is_none() {
        return if if_exists { done("DROP PROCEDURE") } else { Err(missing(&name)) };
    }
    defining.publish().await?;
    done("DROP PROCEDURE")
}

fn missing(name: &str) -> Error {
    Error::fix(SqlState::NO_FUNCTION, format!("procedure \"{name}\" does not exist"))
        .with_hint("polder.system.procedures lists them")
}

/// The types of the parameters.
async fn types(session: &Session, definition: &ProcedureDefinition) -> Result<SchemaRef> {
    let column = |(name, of): &(String, String)| match sql::expression(&format!("CAST(NULL AS {of})"))? {
        Expr::Cast { data_type, .. } => Ok((name.clone(), data_type)),
        _ => Err(Error::report("a type was read as something else")),
    };
    let columns = definition.parameters.iter().map(column).collect::<Result<Vec<_>>>()?;
    table::types_of(session, columns).await
}

/// Refuses what could not be called, or would not be the same each time.
async fn check(
    session: &Session,
    context: &ReadContext,
    definition: &ProcedureDefinition,
    types: &SchemaRef,
) -> Result<()> {
    let null = |((name, of), field): (&(String, String), &arrow::datatypes::FieldRef)| {
        Argument::new(name, of, &ScalarValue::try_new_null(field.data_type()).map_err(Error::from_datafusion)?)
    };
    let nulls = definition.parameters.iter().zip(types.fields()).map(null).collect::<Result<Vec<_>>>()?;
    for step in sql::steps(definition)? {
        let (condition, statement) = match step {
            Step::Assert { condition, .. } => (Some(condition), None),
            Step::Write(statement) => (None, Some(*statement)),
            Step::Emit { when, text } => (when, Some(sql::parse(&text)?)),
        };
        if let Some(condition) = condition {
            refuse_volatile(&session.engine.0, &condition)?;
            let query = sql::select_where(sql::bind_names_in(&condition, &nulls)?)?;
            write::schema_of(session, context, &query).await?;
        }
        if let Some(statement) = statement {
            refuse_volatile_in(&session.engine.0, &statement)?;
            check_target(session, context, &statement)?;
        }
    }
    Ok(())
}

fn check_target(session: &Session, context: &ReadContext, statement: &Statement) -> Result<()> {
    match statement {
        Statement::Insert { table, .. }
        | Statement::Update { table, .. }
        | Statement::Delete { table, .. }
        | Statement::Merge { table, .. } => match write::writable(session, table, context, &[])? {
            Writable::Table(table) if table.is_own() => Ok(()),
            Writable::Table(_) | Writable::Topic(_) => {
                Err(Error::fix(SqlState::NOT_SUPPORTED, "a procedure changes tables of Polder's own"))
            }
        },
        // It may call itself, or what is still to be made.
        _ => Ok(()),
    }
}

fn refuse_volatile(engine: &Inner, tree: &impl ast::Visit) -> Result<()> {
    let found = visit_expressions(tree, |expr| {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        match engine.template.scalar_functions().get(&name).map(|known| known.signature().volatility) {
            Some(Volatility::Immutable) | None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(name),
        }
    });
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => {
            Err(Error::fix(SqlState::NOT_SUPPORTED, format!("{name}() may be another value each time"))
                .with_hint("a procedure is deterministic: give the value as an argument"))
        }
    }
}

fn refuse_volatile_in(engine: &Inner, statement: &Statement) -> Result<()> {
    match statement {
        Statement::Insert { query, .. } => match &query.0 {
            datafusion::sql::parser::Statement::Statement(statement) => refuse_volatile(engine, statement.as_ref()),
            _ => Ok(()),
        },
        Statement::Update { assignments, which, .. } => {
            assignments.iter().try_for_each(|(_, value)| refuse_volatile(engine, value))?;
            which.others.iter().try_for_each(|other| refuse_volatile(engine, other))?;
            which.condition.iter().try_for_each(|condition| refuse_volatile(engine, condition))
        }
        Statement::Delete { which, .. } => {
            which.others.iter().try_for_each(|other| refuse_volatile(engine, other))?;
            which.condition.iter().try_for_each(|condition| refuse_volatile(engine, condition))
        }
        Statement::Merge { merge, .. } => {
            refuse_volatile(engine, &merge.source)?;
            refuse_volatile(engine, &merge.on)
        }
        Statement::Call { arguments, .. } => {
            arguments.iter().try_for_each(|argument| refuse_volatile(engine, argument))
        }
        _ => Ok(()),
    }
}

/// `CALL name(expression, ...)`.
pub(super) async fn call(
    session: &Session,
    name: &Name,
    arguments: &[Expr],
    request: Option<Request>,
) -> Result<Outcome> {
    let engine = &session.engine;
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let cause = session.position();
    if let Some(before) = engine.0.commit.outcome(request.as_ref()).await? {
        session.reached(&position([(MAIN.to_string(), before.shown)]));
        return before.outcome.map(Outcome::Done).map_err(|rejection| rejection.error());
    }
    let program = Program::of_call(session, name, arguments).await?;
    let mut attributes = request.as_ref().map(|request| request.attributes(CALL)).unwrap_or_default();
    attributes.cause = effects::cause(&cause);
    let run = Run { engine, context: &context, program: &program, attributes, request, origin: None };
    match run.decide().await? {
        Decided::Now { home, end, shown } => {
            session.reached(&position([(MAIN.to_string(), shown)]));
            if session.settings().waits_for_effects() {
                engine.0.commit.effects().wait(home, end, &context).await?;
                let shown = engine.0.commit.own().position();
                session.reached(&shown);
            }
            done(CALL)
        }
        Decided::Before(tag) => done(&tag),
        Decided::Declined(error) => Err(error),
    }
}

/// `REPLAY DEAD LETTERS [FOR name]`: an entry of each shard that has any emits them again, once.
pub(super) async fn replay(session: &Session, name: Option<Name>) -> Result<Outcome> {
    let commit = &session.engine.0.commit;
    let context = query::context(session);
    commit.tables().await?;
    let wanted = name.and_then(|name| name.0.into_iter().next_back());
    let (mut count, mut entries) = (0, Vec::new());
    for ledger in commit.ledgers().await? {
        let home = ledger.home;
        loop {
            let (letters, emitted) = letters_of(session, home, wanted.as_deref()).await?;
            if letters.is_empty() {
                break;
            }
            let mut draft = Draft::new(&session.engine.0, EntryKind::REQUEST).await?;
            draft.emit(emitted)?;
            let (entry, _) = draft.finish()?;
            let attributes = Attributes { origin: Some(effects::replay_of(&letters)), ..Attributes::default() };
            let entry = entry.with_attributes(attributes);
            let write = Write { entry, proposal: Proposal::of_home(home), request: None, declined: None };
            match commit.decide(write).await {
                Ok(Decision::Refused(error)) => return Err(error),
                Ok(Decision::Taken(_, end)) => {
                    count += letters.len();
                    entries.push((home, end));
                    // One that dies once more is for the next statement.
                    break;
                }
                // Another one was first: look again for what is left.
                Err(error) if error.state() == SqlState::SERIALIZATION => context.check()?,
                Err(error) => return Err(error),
            }
        }
    }
    if session.settings().waits_for_effects() {
        for (home, end) in entries {
            commit.effects().wait(home, end.0, &context).await?;
        }
    }
    done(&format!("REPLAY {count}"))
}

/// The dead letters of a home that are about a table or procedure, or all, and what they are.
async fn letters_of(session: &Session, home: Home, wanted: Option<&str>) -> Result<(Vec<DeadLetter>, Vec<Effect>)> {
    let commit = &session.engine.0.commit;
    let (mut letters, mut emitted) = (Vec::new(), Vec::new());
    for (_, letter) in commit.effects().dead().into_iter().filter(|(known, _)| *known == home) {
        let Some(effect) = run::effect_of(commit, &letter).await? else { continue };
        let about = target_of(&sql::parse(&effect.statement)?);
        if wanted.is_none() || about.as_deref() == wanted {
            letters.push(letter);
            emitted.push(effect);
        }
    }
    Ok((letters, emitted))
}

/// The table or procedure that a statement is about.
fn target_of(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Insert { table: name, .. }
        | Statement::Update { table: name, .. }
        | Statement::Delete { table: name, .. }
        | Statement::Merge { table: name, .. }
        | Statement::Call { name, .. } => name.0.last().cloned(),
        _ => None,
    }
}

/// Does the effects of one entry that are still to be done, one after the other. Each is done, or a dead letter.
///
/// # Errors
/// The log's: those that are left are still to be done.
pub(crate) async fn apply(engine: &Engine, due: &Due) -> Result<()> {
    for (number, effect) in &due.effects {
        let origin = Origin { home: due.home, number: *number };
        let session = engine.session();
        let context = query::context(&session);
        let program = Program::of_effect(&session, effect).await;
        let attributes = Attributes {
            request_id: due.attributes.request_id.clone(),
            user: due.attributes.user.clone(),
            origin: Some(origin.to_string()),
            cause: [(name_of(due.home), polder_log::store::Offset(due.end))].into(),
            ..Attributes::default()
        };
        let program = match program {
            Err(error) if error.kind() == Kind::Fix => Program::broken(&error),
            program => program?,
        };
        let run = Run { engine, context: &context, program: &program, attributes, request: None, origin: Some(origin) };
        match run.decide().await {
            Ok(Decided::Declined(error)) => tracing::warn!(%origin, %error, "an effect is a dead letter"),
            Ok(Decided::Now { .. } | Decided::Before(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Steps with the values of the names in them.
struct Program {
    steps: Vec<Step>,
    arguments: Vec<Argument>,
    /// Why they cannot be known.
    broken: Option<Rejection>,
}

impl Program {
    fn broken(error: &Error) -> Self {
        Self { steps: Vec::new(), arguments: Vec::new(), broken: Some(Rejection::of(error)) }
    }

    async fn of_call(session: &Session, name: &Name, arguments: &[Expr]) -> Result<Self> {
        let catalogs = session.engine.0.catalogs();
        let name = table::own_name(name.clone(), "procedure")?;
        let definition = catalogs.procedures.get(&name).ok_or_else(|| missing(&name))?;
        if arguments.len() != definition.parameters.len() {
            let parameters: Vec<_> = definition.parameters.iter().map(|(name, of)| format!("{name} {of}")).collect();
            let message = format!("procedure \"{name}\" does not take {} arguments", arguments.len());
            return Err(
                Error::fix(SqlState::NO_FUNCTION, message).with_hint(format!("it takes ({})", parameters.join(", ")))
            );
        }
        let plain = |((name, of), argument): (&(String, String), &Expr)| {
            Some(Argument { name: name.clone(), sql_type: of.clone(), value: Some(plain_value(of, argument)?) })
        };
        let values: Option<Vec<Argument>> = definition.parameters.iter().zip(arguments).map(plain).collect();
        if let Some(arguments) = values {
            return Ok(Self { steps: sql::steps(definition)?, arguments, broken: None });
        }
        let cast = |((_, of), argument): (&(String, String), &Expr)| {
            let Expr::Cast { kind, data_type, format, array, .. } = sql::expression(&format!("CAST(NULL AS {of})"))?
            else {
                return Err(Error::report("a type was read as something else"));
            };
            Ok(Expr::Cast { kind, expr: Box::new(argument.clone()), data_type, format, array })
        };
        let casts = definition.parameters.iter().zip(arguments).map(cast).collect::<Result<Vec<_>>>()?;
        let values = values_of(session, casts).await.map_err(|error| error.at(format!("procedure \"{name}\"")))?;
        let argument = |((name, of), value): (&(String, String), ScalarValue)| Argument::new(name, of, &value);
        let values = definition.parameters.iter().zip(values).map(argument).collect::<Result<Vec<_>>>()?;
        Ok(Self { steps: sql::steps(definition)?, arguments: values, broken: None })
    }

    async fn of_effect(session: &Session, effect: &Effect) -> Result<Self> {
        let statement = sql::bind_names(&sql::parse(&effect.statement)?, &effect.arguments)?;
        match &statement {
            Statement::Call { name, arguments } => Self::of_call(session, name, arguments).await,
            _ => Ok(Self { steps: vec![Step::Write(Box::new(statement))], arguments: Vec::new(), broken: None }),
        }
    }
}

/// The text of an argument that is a literal of its parameter's type, as those of prepared calls and of effects are: it needs no
/// query.
fn plain_value(of: &str, argument: &Expr) -> Option<String> {
    let text = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    match argument {
        Expr::Cast { expr, data_type, array: false, .. } if data_type.to_string() == of => text(expr),
        Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) if of == "BIGINT" && digits.parse::<i64>().is_ok() => Some(digits.clone()),
            ast::Value::SingleQuotedString(text) if of == "TEXT" => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The values of expressions without columns.
async fn values_of(session: &Session, exprs: Vec<Expr>) -> Result<Vec<ScalarValue>> {
    if exprs.is_empty() {
        return Ok(Vec::new());
    }
    let Outcome::Rows(rows) = query::run(session, &sql::select(exprs)?).await? else {
        return Err(Error::report("a query without rows"));
    };
    let batches = rows.collect().await?;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0);
    let batch = batch.ok_or_else(|| Error::report("expressions without values"))?;
    let value = |column: &ArrayRef| ScalarValue::try_from_array(column, 0).map_err(Error::from_datafusion);
    batch.columns().iter().map(value).collect()
}

/// One request on its way to be decided.
struct Run<'a> {
    engine: &'a Engine,
    context: &'a ReadContext,
    program: &'a Program,
    attributes: Attributes,
    request: Option<Request>,
    origin: Option<Origin>,
}

/// What became of it.
enum Decided {
    /// It is in the log.
    Now { home: Home, end: u64, shown: polder_log::store::Offset },
    /// It was before.
    Before(String),
    /// The log says why it came to nothing.
    Declined(Error),
}

impl Run<'_> {
    /// Does the steps until what they have read still holds when the log decides.
    ///
    /// # Errors
    /// Those of the log, and of steps that would go better another time.
    async fn decide(&self) -> Result<Decided> {
        let mut patience = Patience::default();
        loop {
            match self.attempt(patience.is_at_end()).await {
                Err(error) if error.state() == SqlState::SERIALIZATION => patience.disturbed(self.context).await?,
                decided => return decided,
            }
        }
    }

    async fn attempt(&self, alone: bool) -> Result<Decided> {
        let engine = &self.engine.0;
        let _gate = write::Gate::enter(engine, alone, self.context).await?;
        let view = Arc::new(engine.commit.tables().await?.begin_newest());
        let inner = self.engine.session();
        inner.set_transaction(Some(Transaction::new(Arc::clone(&view), false, None, None)));
        let (declined, effects) = match self.steps(&inner).await {
            Ok(effects) => (None, effects),
            Err(error) if self.is_declined(&error) => (Some(error), Vec::new()),
            Err(error) => return Err(error),
        };
        let transaction = inner.set_transaction(None).ok_or_else(|| Error::report("a transaction went missing"))?;
        let changes = if declined.is_none() { transaction.finish(inner.user()).0 } else { Vec::new() };
        let emits = !effects.is_empty();
        let kind = if emits { EntryKind::REQUEST } else { EntryKind::DATA };
        let mut draft = Draft::new(engine, kind).await?;
        if emits {
            draft.emit(effects)?;
        }
        for change in changes {
            draft.add(&change.table, &change.rows, change.weights)?;
        }
        let (mut entry, changes) = draft.finish()?;
        if entry.record_count() == 0 {
            entry = outcome_entry()?;
        }
        entry = entry.with_attributes(self.attributes.clone());
        let proposal = engine.commit.propose(Vec::new(), &changes, Some(view.reads().clone())).await;
        // Where its rows are cannot be told: `main` says why.
        let (proposal, declined) = match proposal {
            Ok(proposal) => (proposal, declined),
            Err(error) if self.is_declined(&error) => (Default::default(), declined.or(Some(error))),
            Err(error) => return Err(error),
        };
        let effect = self.origin.map(|origin| (origin.home, origin.number));
        let proposal = proposal.with_effect(effect);
        let home = proposal.home();
        let write = Write { entry, proposal, request: self.request.clone(), declined };
        match engine.commit.decide(write).await? {
            Decision::Taken(Committed::Now(shown), end) => Ok(Decided::Now { home, end: end.0, shown }),
            Decision::Taken(Committed::Before(before), _) => {
                before.outcome.map(Decided::Before).map_err(|rejection| rejection.error())
            }
            Decision::Refused(error) => Ok(Decided::Declined(error)),
        }
    }

    /// Whether an error is the outcome of the request, and not of how it is written or where it runs. An effect has nobody to be
    /// told, so the log is told all that trying again would not mend.
    fn is_declined(&self, error: &Error) -> bool {
        let state = error.state();
        let class = &state.as_str()[..2];
        error.kind() == Kind::Fix && (self.origin.is_some() || ["P0", "21", "22", "23"].contains(&class))
    }

    /// What the steps emit.
    async fn steps(&self, session: &Session) -> Result<Vec<Effect>> {
        if let Some(error) = &self.program.broken {
            return Err(error.error());
        }
        let arguments = &self.program.arguments;
        let mut effects = Vec::new();
        for step in &self.program.steps {
            match step {
                Step::Assert { condition, message } => {
                    if !self.is_true(session, condition).await? {
                        let message = message.clone().unwrap_or_else(|| format!("assertion failed: {condition}"));
                        return Err(Error::fix(SqlState::ASSERTION, message));
                    }
                }
                Step::Write(statement) => {
                    let bound = sql::bind_names(statement, arguments)?;
                    Box::pin(super::statement(session, bound, None)).await?;
                }
                Step::Emit { when, text } => {
                    let wanted = match when {
                        Some(when) => self.is_true(session, when).await?,
                        None => true,
                    };
                    if wanted {
                        effects.push(Effect { statement: text.clone(), arguments: arguments.clone() });
                    }
                }
            }
        }
        Ok(effects)
    }

    async fn is_true(&self, session: &Session, condition: &Expr) -> Result<bool> {
        let condition = sql::bind_names_in(condition, &self.program.arguments)?;
        let Outcome::Rows(rows) = query::run(session, &sql::select_where(condition)?).await? else {
            return Err(Error::report("a query without rows"));
        };
        Ok(rows.collect().await?.iter().any(|batch| batch.num_rows() > 0))
    }
}
