//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod migrate;
pub(crate) mod new;
pub(crate) mod rewind;
pub(crate) mod run;
pub(crate) mod schema;
