//! Problems with the objects or files that we read, in words for an administrator.

use super::names::{Key, Kind, Name, ObjectRef};
use super::snapshot::Snapshot;
use super::vm_networks::CniConfig;

/// A problem with an object, or with the place that objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// The object, if the problem concerns a single one.
    pub object: Option<ObjectRef>,
    /// What is wrong, where, and what to do.
    pub message: Name,
}

/// The sorts of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// A place that objects come from, such as a file, has a fault.
    Source,
    /// An object can't be read.
    Unreadable,
    /// The CNI configuration of a VM network can't be read.
    CniConfig,
    /// A bridge is named after a cluster network that does not exist.
    Bridge,
    /// A host network config names a cluster network that does not exist.
    HostNetwork,
}

impl Snapshot {
    /// All problems, in a fixed order.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let complaints = self.0.complaints.iter().flat_map(|(place, complaints)| {
            complaints.iter().map(move |complaint| Problem {
                kind: ProblemKind::Source,
                object: None,
                message: format!("{place}: {complaint}").into(),
            })
        });
        let malformed = self.0.malformed.iter().map(|(object, why)| Problem {
            kind: ProblemKind::Unreadable,
            object: Some(object.clone()),
            message: format!(
                "{object} can't be read: {why}; its last readable version, if any, still counts"
            )
            .into(),
        });
        let unreadable = self.0.vm_networks.iter().filter_map(|(key, vm_network)| {
            let CniConfig::Unreadable(config) = &vm_network.config else { return None };
            Some(Problem {
                kind: ProblemKind::CniConfig,
                object: Some(ObjectRef { kind: Kind::VmNetwork, key: key.clone() }),
                message: format!(
                    "VM network {key} has a spec.config that can't be read: {}",
                    config.why
                )
                .into(),
            })
        });
        let unclaimed = self.0.claims.iter().filter_map(|(claimed, key)| {
            let vm_network = self.vm_network(key)?;
            self.cluster_network_of(vm_network).is_none().then(|| Problem {
                kind: ProblemKind::Bridge,
                object: Some(ObjectRef { kind: Kind::VmNetwork, key: key.clone() }),
                message: format!(
                    "VM network {key} has bridge {claimed}-br, but there is no cluster network \
                     {claimed}, so the VM network restricts no host"
                )
                .into(),
            })
        });
        let stray = self.0.host_networks.iter().filter_map(|(name, facts)| {
            let network = &facts.cluster_network;
            let object =
                ObjectRef { kind: Kind::HostNetwork, key: Key::cluster_scoped(name.clone()) };
            (!self.exists(network)).then(|| Problem {
                kind: ProblemKind::HostNetwork,
                message: format!(
                    "{object} names cluster network {network:?}, which does not exist; create the \
                     cluster network or correct spec.clusterNetwork"
                )
                .into(),
                object: Some(object),
            })
        });
        complaints.chain(malformed).chain(unreadable).chain(unclaimed).chain(stray).collect()
    }
}
