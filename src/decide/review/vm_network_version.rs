//! A version of a VM network, and what is wrong with it.

use crate::cluster::{Cni, Name, Snapshot, VmNetwork};

use super::{Code, Violation};

/// A violation of a rule, told at this field.
pub(super) fn violation(
    code: Code,
    field: &'static str,
    message: String,
    alone: bool,
) -> Violation {
    Violation { code, field: Some(field.into()), message, of_the_object_alone: alone }
}

pub(super) const CONFIG: &str = "spec.config";
pub(super) const LABEL: &str = "metadata.labels[network.harvesterhci.io/clusternetwork]";

/// A version of the VM network, with the cluster network that it is under.
pub(super) struct Version<'a> {
    pub facts: &'a VmNetwork,
    pub under: Option<Name>,
}

impl<'a> Version<'a> {
    pub fn of(snapshot: &Snapshot, facts: &'a VmNetwork) -> Self {
        Self { facts, under: snapshot.cluster_network_of(facts) }
    }

    /// Returns whether the configuration of another version has the same effect.
    pub fn keeps_config(&self, other: &Version<'_>) -> bool {
        self.facts.config.same_effect(&other.facts.config)
    }

    /// The bridge's configuration and its cluster network, if there are both.
    pub fn bridge_under(&self) -> Option<(&'a Cni, &Name)> {
        Some((self.facts.bridge()?, self.under.as_ref()?))
    }

    /// The plug-in, as far as it can be read, if it is a bridge.
    pub fn plugin_bridge(&self) -> Option<&'a Cni> {
        self.facts.plugin().filter(|plugin| plugin.is_bridge())
    }
}

/// A fault of one version. It is old if the version before had it too.
pub(super) struct Fault {
    /// The fields that are at fault, and how, in the form in which two faults are compared: without
    /// positions, which change as other entries come and go.
    pub of: String,
    pub violation: Violation,
}
