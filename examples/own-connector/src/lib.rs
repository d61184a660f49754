//! The tables of a plain `pg_dump` file, read in place: last night's backup beside today's tables, without a server.
//!
//! ```sql
//! CREATE CATALOG backup USING pg_dump WITH (file = '/backups/shop.sql');
//! SELECT * FROM backup.customers EXCEPT SELECT * FROM shop.customers;
//! ```
//!
//! The modules in the order a query travels: [`source`] is what Polder attaches, [`index`] finds the tables in the file,
//! [`pushdown`] says which filters are evaluated here, [`scan`] plans and streams rows, [`row`] decodes one line.

mod source;
mod index;
mod pushdown;
mod scan;
mod row;
mod file;
#[cfg(test)]
mod tests;

pub use source::DumpConnector;
