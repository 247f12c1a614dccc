//! The form of a new cluster network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Snapshot;
use crate::k8s::UPLINK_MTU;

use super::{Draft, name_problem, new_cluster_network, set};

/// The form of a new cluster network.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterNetworkForm {
    name: String,
    /// The MTU in bytes that its VM networks may have; that of its network configs, if this is left
    /// out.
    mtu: Option<i64>,
}

impl ClusterNetworkForm {
    /// What the form describes so far.
    #[must_use]
    pub fn draft(self, snapshot: &Snapshot) -> Draft<Self> {
        let mut problems: Vec<String> =
            name_problem("cluster network", &self.name).into_iter().collect();
        if snapshot.exists(&self.name) {
            problems.push(format!("cluster network {} exists already", self.name));
        }
        let mut object = new_cluster_network(&self.name);
        let mtu = self.mtu.map(|mtu| mtu.to_string().into());
        set(&mut object, &["metadata", "annotations", UPLINK_MTU], mtu);
        Draft::new(self, problems, vec![object])
    }
}
