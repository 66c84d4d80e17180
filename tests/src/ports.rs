//! Ports that are free, and stay so until whoever asked for one listens there.
//!
//! They are taken from below those that the system gives to whoever asks for any: no connection and no proxy of another
//! test can come by one in between. Within a process each is given out once; processes begin in different places.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The lowest one.
const FIRST: u16 = 10_000;
/// How many there are. As many more behind them are left to [`bus_of`].
const COUNT: u16 = 10_000;

/// A port that is free on loopback.
pub(crate) fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU32> =
        LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(2_654_435_761)));
    for _ in 0..COUNT {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(COUNT);
        let port = FIRST + u16::try_from(number).expect("there are fewer ports than that");
        if is_free(port) && is_free(bus_of(port)) {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

/// Where a node of a Redis cluster listens for other nodes; as free as the port itself.
fn bus_of(port: u16) -> u16 {
    port + COUNT
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A loopback address with a port that is free.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}
