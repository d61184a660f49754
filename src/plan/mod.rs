//! Resolved names to a physical plan. No I/O happens here: what a query needs to know was fetched before.

mod bind;
pub(crate) mod explain;
mod federate;
mod hidden;
mod marks;
mod names;
mod snippets;
mod types;
mod zeros;
mod cooperate;

pub(crate) use bind::{Planned, Planner, Shape, Tables, template, with_column_names};
pub(crate) use names::{PassThroughCall, names};
