//! Free ports on the loopback interface.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpListener;

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up), so that no
/// client of another test can take a server's port while that server restarts.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A port of 127.0.0.1 on which nothing listens now. Another process may take it before the caller does,
/// so whoever starts a server on it tries again with the next one.
///
/// # Panics
/// If a thousand ports in a row are taken.
pub fn free_port() -> u16 {
    (0..1000).map(random_port).find(|port| is_free(*port)).expect("a port of 127.0.0.1 is free")
}

/// The standard library's one source of chance: every `RandomState` is seeded anew.
fn random_port(attempt: u16) -> u16 {
    let chance = RandomState::new().hash_one(attempt) % u64::from(PORTS.end - PORTS.start);
    PORTS.start + u16::try_from(chance).expect("a remainder is below its divisor")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
