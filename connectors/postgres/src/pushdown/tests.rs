//! The printer against hostile names and values, and generated queries with pushdown on and off.

mod oracle;
mod printing;
