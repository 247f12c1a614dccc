//! Names of objects, and the kinds of object that a decision can depend on.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

use arcstr::ArcStr;

/// A name, label or other short text, shared by the facts that contain it. It takes one word.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(ArcStr);

impl Name {
    /// The number of references to the text. Those to an empty text are not counted.
    pub(super) fn strong_count(this: &Self) -> Option<usize> {
        ArcStr::strong_count(&this.0)
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Cow<'_, str>> for Name {
    fn from(text: Cow<'_, str>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The built-in cluster network, which is active on every host without a network config.
pub const MGMT: &str = "mgmt";

/// Returns whether a name is a DNS subdomain, as Kubernetes requires of most names.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(|c| inner(c) || c == b'-')
            && part.bytes().next().is_some_and(inner)
            && part.bytes().last().is_some_and(inner)
    };
    name.len() <= 253 && name.split('.').all(is_part)
}

/// An object's name within its kind: `name` for a cluster-scoped object, else `namespace/name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Name);

impl Key {
    /// The key of an object in a namespace.
    #[must_use]
    pub fn in_namespace(namespace: &str, name: &str) -> Self {
        let mut text = String::with_capacity(namespace.len() + 1 + name.len());
        text.push_str(namespace);
        text.push('/');
        text.push_str(name);
        Self(text.into())
    }

    /// Reads `namespace/name`. Returns `None` if the text is not that.
    #[must_use]
    pub fn parse_namespaced(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let usable = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
        usable.then(|| Self::in_namespace(namespace, name))
    }

    /// The key of a cluster-scoped object.
    #[must_use]
    pub fn cluster_scoped(name: impl Into<Name>) -> Self {
        Self(name.into())
    }

    /// The namespace, unless the object is cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }

    /// The name without the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// `name` or `namespace/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's shared text: `name` or `namespace/name`.
    #[must_use]
    pub fn text(&self) -> &Name {
        &self.0
    }

    /// The key before all others, as the start of a range.
    pub(super) fn first() -> Self {
        Self(Name::default())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of object that a decision can depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A `ClusterNetwork`: a network of bonds and bridges, isolated from other traffic.
    ClusterNetwork,
    /// A `VlanConfig`, which brings a cluster network up on the hosts that it selects.
    NetworkConfig,
    /// A `VlanStatus`: a node agent's report on one network config on one host.
    UplinkStatus,
    /// A `LinkMonitor`, which lists the hosts' links.
    LinkMonitor,
    /// A `HostNetworkConfig`, which gives hosts an address on a cluster network.
    HostNetwork,
    /// A `NetworkAttachmentDefinition`.
    VmNetwork,
    /// A virtual machine, running or not.
    Vm,
    /// A virtual machine instance.
    Vmi,
    /// A migration of a VMI to another host.
    Migration,
    /// The pod in which a VMI runs.
    LauncherPod,
    /// A namespace.
    Namespace,
    /// A node of the cluster.
    Host,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::ClusterNetwork,
        Self::NetworkConfig,
        Self::UplinkStatus,
        Self::LinkMonitor,
        Self::HostNetwork,
        Self::VmNetwork,
        Self::Vm,
        Self::Vmi,
        Self::Migration,
        Self::LauncherPod,
        Self::Namespace,
        Self::Host,
    ];

    /// The kind's name in Kubernetes.
    #[must_use]
    pub fn kubernetes(self) -> &'static str {
        match self {
            Self::ClusterNetwork => "ClusterNetwork",
            Self::NetworkConfig => "VlanConfig",
            Self::UplinkStatus => "VlanStatus",
            Self::LinkMonitor => "LinkMonitor",
            Self::HostNetwork => "HostNetworkConfig",
            Self::VmNetwork => "NetworkAttachmentDefinition",
            Self::Vm => "VirtualMachine",
            Self::Vmi => "VirtualMachineInstance",
            Self::Migration => "VirtualMachineInstanceMigration",
            Self::LauncherPod => "Pod",
            Self::Namespace => "Namespace",
            Self::Host => "Node",
        }
    }

    /// The kind's plural name, as in API paths and roles.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::ClusterNetwork => "clusternetworks",
            Self::NetworkConfig => "vlanconfigs",
            Self::UplinkStatus => "vlanstatuses",
            Self::LinkMonitor => "linkmonitors",
            Self::HostNetwork => "hostnetworkconfigs",
            Self::VmNetwork => "network-attachment-definitions",
            Self::Vm => "virtualmachines",
            Self::Vmi => "virtualmachineinstances",
            Self::Migration => "virtualmachineinstancemigrations",
            Self::LauncherPod => "pods",
            Self::Namespace => "namespaces",
            Self::Host => "nodes",
        }
    }

    /// Returns whether objects of this kind are namespaced.
    #[must_use]
    pub fn namespaced(self) -> bool {
        matches!(self, Self::VmNetwork | Self::Vm | Self::Vmi | Self::Migration | Self::LauncherPod)
    }
}

/// One object of one kind.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The object's kind.
    pub kind: Kind,
    /// The object's name within its kind.
    pub key: Key,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.kubernetes(), self.key)
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::is_dns_subdomain;

    #[test]
    fn names_are_dns_subdomains() {
        for name in ["a", "a-b.c0", "0", &"a".repeat(253)] {
            assert!(is_dns_subdomain(name), "{name}");
        }
        for name in ["", "A", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a/b", "a,b", "ä", "a b"] {
            assert!(!is_dns_subdomain(name), "{name}");
        }
        assert!(!is_dns_subdomain(&"a".repeat(254)));
    }
}
