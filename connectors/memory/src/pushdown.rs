//! What this source can do itself: any filter that DataFusion can evaluate, because DataFusion evaluates it here too.

use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, Volatility};
use polder_catalog::{Reason, ReasonCode};

/// Why a filter cannot be evaluated here exactly; `None` if it can.
///
/// A connector to another system turns this around: it lists the expressions whose meaning over there is proven to be
/// DataFusion's, type by type, and refuses the rest.
pub(crate) fn obstacle(filter: &Expr, schema: &SchemaRef) -> Option<Reason> {
    let mut found = None;
    let visited: Result<_> = filter.apply(|expr| {
        found = obstacle_of_node(expr, schema);
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match visited {
        Ok(_) => found,
        Err(error) => Some(Reason::new(ReasonCode::Semantics, error.to_string())),
    }
}

fn obstacle_of_node(expr: &Expr, schema: &SchemaRef) -> Option<Reason> {
    match expr {
        Expr::Column(column) if schema.column_with_name(&column.name).is_none() => {
            Some(Reason::new(ReasonCode::SeveralSources, format!("{column} is not a column of this table")))
        }
        Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile => {
            Some(Reason::new(ReasonCode::Volatile, format!("{} gives another result at each call", call.func.name())))
        }
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
            Some(Reason::new(ReasonCode::SourceLacks, "a subquery is not evaluated at the source"))
        }
        Expr::OuterReferenceColumn(..) => {
            Some(Reason::new(ReasonCode::SourceLacks, "a value of an outer query is not known at the source"))
        }
        _ => None,
    }
}
