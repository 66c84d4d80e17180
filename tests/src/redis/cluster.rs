//! Three masters and three replicas on loopback.

use redis::Value;

use super::server::{Server, Settings};
use crate::wait::eventually;

/// Masters; as many replicas follow them.
const MASTERS: usize = 3;
/// All slots.
const SLOTS: usize = 16_384;

/// A running cluster. Nodes 0 to 2 begin as masters; node 3 follows node 0, and so on.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// A cluster whose replicas are in step and may take over.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&Settings::default())
    }

    /// The same with settings, for each node.
    #[track_caller]
    pub fn start_with(settings: &Settings) -> Self {
        let settings = Settings {
            lines: format!(
                "cluster-enabled yes\ncluster-node-timeout 2000\ncluster-allow-replica-migration no\n{}",
                settings.lines
            ),
            ..settings.clone()
        };
        let nodes = (0..2 * MASTERS).map(|_| Server::launch(settings.clone(), vec![])).collect();
        let cluster = Self { nodes };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let _: String = node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            let port = cluster.nodes[0].port().to_string();
            let _: String = node.ask(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        for (index, node) in cluster.nodes[..MASTERS].iter().enumerate() {
            let slots = SLOTS * index / MASTERS..SLOTS * (index + 1) / MASTERS;
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let mut words = vec!["CLUSTER", "ADDSLOTS"];
            words.extend(slots.iter().map(String::as_str));
            let _: String = node.ask(&words);
        }
        for (index, node) in cluster.nodes[MASTERS..].iter().enumerate() {
            let master = cluster.id(index);
            // It must have heard of its master first.
            eventually("the replica knows its master", || {
                node.try_ask::<String>(&["CLUSTER", "REPLICATE", &master]).ok()
            });
            node.in_step();
        }
        cluster.ready();
        cluster
    }

    /// Waits until every node that runs says that all is well.
    #[track_caller]
    pub fn ready(&self) {
        for node in &self.nodes {
            eventually("the cluster is well", || {
                let info: String = node.try_ask(&["CLUSTER", "INFO"]).ok()?;
                (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")).then_some(())
            });
        }
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Server::address).collect();
        addresses.join(",")
    }

    /// The id of a node.
    #[track_caller]
    pub fn id(&self, index: usize) -> String {
        self.nodes[index].ask(&["CLUSTER", "MYID"])
    }

    /// The slot of a key.
    #[track_caller]
    pub fn slot(&self, key: &[u8]) -> usize {
        let slot = redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query(&mut self.nodes[0].connection());
        slot.expect("every node knows the slots of keys")
    }

    /// The node that holds a slot, asked of one that runs.
    #[track_caller]
    pub fn owner(&self, slot: usize, asked: usize) -> usize {
        let ranges: Vec<Value> = self.nodes[asked].ask(&["CLUSTER", "SLOTS"]);
        let port = ranges.iter().find_map(|range| {
            let (first, last, nodes): (usize, usize, Value) = match range {
                Value::Array(items) => {
                    (number(items.first()?)?, number(items.get(1)?)?, items.get(2)?.clone())
                }
                _ => return None,
            };
            let Value::Array(node) = nodes else { return None };
            (first..=last).contains(&slot).then(|| number(node.get(1)?)).flatten()
        });
        let port = port.unwrap_or_else(|| panic!("nobody holds slot {slot}: {ranges:?}"));
        let index = self.nodes.iter().position(|node| usize::from(node.port()) == port);
        index.expect("all nodes are ours")
    }

    /// Begins to move a slot: both nodes answer for it, in part, until [`Cluster::end_move`].
    #[track_caller]
    pub fn begin_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from), self.id(to));
        let _: String = self.nodes[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        let _: String = self.nodes[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    }

    /// Moves up to so many keys of a slot that is on the move; gives how many were moved.
    #[track_caller]
    pub fn move_keys(&self, slot: usize, from: usize, to: usize, count: usize) -> usize {
        let (slot, count) = (slot.to_string(), count.to_string());
        let keys: Vec<Vec<u8>> = self.nodes[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]);
        if keys.is_empty() {
            return 0;
        }
        let mut command = redis::cmd("MIGRATE");
        command.arg("127.0.0.1").arg(self.nodes[to].port()).arg("").arg(0).arg(10_000).arg("KEYS").arg(&keys);
        let moved: Result<String, _> = command.query(&mut self.nodes[from].connection());
        moved.unwrap_or_else(|error| panic!("keys of slot {slot} cannot be moved: {error}"));
        keys.len()
    }

    /// Moves what is left of a slot, and says to all masters whose it is now.
    #[track_caller]
    pub fn end_move(&self, slot: usize, from: usize, to: usize) {
        while self.move_keys(slot, from, to, 100) > 0 {}
        let id = self.id(to);
        for node in [to, from].into_iter().chain((0..self.nodes.len()).filter(|n| ![to, from].contains(n))) {
            // Replicas hear it from their masters, and refuse to be told.
            drop(self.nodes[node].try_ask::<String>(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]));
        }
    }

    /// kill -9 of a master; waits until its replica has taken over, and gives that one's index.
    #[track_caller]
    pub fn fail_over(&mut self, master: usize, slot: usize) -> usize {
        self.nodes[master].kill();
        let asked = (0..self.nodes.len()).find(|index| *index != master).expect("there are six nodes");
        eventually("a replica takes over", || {
            let owner = self.owner(slot, asked);
            let info: String = self.nodes[asked].ask(&["CLUSTER", "INFO"]);
            (owner != master && info.contains("cluster_state:ok")).then_some(owner)
        })
    }
}

fn number(value: &Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}
