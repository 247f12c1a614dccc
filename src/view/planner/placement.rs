//! "Where could a VM with these networks run?", for a VM that is not made yet.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::{HostChoice, Key, Selection, Snapshot};
use crate::decide::explain::Asked;

/// A VM that is not made yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PlacementForm {
    /// The VM networks, as NAMESPACE/NAME.
    vm_networks: Vec<String>,
    /// The VM's `nodeSelector`.
    node_selector: BTreeMap<String, String>,
}

impl PlacementForm {
    /// What the VM would ask; `None` if a VM network is not named as NAMESPACE/NAME.
    #[must_use]
    pub fn asked(&self, snapshot: &Snapshot) -> Option<Asked> {
        let keys = self.vm_networks.iter().map(|name| Key::parse_namespaced(name));
        let networks = Selection::of(keys.collect::<Option<_>>()?, Vec::new());
        let choice = HostChoice { labels: self.node_selector.iter().collect(), terms: None };
        Some(Asked::of_new(snapshot, &networks, choice))
    }
}
