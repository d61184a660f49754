//! Comparisons, IN and LIKE: which values compare alike on both sides, and under which collation.

use super::ast::{Expr, Literal, Operator, Text, Type};
use super::reason;
use super::typed::{Collation, Kind, Typed};
use polder_catalog::Reason;

/// `left operator right`.
pub(crate) fn translate(left: Typed, operator: Operator, right: Typed) -> Result<Expr, Reason> {
    let ordered = matches!(operator, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    let (left, right) = comparable(left, right, ordered)?;
    Ok(left.binary(operator, right))
}

/// `operand IN (items)`. Constants stay a list, which PostgreSQL can look up in an index or hash.
pub(crate) fn in_list(operand: Typed, items: Vec<Typed>, negated: bool) -> Result<Expr, Reason> {
    // DataFusion looks the values of a longer list up by their bits, and tells 0 from -0 there, though not in `=`.
    if operand.kind == Kind::Float && !items.iter().all(|item| is_nonzero_float(&item.expr)) {
        return Err(reason::semantics("a list of floats with 0 in it, or with what may be 0"));
    }
    let constant = |item: &Typed| item.constant.is_some() || is_literal(&item.expr);
    if items.iter().all(constant) {
        let mut list = Vec::with_capacity(items.len());
        let mut subject = None;
        for item in items {
            let (left, right) = comparable(operand.clone(), item, false)?;
            subject = Some(left);
            list.push(right);
        }
        let operand = Box::new(subject.expect("a list has an item"));
        return Ok(Expr::InList { operand, items: list, negated });
    }
    let equalities =
        items.into_iter().map(|item| translate(operand.clone(), Operator::Eq, item)).collect::<Result<Vec<_>, _>>()?;
    let any = Expr::any(equalities).expect("a list has an item");
    Ok(if negated { Expr::Not(Box::new(any)) } else { any })
}

fn is_nonzero_float(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(Literal::Null) => true,
        Expr::Literal(Literal::Text(text)) => text.as_str().parse::<f64>().is_ok_and(|value| value != 0.0),
        Expr::Cast(inner, _) => is_nonzero_float(inner),
        _ => false,
    }
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(_) => true,
        Expr::Cast(inner, _) => is_literal(inner),
        _ => false,
    }
}

/// Both sides, ready for an operator between them.
fn comparable(left: Typed, right: Typed, ordered: bool) -> Result<(Expr, Expr), Reason> {
    match (left.kind, right.kind) {
        (Kind::Opaque, _) | (_, Kind::Opaque) => Err(reason::type_(
            "a type that Arrow has not is compared by its own rules, not by those of the text it is read as",
        )),
        (Kind::Null, _) | (_, Kind::Null) => Err(reason::type_("a NULL without a type")),
        (Kind::Text(_) | Kind::Label, Kind::Text(_) | Kind::Label) => texts(left, right, ordered),
        (Kind::Integer(_), Kind::Integer(_)) => Ok((left.into_comparand(), right.into_comparand())),
        (one, other) if one == other => Ok((left.expr, right.expr)),
        _ => Err(reason::type_(format!("types {} and {} do not compare directly", left.data_type, right.data_type))),
    }
}

fn texts(left: Typed, right: Typed, ordered: bool) -> Result<(Expr, Expr), Reason> {
    if ordered && (left.kind == Kind::Label || right.kind == Kind::Label) {
        return Err(reason::type_("an enum is ordered by its declaration, its labels as text are not"));
    }
    let collation = collation_of(&left).merged(collation_of(&right));
    let comparand = |side: Typed| match side.kind {
        Kind::Label => side.expr.cast(Type::Text),
        _ => side.into_comparand(),
    };
    let (left, right) = (comparand(left), comparand(right));
    match collation {
        Collation::C => Ok((left, right)),
        Collation::Deterministic if !ordered => Ok((left, right)),
        // Constants alone have the database's collation.
        Collation::Constant if !ordered => Ok((left, right)),
        Collation::Deterministic | Collation::Constant | Collation::Mixed => Ok((left.collate_c(), right)),
    }
}

fn collation_of(side: &Typed) -> Collation {
    match side.kind {
        Kind::Text(collation) => collation,
        _ => Collation::Deterministic,
    }
}

/// `operand LIKE 'pattern'`. The backslash escapes on both sides, but only before `%`, `_` and itself to the same end,
/// and PostgreSQL refuses it at the end.
pub(crate) fn like(operand: Typed, pattern: &str, escape: Option<char>, negated: bool) -> Result<Expr, Reason> {
    if !matches!(escape, None | Some('\\')) {
        return Err(reason::semantics("LIKE with another escape than the backslash"));
    }
    if !escapes_alike(pattern) {
        return Err(reason::semantics("a backslash in a LIKE pattern stands before a character that needs none"));
    }
    let (operand, collation) = operand.into_text()?;
    let operand = if collation == Collation::Mixed { operand.collate_c() } else { operand };
    let pattern = Text::new(pattern).ok_or_else(|| reason::type_("the pattern holds a NUL byte"))?;
    let operator = if negated { Operator::NotLike } else { Operator::Like };
    Ok(operand.binary(operator, Expr::Literal(Literal::Text(pattern))))
}

fn escapes_alike(pattern: &str) -> bool {
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && !matches!(characters.next(), Some('%' | '_' | '\\')) {
            return false;
        }
    }
    true
}
