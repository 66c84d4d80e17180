//! Who reads which shard, and how far everybody is.

mod group;

pub use group::{Leases, LeaseOptions, LeasePlace};
