//! Rows → Redis.
mod answer;
mod budget;
mod claim;
mod cluster;
mod collapse;
mod common;
mod contact;
mod encode;
mod known;
mod pipe;
mod single;
mod view;
mod wire;
mod work;

mod handle;

pub(super) use common::Common;
pub(super) use handle::Writers;
