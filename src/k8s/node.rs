//! A host, from its Node.

use serde::Deserialize;

use crate::cluster::Host;

use super::meta::{Meta, nullable};

const WITNESS: &str = "node-role.harvesterhci.io/witness";

#[derive(Deserialize)]
pub(crate) struct Node {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
}

impl From<Node> for Host {
    fn from(node: Node) -> Self {
        Self {
            witness: node.metadata.label(WITNESS) == Some("true"),
            labels: node.metadata.labels.iter().collect(),
        }
    }
}
