//! Which line leads to which slot.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::find::Found;
use super::link::Link;
use super::slot::SLOTS;

/// Stands for "no node" in the table of slots.
const NOBODY: u16 = u16::MAX;

/// The masters as they were found, with their slots.
pub(super) struct Topology {
    pub(super) masters: Vec<Master>,
    /// The master of each slot, as an index; `None` = one master has everything.
    owners: Option<Box<[u16]>>,
    /// As it was found, without what redirects have told.
    pub(super) found: Found,
}

pub(super) struct Master {
    pub(super) id: String,
    pub(super) link: Arc<Link>,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl Topology {
    pub(super) fn new(found: Found, is_cluster: bool, link_to: impl Fn(&str) -> Arc<Link>) -> Self {
        let masters: Vec<_> = found
            .masters
            .iter()
            .map(|held| Master {
                id: held.id.clone(),
                link: link_to(&held.address),
                slots: held.slots.clone(),
            })
            .collect();
        let owners = is_cluster.then(|| {
            let mut owners = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
            for (owner, master) in (0..).zip(&masters) {
                for slots in &master.slots {
                    owners[usize::from(*slots.start())..=usize::from(*slots.end())].fill(owner);
                }
            }
            owners
        });
        Self { masters, owners, found }
    }

    /// The same with what redirects have told since.
    pub(super) fn with_moved(&self, moved: &BTreeMap<u16, Arc<Link>>) -> Self {
        let mut masters: Vec<_> = self
            .masters
            .iter()
            .map(|master| Master {
                id: master.id.clone(),
                link: Arc::clone(&master.link),
                slots: master.slots.clone(),
            })
            .collect();
        let mut owners = self.owners.clone();
        for (&slot, link) in moved {
            let known = masters.iter().position(|master| master.link.address == link.address);
            let owner = known.unwrap_or_else(|| {
                masters.push(Master { id: String::new(), link: Arc::clone(link), slots: Vec::new() });
                masters.len() - 1
            });
            if let Some(owners) = &mut owners {
                owners[usize::from(slot)] = u16::try_from(owner).unwrap_or(NOBODY);
            }
        }
        Self { masters, owners, found: self.found.clone() }
    }

    /// Whether all slots are where they are in the other.
    pub(super) fn leads_as(&self, other: &Self) -> bool {
        (0..SLOTS).all(|slot| match (self.link(slot), other.link(slot)) {
            (Some(one), Some(other)) => one.address == other.address,
            (one, other) => one.is_none() && other.is_none(),
        })
    }

    /// Whether the node at an address is one of the masters.
    pub(super) fn has(&self, address: &str) -> bool {
        self.masters.iter().any(|master| &*master.link.address == address)
    }

    /// Whether each slot has a master.
    pub(super) fn is_whole(&self) -> bool {
        (0..SLOTS).all(|slot| self.link(slot).is_some())
    }

    /// The line to the master of a slot.
    pub(super) fn link(&self, slot: u16) -> Option<&Arc<Link>> {
        let owner = self.owners.as_ref().map_or(0, |owners| owners[usize::from(slot)]);
        self.masters.get(usize::from(owner)).map(|master| &master.link)
    }
}
