//! Real neighbours for tests and benchmarks.
