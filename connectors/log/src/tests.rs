//! Topics at their outermost edge: a log in a temporary directory, read through DataFusion.

mod appending;
mod desk;
