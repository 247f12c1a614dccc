//! A host: which cluster networks are active there, and which VMs can run there.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{HostRef, Key, MGMT, Name, Snapshot};
use crate::decide::explain::{Asked, inactive};

use super::row::{Row, rows_table};

/// A host, its cluster networks and VMs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostView<'s> {
    host: &'s str,
    cluster_networks: Vec<Row>,
    /// Whether each VM can run on the host.
    pub vms: Vec<Row>,
}

impl<'s> HostView<'s> {
    /// The host with at most so many VMs.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot, host: HostRef<'s>, most: usize) -> Self {
        let mgmt = Name::from(MGMT);
        let networks: BTreeSet<&Name> = snapshot.cluster_networks().chain([&mgmt]).collect();
        let cluster_networks = networks
            .into_iter()
            .map(|name| {
                let cause = inactive(snapshot, name, host).map(|cause| (None, cause));
                Row::new(name, cause, snapshot, host)
            })
            .collect();
        let vms: BTreeSet<&Key> = snapshot.vms_and_vmis().collect();
        let vms = vms.into_iter().take(most).filter_map(|key| {
            let causes = Asked::of(snapshot, key)?.causes(snapshot, host);
            Some(Row::new(key.as_str(), causes, snapshot, host))
        });
        Self { host: host.name(), cluster_networks, vms: vms.collect() }
    }

    /// The host for people.
    #[must_use]
    pub fn table(&self) -> String {
        let networks = rows_table(["CLUSTER NETWORK", "ACTIVE"], &self.cluster_networks);
        let mut text = format!("Node {}\n\n{networks}", self.host);
        if !self.vms.is_empty() {
            text.push('\n');
            text.push_str(&rows_table(["VM", "CAN RUN"], &self.vms));
        }
        text
    }
}
