//! PostgreSQL as a source: discovery, exact pushdown, binary COPY into Arrow.

mod table;
mod types;
