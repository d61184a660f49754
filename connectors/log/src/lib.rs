//! The log: what is written first, and what everything else is derived from.
//!
//! The [`store`] keeps **shards** on disk: totally ordered, durable sequences of **entries**. It knows Arrow, but
//! neither DataFusion nor the other crates of Polder, so that it compiles, is tested and is simulated alone. What
//! makes topics and tables of it lives beside it, behind the feature `table`.

pub mod store;

#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
