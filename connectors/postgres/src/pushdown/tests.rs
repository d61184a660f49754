//! The printer against hostile names and values, and the translator's whitelist.

mod printing;
