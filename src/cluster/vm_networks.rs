//! VM networks (`NetworkAttachmentDefinition`) and what their CNI configuration says.

use super::mtu::effective_mtu;
use super::names::Name;

/// A VM network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmNetwork {
    /// The cluster network that its label names.
    pub label: Option<Name>,
    /// Its CNI configuration.
    pub config: CniConfig,
    /// Whether it is a storage or RWX network, which pods of the system itself use.
    pub system: bool,
    /// Whether it keeps its VLAN for itself.
    pub exclusive_vlan: bool,
}

/// A CNI configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CniConfig {
    /// There is none: Multus reads it from the host, where we can't.
    #[default]
    None,
    /// It can't be read, and why.
    Unreadable(Name),
    /// It says this.
    Is(Box<Cni>),
}

/// What a CNI configuration says. Of any but a bridge only its type and its text are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cni {
    /// The plug-in's name, empty if none is given.
    pub kind: Name,
    /// The bridge's name.
    pub bridge: Option<Name>,
    /// The VLAN of the VMs' traffic, 0 for none.
    pub vlan: i64,
    /// The VLANs, from and to, that VMs may tag themselves.
    pub trunk: Box<[(i64, i64)]>,
    /// What is wrong with the trunk's form.
    pub trunk_faults: Box<[Name]>,
    /// The MTU in bytes as it was written, 0 if it was not.
    pub mtu: i64,
    /// All of it as text, equal for configurations that are equal as JSON values, an MTU of 1500
    /// being as good as none.
    pub canonical: Name,
}

impl Cni {
    /// Whether it makes a plain bridge: its type `bridge`, or none given and a bridge named.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        match &*self.kind {
            "bridge" => true,
            "" => self.bridge.is_some(),
            _ => false,
        }
    }

    /// The cluster network that the bridge's name speaks of: `vlan-b` for `vlan-b-br`
    /// (docs/reference.md, "Objects").
    #[must_use]
    pub fn bridge_network(&self) -> Option<&str> {
        let bridge = self.bridge.as_deref().filter(|_| self.is_bridge())?;
        bridge.strip_suffix("-br").filter(|name| !name.is_empty())
    }

    /// Whether it carries a VLAN, as its own or in its trunk.
    #[must_use]
    pub fn carries(&self, vlan: i64) -> bool {
        vlan == self.vlan || self.trunk.iter().any(|(min, max)| (*min..=*max).contains(&vlan))
    }

    /// The MTU in bytes that it comes to: 0 means 1500.
    #[must_use]
    pub fn effective_mtu(&self) -> i64 {
        effective_mtu(self.mtu)
    }
}

impl VmNetwork {
    /// What its configuration says, if there is one that can be read.
    #[must_use]
    pub fn cni(&self) -> Option<&Cni> {
        match &self.config {
            CniConfig::Is(cni) => Some(cni),
            CniConfig::None | CniConfig::Unreadable(_) => None,
        }
    }

    /// The same, of a bridge.
    #[must_use]
    pub fn bridge(&self) -> Option<&Cni> {
        self.cni().filter(|cni| cni.is_bridge())
    }

    /// The cluster network that it is under, provided that one of this name exists where only the
    /// bridge speaks of it.
    #[must_use]
    pub fn claim(&self) -> Option<Name> {
        self.label.clone().or_else(|| self.cni()?.bridge_network().map(Name::from))
    }
}
