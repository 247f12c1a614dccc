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
    /// Whether this is a system network: a storage, RWX or VM migration network.
    pub system: bool,
    /// Whether the VM network reserves its VLAN.
    pub exclusive_vlan: bool,
    /// The label `network.harvesterhci.io/ready`; `None` if it is absent or neither `true` nor
    /// `false`. No decision depends on it, but the controller keeps it.
    pub ready: Option<bool>,
    /// The annotation `network.harvesterhci.io/route`. No decision depends on it, but an administrator
    /// asks whether the VM network reaches its gateway.
    pub route: Option<Box<Route>>,
}

/// The route that Harvester keeps for a VM network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// How the subnet is known: `auto`, by DHCP, or `manual`.
    pub mode: Name,
    /// The subnet in CIDR notation, empty if it is not known.
    pub cidr: Name,
    /// The gateway's address, empty if it is not known.
    pub gateway: Name,
    /// Whether the gateway answers, as Harvester writes it: `true`, `false`, or why it is not known.
    pub connectivity: Name,
}

/// A CNI configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CniConfig {
    /// There is none in the object. Multus then reads a file on the host, which we can't read.
    #[default]
    None,
    /// The configuration can't be read.
    Unreadable(Box<UnreadableCni>),
    /// The configuration could be read.
    Is(Box<Cni>),
}

/// A CNI configuration that can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadableCni {
    /// Why it can't be read.
    pub why: Name,
    /// The text as written: two such configurations are equal only if their texts are.
    pub text: Name,
    /// The type and the bridge, if these could be read.
    pub plugin: Option<Cni>,
}

/// A CNI configuration, reduced to the plug-in that counts: the only one, or the first bridge of a
/// plug-in list. Unless the plug-in is a bridge, only the type and the rest are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cni {
    /// The CNI type, empty if none is given. A list without a bridge has the type of its first
    /// plug-in.
    pub kind: Name,
    /// The bridge's name.
    pub bridge: Option<Name>,
    /// The VLAN of the VMs' traffic, 0 for none.
    pub vlan: i64,
    /// The VLANs that VMs may tag themselves.
    pub trunk: Box<[TrunkEntry]>,
    /// The MTU in bytes as written, 0 if absent.
    pub mtu: i64,
    /// The keys that occur more than once.
    pub repeated: Box<[RepeatedKey]>,
    /// Everything that is not in the other fields, as text. Two texts are equal if the parts are
    /// equal as JSON values.
    pub rest: Name,
}

/// Returns whether a CNI type is that of a bridge.
#[must_use]
pub fn is_bridge_kind(kind: &str) -> bool {
    matches!(kind, "bridge" | "cnv-bridge")
}

/// An entry of a trunk: a VLAN, a range of VLANs, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkEntry {
    /// A single VLAN.
    pub id: Option<i64>,
    /// The first VLAN of the range.
    pub min: Option<i64>,
    /// The last VLAN of the range.
    pub max: Option<i64>,
}

/// A key that occurs more than once in an object, if case is ignored. The plug-in and we could read
/// different values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedKey {
    /// The key's path.
    pub path: Name,
    /// Each member of that name as written.
    pub members: Box<[Name]>,
}

impl Cni {
    /// Returns whether this is a bridge: its type is `bridge` or `cnv-bridge`, or a bridge is named
    /// and no type.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        is_bridge_kind(&self.kind) || self.kind.is_empty() && self.bridge.is_some()
    }

    /// The CNI type. A bridge without a type has the type `bridge`.
    #[must_use]
    pub fn effective_kind(&self) -> &str {
        if self.kind.is_empty() && self.is_bridge() { "bridge" } else { &self.kind }
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
        let in_trunk = |entry: &TrunkEntry| {
            let range = entry.min.zip(entry.max);
            entry.id == Some(vlan) || range.is_some_and(|(min, max)| (min..=max).contains(&vlan))
        };
        vlan == self.vlan || self.trunk.iter().any(in_trunk)
    }

    /// The effective MTU in bytes: 0 means 1500.
    #[must_use]
    pub fn effective_mtu(&self) -> i64 {
        effective_mtu(self.mtu)
    }

    /// Returns whether both configurations have the same effect: an absent MTU equals 0 and 1500, an
    /// absent VLAN equals 0, and an absent trunk an empty one.
    #[must_use]
    pub fn same_effect(&self, other: &Self) -> bool {
        let Self { kind, bridge, vlan, trunk, mtu: _, repeated, rest } = self;
        self.effective_mtu() == other.effective_mtu()
            && (kind, bridge, vlan) == (&other.kind, &other.bridge, &other.vlan)
            && (trunk, repeated, rest) == (&other.trunk, &other.repeated, &other.rest)
    }
}

impl CniConfig {
    /// Returns whether both configurations have the same effect.
    #[must_use]
    pub fn same_effect(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Is(one), Self::Is(another)) => one.same_effect(another),
            (Self::Unreadable(one), Self::Unreadable(another)) => one.text == another.text,
            (one, another) => one == another,
        }
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

    /// The plug-in, as far as it can be read: at least its type and its bridge.
    #[must_use]
    pub fn plugin(&self) -> Option<&Cni> {
        match &self.config {
            CniConfig::Is(cni) => Some(cni),
            CniConfig::Unreadable(config) => config.plugin.as_ref(),
            CniConfig::None => None,
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
        self.label.clone().or_else(|| self.plugin()?.bridge_network().map(Name::from))
    }
}
