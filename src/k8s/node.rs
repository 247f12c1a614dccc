//! A host, from its Node, and a namespace.

use serde::Deserialize;

use crate::cluster::{self, Host};

use super::meta::{Meta, nullable};

const WITNESS: &str = "node-role.harvesterhci.io/witness";

#[derive(Deserialize)]
pub(crate) struct Node {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Meta,
}

impl From<Node> for Host {
    fn from(node: Node) -> Self {
        Self {
            witness: node.metadata.label(WITNESS) == Some("true"),
            labels: node.metadata.labels.iter().collect(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Namespace {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
}

impl From<Namespace> for cluster::Namespace {
    fn from(namespace: Namespace) -> Self {
        Self { terminating: namespace.metadata.deleting() }
    }
}
