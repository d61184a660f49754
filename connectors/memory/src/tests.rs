//! The conformance suite on this connector, and what is special about memory.

mod broken;
mod subject;

use subject::MemorySubject;

polder_catalog::conformance!(MemorySubject::start());
