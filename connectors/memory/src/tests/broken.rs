//! Sources with one thing broken each.
