//! The causes that keep a VM from a host: a closed set, each with a stable code, a short reason for
//! the scheduler and a long message for a person. `docs/rules.md` has an entry for each code.

use std::fmt::Write as _;

use crate::cluster::{HostRef, Inactive, Key, Name, Snapshot};

use super::names::list;

/// The codes of all causes.
pub const CODES: [&str; 9] = [
    "cluster-network-not-found",
    "witness-host",
    "host-not-covered",
    "uplink-not-ready",
    "uplink-not-reported",
    "vm-network-not-found",
    "invalid-network-selection",
    "excluded-by-vm",
    "host-unknown",
];

/// What keeps a pod or VM from a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A needed cluster network is not active on the host.
    Inactive {
        /// The cluster network.
        cluster_network: Name,
        /// Why the cluster network is not active.
        why: Inactive,
    },
    /// A VM network that is asked for does not exist.
    VmNetworkNotFound(Key),
    /// Why the networks that are asked for can't be read.
    InvalidSelection(Name),
    /// The VM's own node selector or required node affinity does not allow the host.
    ExcludedByVm,
    /// No Node object of the host's name is known.
    HostUnknown,
}

impl Cause {
    /// The stable code (docs/reference.md, "When a cluster network is active").
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inactive { why, .. } => inactive_code(*why),
            Self::VmNetworkNotFound(_) => "vm-network-not-found",
            Self::InvalidSelection(_) => "invalid-network-selection",
            Self::ExcludedByVm => "excluded-by-vm",
            Self::HostUnknown => "host-unknown",
        }
    }

    /// The cluster network that the cause is about, if there is one.
    #[must_use]
    pub fn cluster_network(&self) -> Option<&Name> {
        match self {
            Self::Inactive { cluster_network, .. } => Some(cluster_network),
            _ => None,
        }
    }

    /// The short reason. It does not contain the host's name, so that the scheduler can group equal
    /// reasons in a pod's event (docs/reference.md, "Scheduler extender").
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Inactive { cluster_network, why: Inactive::ClusterNetworkNotFound } => {
                format!("cluster network {cluster_network} does not exist")
            }
            Self::Inactive { cluster_network, why } => {
                let why = match why {
                    Inactive::WitnessHost => "witness host",
                    Inactive::UplinkNotReady => "uplink not ready",
                    Inactive::UplinkNotReported => "uplink not reported",
                    _ => "no network config",
                };
                format!("cluster network {cluster_network} inactive: {why}")
            }
            Self::VmNetworkNotFound(key) => format!("VM network {key} does not exist"),
            Self::InvalidSelection(_) => "unreadable network annotation".to_owned(),
            Self::ExcludedByVm => "excluded by the VM's own node selector or affinity".to_owned(),
            Self::HostUnknown => "host not known yet".to_owned(),
        }
    }

    /// The long message for `explain`: what is wrong on this host, and what to do next.
    #[must_use]
    pub fn message(&self, snapshot: &Snapshot, host: HostRef<'_>) -> String {
        let at = host.name();
        match self {
            Self::Inactive { cluster_network, why } => match why {
                Inactive::ClusterNetworkNotFound => format!(
                    "cluster network {cluster_network} does not exist; create it, or correct the \
                     VM network's label network.harvesterhci.io/clusternetwork"
                ),
                Inactive::WitnessHost => format!(
                    "{at} is a witness host, which no network config covers; run the VM on \
                     another host"
                ),
                Inactive::HostNotCovered => not_covered(snapshot, cluster_network, host),
                Inactive::UplinkNotReady => not_ready(snapshot, cluster_network, host),
                Inactive::UplinkNotReported => format!(
                    "no VlanStatus reports the uplink of cluster network {cluster_network} on \
                     {at}; check that the node agent runs there"
                ),
            },
            Self::VmNetworkNotFound(key) => {
                format!("VM network {key} does not exist; create it, or correct the VM's networks")
            }
            Self::InvalidSelection(why) => {
                format!("the VM's networks can't be read: {why}; correct them")
            }
            Self::ExcludedByVm => format!(
                "the VM's own nodeSelector or required node affinity does not allow {at}; change \
                 it, or the host's labels"
            ),
            // Only the filter meets a host that is not known, and it tells the reason.
            Self::HostUnknown => self.reason(),
        }
    }
}

/// The code of a reason why a cluster network is not active.
#[must_use]
pub fn inactive_code(why: Inactive) -> &'static str {
    match why {
        Inactive::ClusterNetworkNotFound => "cluster-network-not-found",
        Inactive::WitnessHost => "witness-host",
        Inactive::HostNotCovered => "host-not-covered",
        Inactive::UplinkNotReady => "uplink-not-ready",
        Inactive::UplinkNotReported => "uplink-not-reported",
    }
}

fn not_covered(snapshot: &Snapshot, cluster_network: &Name, host: HostRef<'_>) -> String {
    let at = host.name();
    let configs: Vec<&str> =
        snapshot.configs_of(cluster_network).map(|(name, ..)| &**name).collect();
    match *configs {
        [] => format!(
            "cluster network {cluster_network} has no network config; create one whose \
             nodeSelector matches {at}"
        ),
        [only] => format!(
            "network config {only}, the only one of cluster network {cluster_network}, does not \
             cover {at}; change its nodeSelector or the host's labels"
        ),
        _ => format!(
            "none of the network configs of cluster network {cluster_network} covers {at}: {}; \
             change a nodeSelector or the host's labels",
            list(configs)
        ),
    }
}

fn not_ready(snapshot: &Snapshot, cluster_network: &Name, host: HostRef<'_>) -> String {
    let at = host.name();
    let covering: Vec<_> =
        snapshot.network(cluster_network).uplinks(host).map(|uplink| uplink.config).collect();
    let mut text =
        format!("{at} reports that the uplink of cluster network {cluster_network} is not ready");
    let report = snapshot
        .reports_at(cluster_network, host)
        .find(|report| !report.ready && covering.contains(&&report.config));
    if let Some(report) = report {
        // Writing to a String can't fail.
        let _ = write!(text, " (network config {}", report.config);
        if !report.message.is_empty() {
            let _ = write!(text, ": {}", report.message);
        }
        text.push(')');
    }
    text.push_str("; check the NICs and the node agent there");
    text
}
