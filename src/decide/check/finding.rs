//! What `check` finds: a closed set of codes. `docs/rules.md` has an entry for each.

use crate::cluster::{Inactive, Key, Kind, Name, ObjectRef};
use crate::decide::causes::inactive_code;
use crate::decide::review;

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The code.
    pub code: Code,
    /// The object to act on, if it is a single one.
    pub object: Option<ObjectRef>,
    /// What is wrong, where, and what to do, on one line of bounded length.
    pub message: String,
    /// All hosts on which it is wrong, sorted. Empty if it is wrong whatever the host.
    pub hosts: Vec<Name>,
}

impl Finding {
    /// A finding about an object, whatever the host.
    pub(super) fn of(code: Code, kind: Kind, key: &Key, message: String) -> Self {
        let object = Some(ObjectRef { kind, key: key.clone() });
        Self { code, object, message, hosts: Vec::new() }
    }

    /// A finding about a cluster-scoped object, whatever the host.
    pub(super) fn named(code: Code, kind: Kind, name: &Name, message: String) -> Self {
        Self::of(code, kind, &Key::cluster_scoped(name.clone()), message)
    }

    /// The same on these hosts.
    pub(super) fn on<'s>(mut self, hosts: impl IntoIterator<Item = &'s Name>) -> Self {
        self.hosts = hosts.into_iter().cloned().collect();
        self
    }
}

/// The code of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented once, under its code, in docs/rules.md")]
pub enum Code {
    /// The object as it stands breaks a rule of admission.
    Rule(review::Code),
    /// An uplink is missing, with the cause that keeps VMs from the host.
    Uplink(Inactive),
    SourceProblem,
    NoHosts,
    ClusterNetworkInactive,
    ConfigCoversNoHost,
    ConfigWithoutNics,
    AllNicsDown,
    NicDown,
    NicEnslaved,
    OrphanedUplinkStatus,
    HostNetworkClusterNetwork,
    HostNetworkInactive,
    BridgeWithoutClusterNetwork,
    VmOnInactiveHost,
}

impl Code {
    /// Every code that neither a rule nor a cause has.
    pub const OWN: [Self; 13] = [
        Self::SourceProblem,
        Self::NoHosts,
        Self::ClusterNetworkInactive,
        Self::ConfigCoversNoHost,
        Self::ConfigWithoutNics,
        Self::AllNicsDown,
        Self::NicDown,
        Self::NicEnslaved,
        Self::OrphanedUplinkStatus,
        Self::HostNetworkClusterNetwork,
        Self::HostNetworkInactive,
        Self::BridgeWithoutClusterNetwork,
        Self::VmOnInactiveHost,
    ];

    /// The code as people and scripts see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule(code) => code.as_str(),
            Self::Uplink(why) => inactive_code(why),
            Self::SourceProblem => "source-problem",
            Self::NoHosts => "no-hosts",
            Self::ClusterNetworkInactive => "cluster-network-inactive",
            Self::ConfigCoversNoHost => "config-covers-no-host",
            Self::ConfigWithoutNics => "config-without-nics",
            Self::AllNicsDown => "all-nics-down",
            Self::NicDown => "nic-down",
            Self::NicEnslaved => "nic-enslaved",
            Self::OrphanedUplinkStatus => "orphaned-uplink-status",
            Self::HostNetworkClusterNetwork => "host-network-cluster-network",
            Self::HostNetworkInactive => "host-network-inactive",
            Self::BridgeWithoutClusterNetwork => "bridge-without-cluster-network",
            Self::VmOnInactiveHost => "vm-on-inactive-host",
        }
    }
}
