//! Runtime filters: the request narrowed to the keys that the rest of the query turned out to want.
//!
//! The keys go through the same whitelist as any constant of a query, and the join above checks each row again. So what
//! has no exact counterpart is left out, and the request is only wider.

use crate::pushdown::{self, ast, typed::Typed};
use polder_catalog::{Error, Keys, Reason, Result, RuntimeFilters, ScanMeter, Wanted};

/// Keys that are sent one by one; beyond, their bounds are. DataFusion is told to keep as many apart.
const KEYS_MAX: usize = 10_000;
/// Characters of a statement with keys in it. A server reads a megabyte of them in some milliseconds.
const TEXT_MAX: usize = 1 << 20;

/// A request that can take more conditions.
#[derive(Clone, Debug)]
pub(crate) struct Narrowing {
    /// All rows in one query.
    pub(crate) whole: ast::Query,
    /// The conditions that cut it into shares, if it is read in several.
    pub(crate) shares: Vec<ast::Expr>,
    /// What each column of the result is called, and is in a condition of the query; none if nothing can be said of it.
    pub(crate) columns: Vec<(String, Option<Typed>)>,
    /// Whether the server can take any character.
    pub(crate) is_utf8: bool,
}

impl Narrowing {
    /// The same for some columns of the result.
    pub(crate) fn select_columns(&self, columns: &[usize]) -> Self {
        let mut whole = self.whole.clone();
        whole.select(columns);
        let columns = columns.iter().map(|index| self.columns[*index].clone()).collect();
        Self { whole, columns, ..self.clone() }
    }

    /// The selects that return what is wanted now; `None` if that is everything. What they ask is noted.
    pub(crate) fn selects(&self, filters: &RuntimeFilters, meter: &ScanMeter) -> Result<Option<Vec<String>>> {
        let keys = match filters.wanted().map_err(Error::from_datafusion)? {
            Wanted::Nothing => {
                meter.asked("nothing, since the other side of the join is empty".to_string());
                return Ok(Some(Vec::new()));
            }
            Wanted::Rows(keys) => keys,
        };
        let one_by_one: Vec<_> = keys.iter().filter_map(|keys| self.one_of(keys).map(|sql| (keys, sql))).collect();
        if !one_by_one.is_empty() {
            // Few rows are wanted, so one connection fetches them.
            let select = self.select(None, one_by_one.iter().map(|(_, condition)| condition.clone()));
            if let Some(select) = select {
                one_by_one.iter().for_each(|(keys, _)| self.note(keys, meter));
                return Ok(Some(vec![select]));
            }
        }
        let bounds: Vec<_> = keys.iter().filter_map(|keys| self.between(keys).map(|sql| (keys, sql))).collect();
        if bounds.is_empty() {
            return Ok(None);
        }
        let shares: Vec<_> = if self.shares.is_empty() { vec![None] } else { self.shares.iter().map(Some).collect() };
        let selects = shares.into_iter().map(|share| self.select(share, bounds.iter().map(|(_, sql)| sql.clone())));
        let Some(selects) = selects.collect::<Option<Vec<_>>>() else { return Ok(None) };
        bounds.iter().for_each(|(keys, _)| self.note(&Keys { values: None, ..(*keys).clone() }, meter));
        Ok(Some(selects))
    }

    fn note(&self, keys: &Keys, meter: &ScanMeter) {
        meter.asked(format!("{} {keys}", self.columns[keys.column].0));
    }

    /// The query with more conditions; `None` if the server cannot take its text.
    fn select(&self, share: Option<&ast::Expr>, conditions: impl Iterator<Item = ast::Expr>) -> Option<String> {
        let mut query = self.whole.clone();
        share.cloned().into_iter().chain(conditions).for_each(|condition| query.restrict(condition));
        let text = pushdown::print(&query);
        (text.len() <= TEXT_MAX && (self.is_utf8 || text.is_ascii())).then_some(text)
    }

    fn one_of(&self, keys: &Keys) -> Option<ast::Expr> {
        let values = keys.values.as_ref().filter(|values| values.len() <= KEYS_MAX)?;
        told(pushdown::one_of(self.column(keys)?, values))
    }

    fn between(&self, keys: &Keys) -> Option<ast::Expr> {
        let column = self.column(keys)?;
        let low = keys.low.as_ref().and_then(|low| told(pushdown::at_least(column.clone(), low)));
        let high = keys.high.as_ref().and_then(|high| told(pushdown::at_most(column, high)));
        ast::Expr::all(low.into_iter().chain(high))
    }

    fn column(&self, keys: &Keys) -> Option<Typed> {
        self.columns.get(keys.column)?.1.clone()
    }
}

/// A condition, unless it has no exact counterpart.
fn told(condition: Result<ast::Expr, Reason>) -> Option<ast::Expr> {
    condition.inspect_err(|reason| tracing::debug!(%reason, "the keys of a join stay here")).ok()
}
