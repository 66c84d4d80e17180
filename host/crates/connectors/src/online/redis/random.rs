//! Names that nobody else makes: for tenures of claims and for stores.

use std::hash::{BuildHasher, RandomState};

/// 32 hexadecimal digits. Hash tables' keys are random for each process and differ within it.
pub(super) fn random_hex() -> String {
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}
