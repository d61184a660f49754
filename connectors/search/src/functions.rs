//! SQL functions of search: `match` and `snippet`.
//!
//! Over a table of this connector, `match` is handed to the index. Everywhere else (pushdown off, another source, a
//! view that is maintained) it evaluates itself over the rows at hand, cut into words as the column's field says.

mod local;
mod matching;
mod snippet;

pub(crate) use matching::MATCH;

use datafusion_expr::ScalarUDF;
use std::sync::Arc;

/// Every function, for a session to register.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(matching::Match::new())), Arc::new(ScalarUDF::from(snippet::SnippetOf::new()))]
}
