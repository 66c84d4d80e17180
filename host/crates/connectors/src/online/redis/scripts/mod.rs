//! What runs inside Redis. Each file says what it takes and returns; `row.lua` goes before those that write rows.

use std::sync::{Arc, LazyLock};

use crate::redis::Script;

/// Takes in rows of one view and breaks a claim that is not the caller's.
pub(super) static BATCH: LazyLock<Arc<Script>> =
    LazyLock::new(|| Arc::new(Script::new(concat!(include_str!("row.lua"), include_str!("batch.lua")))));

/// Takes in one row, on clusters.
pub(super) static SINGLE: LazyLock<Arc<Script>> =
    LazyLock::new(|| Arc::new(Script::new(concat!(include_str!("row.lua"), include_str!("single.lua")))));

/// Takes a claim.
pub(super) static CLAIM: LazyLock<Arc<Script>> =
    LazyLock::new(|| Arc::new(Script::new(include_str!("claim.lua"))));
