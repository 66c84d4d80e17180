//! What tests share: fakes of everything at the rim, and contract suites that every implementation of a trait has to
//! pass. Never shipped.

pub mod fake;
pub mod contract;
