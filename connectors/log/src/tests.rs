//! Topics at their outermost edge: a log in a temporary directory, read through DataFusion.

mod appending;
mod changing;
mod conformance;
mod defining;
mod desk;
mod latest;
mod pushing;
