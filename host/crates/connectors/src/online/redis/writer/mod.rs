//! Rows → Redis.
//!
//! Each writer is a thread with a connection of its own; all rows of one view go through one of them, which therefore
//! knows in which order they were sent. A batch becomes a [`work`]: keys are encoded, rows of one entity collapsed into
//! the newest. The [`pipe`] cuts works into requests of a few hundred rows, as Redis answers nobody else while it works
//! on one, and [`encode`] decides for each row which of the two ways it goes (see [`super`]).
//!
//! When something breaks, everything under way fails with a retry, and its end is unknown: rows are written again, which
//! changes nothing. What was known of entities is forgotten, and claims are asked for anew.
//!
//! **Reading order.** `wire`, `known`, `collapse`, `claim`, `view`, `budget`, `work`; `encode`, `answer`; `common`,
//! `contact`; `pipe` and `single` for one master, `cluster` for many; `handle` is what the store has of it.

mod answer;
mod budget;
mod claim;
mod cluster;
mod collapse;
mod common;
mod contact;
mod encode;
mod handle;
mod known;
mod pipe;
mod single;
mod view;
pub(super) mod wire;
mod work;

pub(super) use common::Common;
pub(super) use handle::Writers;
