//! VM networks (`NetworkAttachmentDefinition`) and their CNI configurations.

use super::mtu::effective_mtu;
use super::names::Name;

/// A VM network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmNetwork {
    /// The cluster network in the label `network.harvesterhci.io/clusternetwork`.
    pub label: Option<Name>,
    /// The CNI configuration in `spec.config`.
    pub config: CniConfig,
    /// Whether this is a system network: a storage or RWX network.
    pub system: bool,
    /// Whether the VM network reserves its VLAN.
    pub exclusive_vlan: bool,
}

/// A CNI configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CniConfig {
    /// There is none in the object. Multus then reads a file on the host, which we can't read.
    #[default]
    None,
    /// The configuration can't be read, for this reason.
    Unreadable(Name),
    /// The configuration could be read.
    Is(Box<Cni>),
}

/// A CNI configuration. Unless its type is a bridge, only the type and the text are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cni {
    /// The CNI type, empty if none is given.
    pub kind: Name,
    /// The bridge's name.
    pub bridge: Option<Name>,
    /// The VLAN of the VMs' traffic, 0 for none.
    pub vlan: i64,
    /// The ranges of VLANs, first to last, that VMs may tag themselves.
    pub trunk: Box<[(i64, i64)]>,
    /// What is wrong with the entries of the trunk.
    pub trunk_faults: Box<[Name]>,
    /// The MTU in bytes as written, 0 if absent.
    pub mtu: i64,
    /// The whole configuration as text. Two texts are equal if the configurations are equal as JSON
    /// values, where an absent MTU equals 1500.
    pub canonical: Name,
}

impl Cni {
    /// Returns whether this is a bridge: its type is `bridge`, or a bridge is named and no type.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        match &*self.kind {
            "bridge" => true,
            "" => self.bridge.is_some(),
            _ => false,
        }
    }

    /// The cluster network in the bridge's name: `vlan-b` for `vlan-b-br`
    /// (docs/reference.md, "Objects").
    #[must_use]
    pub fn bridge_network(&self) -> Option<&str> {
        let bridge = self.bridge.as_deref().filter(|_| self.is_bridge())?;
        bridge.strip_suffix("-br").filter(|name| !name.is_empty())
    }

    /// Returns whether this network carries the VLAN, as its own or in its trunk.
    #[must_use]
    pub fn carries(&self, vlan: i64) -> bool {
        vlan == self.vlan || self.trunk.iter().any(|(min, max)| (*min..=*max).contains(&vlan))
    }

    /// The effective MTU in bytes: 0 means 1500.
    #[must_use]
    pub fn effective_mtu(&self) -> i64 {
        effective_mtu(self.mtu)
    }
}

impl VmNetwork {
    /// The CNI configuration, if there is one that can be read.
    #[must_use]
    pub fn cni(&self) -> Option<&Cni> {
        match &self.config {
            CniConfig::Is(cni) => Some(cni),
            CniConfig::None | CniConfig::Unreadable(_) => None,
        }
    }

    /// The CNI configuration, if it is a bridge's.
    #[must_use]
    pub fn bridge(&self) -> Option<&Cni> {
        self.cni().filter(|cni| cni.is_bridge())
    }

    /// The cluster network that the label or else the bridge names. If only the bridge names it,
    /// the cluster network may have to exist: see `Snapshot::cluster_network_of`.
    #[must_use]
    pub fn claim(&self) -> Option<Name> {
        self.label.clone().or_else(|| self.cni()?.bridge_network().map(Name::from))
    }
}
