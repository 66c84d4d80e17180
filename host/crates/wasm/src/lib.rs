//! The sandbox: components of untrusted origin, admitted, limited and called. The only crate that names wasmtime.
//!
//! The way of a component: [`admit()`] looks at the file, [`Engine::load`] compiles, links and describes it, and the
//! [`model::transform::Component`] that comes out makes a transform for each work unit. The way of a batch: `lower`
//! gives Arrow's buffers to the guest, `instance` calls it, `lift` distrusts what comes back.
//! When a component is loaded, swapped or dropped is not decided here, and neither is what becomes of a row whose call
//! failed.

mod admit;
mod bindings;
mod componentize;
mod contract;
mod describe;
mod engine;
mod error;
mod fault;
mod guest;
mod instance;
mod lift;
mod limits;
mod lineage;
mod load;
mod log;
mod lower;
mod transform;
mod wasi;

#[cfg(test)]
mod conversion_tests;

pub use admit::{DEFAULT_MAX_COMPONENT, admit};
pub use componentize::{componentize, is_component};
pub use contract::CONTRACT;
pub use engine::{Engine, EngineOptions, EngineStats, GUEST_STACK, Pooling};
pub use error::LoadError;
pub use load::digest;
pub use transform::{Admitted, Sandbox};
