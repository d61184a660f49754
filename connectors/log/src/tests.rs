//! Topics at their outermost edge: a log in a temporary directory, read through DataFusion.

mod appending;
mod conformance;
mod defining;
mod desk;
mod latest;
mod pushing;
