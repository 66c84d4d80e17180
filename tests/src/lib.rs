//! The harness of the black-box tests: starts the real host on folders of its own, talks to it as users do, and kills it.
//!
//! Nothing here looks inside the host; what is asserted came over HTTP, from files, or from its exit.

mod certs;
mod host;
pub mod kafka;
pub mod kinesis;
mod launch;
mod ports;
mod process;
mod proxy;
pub mod redis;
mod services;
mod wait;
mod workspace;

pub use certs::{Certificates, openssl};
pub use host::{Answer, Host};
pub use ports::free_address;
pub use proxy::{Proxy, Way, api};
pub use services::require;
pub use wait::{LIMIT, eventually, pass};
pub use workspace::{Workspace, checkout, guest, host_binary};
