//! The host's side of the contract in `wit/`, generated; nothing else.
//!
//! Arguments are borrowed, so that a batch is written into the guest straight from Arrow's buffers.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "view",
    ownership: Borrowing { duplicate_if_necessary: true },
});
