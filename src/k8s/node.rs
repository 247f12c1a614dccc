//! Hosts (Nodes) and namespaces.

use serde::Deserialize;

use crate::cluster::{self, Host, Kind};

use super::decode::Decoder;
use super::meta::{Meta, Object, nullable};

/// The label of a witness host, which runs etcd and no VMs.
pub const WITNESS_LABEL: &str = "node-role.harvesterhci.io/witness";

#[derive(Deserialize)]
pub(crate) struct Node {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Meta,
}

impl Object for Node {
    const KIND: Kind = Kind::Host;
    type Facts = Host;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> Host {
        let node = self;
        Host {
            witness: node.metadata.label(WITNESS_LABEL) == Some("true"),
            labels: node.metadata.labels.iter().collect(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Namespace {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Meta,
}

impl Object for Namespace {
    const KIND: Kind = Kind::Namespace;
    type Facts = cluster::Namespace;

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn facts(self, _: &Decoder) -> cluster::Namespace {
        let namespace = self;
        cluster::Namespace { terminating: namespace.metadata.deleting() }
    }
}
