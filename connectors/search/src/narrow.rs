//! Runtime filters: the query narrowed to the keys that the rest of the statement turned out to want.
//!
//! Keys pass through the same whitelist as any constant. What has no exact counterpart is left out, and more rows
//! come: the join above checks each.

use crate::layout::{Layout, Slot};
use crate::pushdown::{Condition, value};
use polder_catalog::{Error, Keys, Reason, Result, RuntimeFilters, ScanMeter, Wanted};
use std::ops::Bound;

/// Terms that are looked up one by one; beyond, their bounds are.
const KEYS_MAX: usize = 10_000;

/// Which rows are wanted now, of a scan with these columns of the layout. What is asked is noted.
pub(crate) fn wanted(
    filters: &RuntimeFilters,
    layout: &Layout,
    output: &[usize],
    meter: &ScanMeter,
) -> Result<Condition> {
    let keys = match filters.wanted().map_err(Error::from_datafusion)? {
        Wanted::Rows(keys) => keys,
        Wanted::Nothing => {
            meter.asked("nothing, since the other side of the join is empty".to_string());
            return Ok(Condition::Nothing);
        }
    };
    let mut conditions = Vec::with_capacity(keys.len());
    for keys in &keys {
        let Some(slot) = output.get(keys.column).and_then(|at| layout.slots.get(*at)) else { continue };
        if let Some((condition, said)) = told(condition(keys, slot)) {
            meter.asked(format!("{} {said}", slot.field.name()));
            conditions.push(condition);
        }
    }
    Ok(Condition::and(conditions))
}

/// The keys one by one if they are few enough, else their bounds; and how that reads.
fn condition(keys: &Keys, slot: &Slot) -> Result<(Condition, Keys), Reason> {
    if let Some(values) = keys.values.as_ref().filter(|values| values.len() <= KEYS_MAX) {
        let values = values.iter().map(|value| value::of(value, slot)).collect::<Result<Vec<_>, _>>()?;
        return Ok((Condition::one_of(slot, values), keys.clone()));
    }
    let bound = |end: &Option<_>| end.as_ref().map(|end| value::bound(end, slot)).transpose();
    let ends = (bound(&keys.low)?, bound(&keys.high)?);
    let (low, high) =
        (ends.0.map_or(Bound::Unbounded, Bound::Included), ends.1.map_or(Bound::Unbounded, Bound::Included));
    let bounds = Keys { values: None, ..keys.clone() };
    Ok(match (&low, &high) {
        (Bound::Unbounded, Bound::Unbounded) => (Condition::All, bounds),
        _ => (Condition::range(slot, low, high), bounds),
    })
}

/// A condition, unless it has no exact counterpart.
fn told<T>(condition: Result<T, Reason>) -> Option<T> {
    condition.inspect_err(|reason| tracing::debug!(%reason, "the keys of a join stay here")).ok()
}
